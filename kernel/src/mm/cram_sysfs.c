// SPDX-License-Identifier: GPL-2.0-only
/*
 * CRAM: /sys/devices/system/node/nodeN/cram/. Amounts are bytes. Nothing here
 * changes anything but how many pages are measured.
 */
#include <linux/device.h>
#include <linux/node.h>
#include <linux/sysfs.h>

#include "cram.h"

const char *const cram_state_names[] = {
	[CRAM_NORMAL]	 = "normal",
	[CRAM_THROTTLED] = "throttled",
	[CRAM_EVICTING]	 = "evicting",
	[CRAM_STALE]	 = "stale",
	[CRAM_OVERRUN]	 = "overrun",
	[CRAM_OFFLINE]	 = "offline",
};

static const char *const cram_stat_names[] = {
	[CRAM_REPORTS]		= "reports",
	[CRAM_REPORTS_OLD]	= "reports_old",
	[CRAM_REPORTS_REFUSED]	= "reports_refused",
	[CRAM_REPORTS_FAILED]	= "reports_failed",
	[CRAM_GIVEN]		= "frames_given",
	[CRAM_TAKEN_BACK]	= "frames_taken_back",
	[CRAM_STORED]		= "frames_written",
	[CRAM_SPOILED]		= "frames_spoiled",
	[CRAM_TRIMMED]		= "frames_trimmed",
	[CRAM_TRIMS]		= "trims",
	[CRAM_TRIMS_FAILED]	= "trims_failed",
	[CRAM_TRIMS_TIMED_OUT]	= "trims_timed_out",
	[CRAM_RESETS]		= "resets",
	[CRAM_ZEROED]		= "frames_zeroed",
	[CRAM_EVICTED]		= "pages_evicted",
	[CRAM_SWAPPED]		= "pages_swapped",
	[CRAM_EVICT_FAILED]	= "pages_evict_failed",
	[CRAM_OOM_KILLS]	= "oom_kills",
	[CRAM_INTERRUPTS]	= "interrupts",
	[CRAM_LOST]		= "pages_lost",
	[CRAM_RETIRED]		= "frames_retired",
	[CRAM_PROMOTED]		= "pages_promoted",
	[CRAM_WAITS]		= "waits",
};

/* The files are gone before what they show. */
static struct cram *cram_of_dev(struct device *dev)
{
	return cram_of(dev->id);
}

static ssize_t state_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%s\n", cram_state_names[READ_ONCE(cram_of_dev(dev)->state)]);
}
static DEVICE_ATTR_RO(state);

/* A file with one amount, as of one moment of the account. */
#define CRAM_AMOUNT(name, amount)						\
static ssize_t name##_show(struct device *dev, struct device_attribute *attr,	\
			   char *buf)						\
{										\
	struct cram *c = cram_of_dev(dev);					\
	u64 value;								\
										\
	spin_lock_irq(&c->lock);						\
	cram_settle(c);								\
	value = (amount);							\
	spin_unlock_irq(&c->lock);						\
	return sysfs_emit(buf, "%llu\n", value);				\
}										\
static DEVICE_ATTR_RO(name)

CRAM_AMOUNT(logical_bytes, c->size);
CRAM_AMOUNT(physical_bytes, c->account.physical);
CRAM_AMOUNT(stored_bytes, c->account.stored);
CRAM_AMOUNT(worst_bytes, c->account.worst);
CRAM_AMOUNT(generation, c->account.generation);
CRAM_AMOUNT(reserve_bytes, c->account.reserve);
CRAM_AMOUNT(credit_bytes, c->account.credited * c->account.worst);
CRAM_AMOUNT(unsettled_bytes, cram_account_unsettled(&c->account) * c->account.worst);
CRAM_AMOUNT(resident_bytes, PFN_PHYS((u64)atomic_long_read(&c->nr_written)));
CRAM_AMOUNT(quarantined_bytes, PFN_PHYS((u64)atomic_long_read(&c->nr_dying)));
CRAM_AMOUNT(pressure, READ_ONCE(c->pressure));

static ssize_t stats_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	struct cram *c = cram_of_dev(dev);
	int len = 0;

	for (int i = 0; i < NR_CRAM_STATS; i++)
		len += sysfs_emit_at(buf, len, "%s %ld\n", cram_stat_names[i],
				     atomic_long_read(&c->stat[i]));
	return len;
}
static DEVICE_ATTR_RO(stats);

CRAM_AMOUNT(sampled_bytes, (u64)atomic_long_read(&c->sample.bytes));

static ssize_t sample_interval_show(struct device *dev, struct device_attribute *attr,
				    char *buf)
{
	return sysfs_emit(buf, "%u\n", READ_ONCE(cram_of_dev(dev)->sample.interval));
}

static ssize_t sample_interval_store(struct device *dev, struct device_attribute *attr,
				     const char *buf, size_t len)
{
	unsigned int interval;
	int rc = kstrtouint(buf, 10, &interval);

	if (rc)
		return rc;
	WRITE_ONCE(cram_of_dev(dev)->sample.interval, interval);
	return len;
}
static DEVICE_ATTR_RW(sample_interval);

static struct attribute *cram_attrs[] = {
	&dev_attr_state.attr,
	&dev_attr_logical_bytes.attr,
	&dev_attr_physical_bytes.attr,
	&dev_attr_stored_bytes.attr,
	&dev_attr_worst_bytes.attr,
	&dev_attr_generation.attr,
	&dev_attr_reserve_bytes.attr,
	&dev_attr_credit_bytes.attr,
	&dev_attr_unsettled_bytes.attr,
	&dev_attr_resident_bytes.attr,
	&dev_attr_quarantined_bytes.attr,
	&dev_attr_pressure.attr,
	&dev_attr_sampled_bytes.attr,
	&dev_attr_sample_interval.attr,
	&dev_attr_stats.attr,
	NULL,
};

static const struct attribute_group cram_group = {
	.name	= "cram",
	.attrs	= cram_attrs,
};

static struct kobject *node_kobj(const struct cram *c)
{
	return &node_devices[c->nid]->dev.kobj;
}

int cram_sysfs_add(struct cram *c)
{
	return sysfs_create_group(node_kobj(c), &cram_group);
}

/* The node's directory goes with its last memory, and this in it. */
void cram_sysfs_remove(struct cram *c)
{
	if (node_devices[c->nid])
		sysfs_remove_group(node_kobj(c), &cram_group);
}

/* Whoever polls the state is to look. */
void cram_sysfs_state(struct cram *c)
{
	sysfs_notify(node_kobj(c), "cram", "state");
}
