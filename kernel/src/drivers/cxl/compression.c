// SPDX-License-Identifier: GPL-2.0-only
/*
 * CXL memory that holds more than it has, because it compresses what is written,
 * as a node of compressed RAM.
 *
 * Two drivers that belong together. One speaks to the card: its mailbox, its
 * interrupts. It is on the auxiliary device that cxl_pci adds for a card that
 * announces compression. The other is for the card's memory: a region bound to it,
 * rather than to cxl_region, becomes a node of CRAM's. What may be stored there, and
 * when, is all decided there (mm/cram.c).
 *
 * A node lives from its region's bind to an unbind that finds nobody on its memory.
 * Unbinding cannot fail: a node that is in use then goes on, with its card, until the
 * region is bound and unbound again. The card is held by the lock of its auxiliary
 * device.
 */
#include <linux/auxiliary_bus.h>
#include <linux/cleanup.h>
#include <linux/cram.h>
#include <linux/delay.h>
#include <linux/device.h>
#include <linux/devm-helpers.h>
#include <linux/interrupt.h>
#include <linux/memory.h>
#include <linux/memory_hotplug.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/range.h>
#include <linux/slab.h>

#include "cxlmem.h"
#include "cxl.h"

#define RESOURCE_NAME	"System RAM (cxl_compression)"

/* The card's commands, from the vendor's range. */
enum {
	OP_GET_CAPACITY		= 0xc000,
	OP_SET_WATERMARKS	= 0xc002,
	OP_TRIM			= 0xc003,
};

/* Its interrupts: less is free than the low watermark, the high one is reached again. */
static const unsigned int card_vectors[] = { 12, 13 };

#define REPORT_VERSION		1
#define REPORT_SHRINKING	BIT(2)

struct capacity_report {
	__le16 version;
	__le16 length;
	__le32 flags;
	__le64 generation;
	__le64 logical;
	__le64 physical;
	__le64 metadata;
	__le64 usable;
	__le64 stored;
	__le64 unsettled;
	__le32 worst;
	__le32 unit;
	__le64 lag;
	__le64 step;
	__le64 peak_exposure;
	__le64 lost;
	__le64 target;
	__le64 low_watermark;
	__le64 high_watermark;
	__le64 trim_bytes;
	__le64 peak_excess;
	__le64 histogram[9];
	u8 algorithm;
	u8 reserved[7];
	__le64 excused;
	__le64 tag;
	u8 reserved2[16];
} __packed;
static_assert(sizeof(struct capacity_report) == 256);

struct watermarks {
	__le64 low;
	__le64 high;
} __packed;

struct trim_range {
	__le64 start;
	__le64 size;
} __packed;

struct trim {
	__le32 count;
	__le32 reserved;
	struct trim_range range[];
} __packed;

#define ALGORITHM_ZSTD		1
#define TRIM_MAX_RANGES		127UL

/* A card that is being reset does not answer for a while, and has all that it had. */
#define RESET_MS		1000
#define RESET_POLL_MS		20

/**
 * struct cxl_card - a card that compresses
 * @mbox: its mailbox
 * @ops: what CRAM may ask of it
 * @nid: the node that its memory is; NUMA_NO_NODE: none
 * @range: where that is
 * @report: where answers arrive; CRAM asks one thing at a time
 * @trim: the same for what is sent
 * @answers: how often it was found to be there
 * @lost: finds out whether the card is there no more, and says so
 */
struct cxl_card {
	struct cxl_mailbox *mbox;
	struct cram_card_ops ops;
	int nid;
	struct range range;
	struct capacity_report report;
	struct trim *trim;
	atomic_t answers;
	struct work_struct lost;
};

/*
 * A command that the card has answered with an error had no effect where the card
 * says so. One that it has not answered in time may have, now or later.
 */
static int card_send(struct cxl_card *card, struct cxl_mbox_cmd *cmd)
{
	int rc = cxl_internal_send_cmd(card->mbox, cmd);

	switch (cmd->return_code) {
	case CXL_MBOX_CMD_RC_SUCCESS:
	case CXL_MBOX_CMD_RC_BACKGROUND:
		return rc;
	case CXL_MBOX_CMD_RC_BUSY:
	case CXL_MBOX_CMD_RC_RETRY:
		return -EBUSY;
	case CXL_MBOX_CMD_RC_UNSUPPORTED:
	case CXL_MBOX_CMD_RC_MBUNSUPPORTED:
		return -EOPNOTSUPP;
	default:
		return -EIO;
	}
}

static int card_get_report(struct cxl_card *card, u64 tag, u64 accepts)
{
	struct capacity_report *r = &card->report;
	__le64 in[] = { cpu_to_le64(tag), cpu_to_le64(accepts) };
	struct cxl_mbox_cmd cmd = {
		.opcode = OP_GET_CAPACITY,
		.payload_in = in,
		.size_in = sizeof(in),
		.payload_out = r,
		.size_out = sizeof(*r),
	};
	int rc = card_send(card, &cmd);

	if (rc)
		return !cmd.return_code && rc == -EIO ? -EBADMSG : rc;
	if (le16_to_cpu(r->version) != REPORT_VERSION || le16_to_cpu(r->length) != sizeof(*r))
		return -EBADMSG;
	return 0;
}

static struct pci_dev *card_pdev(const struct cxl_card *card)
{
	return to_pci_dev(card->mbox->host);
}

static bool card_answers(struct cxl_card *card)
{
	if (!pci_device_is_present(card_pdev(card)))
		return false;
	atomic_inc(&card->answers);
	return true;
}

/*
 * May sleep until that is certain. What counts is how often nobody answered in a row, not
 * the time: a machine that stood still has not asked meanwhile. When another one has had
 * an answer since, it is not.
 */
static bool card_is_gone(struct cxl_card *card)
{
	const int answers = atomic_read(&card->answers);
	int asked = 0;

	while (atomic_read(&card->answers) == answers && !card_answers(card)) {
		/* The port has said so, or it has had its time. */
		if (card_pdev(card)->error_state == pci_channel_io_perm_failure ||
		    asked++ == RESET_MS / RESET_POLL_MS)
			return true;
		msleep(RESET_POLL_MS);
	}
	return false;
}

/* Nobody said that it would be taken away. */
static void card_lost(struct work_struct *work)
{
	struct cxl_card *card = container_of(work, struct cxl_card, lost);
	int nid = READ_ONCE(card->nid);

	if (nid != NUMA_NO_NODE && card_is_gone(card))
		cram_card_gone(nid, card, false);
}

static bool card_present(void *data)
{
	struct cxl_card *card = data;

	if (card_answers(card))
		return true;
	/* CRAM may be waiting for this, and must not be told meanwhile. */
	schedule_work(&card->lost);
	return false;
}

static int card_report(void *data, u64 tag, u64 accepts, struct cram_report *report,
		       struct cram_limits *limits)
{
	struct cxl_card *card = data;
	const struct capacity_report *r = &card->report;
	u64 target, metadata;
	int rc;

	rc = card_get_report(card, tag, accepts);
	if (rc) {
		card_present(card);
		return rc;
	}
	atomic_inc(&card->answers);

	*report = (struct cram_report) {
		.tag = le64_to_cpu(r->tag),
		.generation = le64_to_cpu(r->generation),
		.stored = le64_to_cpu(r->stored),
		.usable = le64_to_cpu(r->usable),
	};
	if (le32_to_cpu(r->flags) & REPORT_SHRINKING) {
		/* 0 would be no target. */
		target = le64_to_cpu(r->target);
		metadata = le64_to_cpu(r->metadata);
		report->target = target > metadata ? target - metadata : 1;
	}
	*limits = (struct cram_limits) {
		.algorithm = r->algorithm == ALGORITHM_ZSTD ? CRAM_ZSTD : CRAM_LZ4,
		.unit = le32_to_cpu(r->unit),
		.worst = le32_to_cpu(r->worst),
		.lag = le64_to_cpu(r->lag),
		.step = le64_to_cpu(r->step),
		.lost = le64_to_cpu(r->lost),
	};
	return 0;
}

static int card_trim(void *data, const struct cram_range *ranges, unsigned int nr)
{
	struct cxl_card *card = data;
	struct cxl_mbox_cmd cmd = {
		.opcode = OP_TRIM,
		.payload_in = card->trim,
		.size_in = struct_size(card->trim, range, nr),
	};

	/* The node's memory starts where the card's does. */
	card->trim->count = cpu_to_le32(nr);
	for (unsigned int i = 0; i < nr; i++)
		card->trim->range[i] = (struct trim_range) {
			.start = cpu_to_le64(ranges[i].start),
			.size = cpu_to_le64(ranges[i].size),
		};
	return card_send(card, &cmd);
}

static int card_set_watermarks(void *data, u64 low, u64 high)
{
	struct watermarks in = { cpu_to_le64(low), cpu_to_le64(high) };
	struct cxl_mbox_cmd cmd = {
		.opcode = OP_SET_WATERMARKS,
		.payload_in = &in,
		.size_in = sizeof(in),
	};

	return card_send(data, &cmd);
}

/*
 * A mailbox takes one command at a time. Where it answers to this, which does nothing,
 * it has answered to all before: what timed out has happened by now, or never will. That
 * the answer may be an error does not matter.
 */
static int card_outlive_timeouts(void *data)
{
	int rc = card_trim(data, NULL, 0);

	return rc == -EIO || rc == -EOPNOTSUPP ? 0 : rc;
}

static irqreturn_t card_interrupt(int irq, void *data)
{
	struct cxl_card *card = data;
	int nid = READ_ONCE(card->nid);

	if (nid != NUMA_NO_NODE)
		cram_notify(nid);
	return IRQ_HANDLED;
}

/* Interrupts tell early what reports tell anyway. */
static void card_request_interrupts(struct device *dev, struct cxl_card *card)
{
	struct pci_dev *pdev = to_pci_dev(dev->parent);
	int irq;

	for (int i = 0; i < ARRAY_SIZE(card_vectors); i++) {
		irq = pdev->msix_enabled ? pci_irq_vector(pdev, card_vectors[i]) : -ENXIO;
		if (irq < 0 || devm_request_irq(dev, irq, card_interrupt, 0, dev_name(dev), card)) {
			dev_info(dev, "no interrupt %u: the card is asked instead\n",
				 card_vectors[i]);
			return;
		}
	}
}

static int card_probe(struct auxiliary_device *aux, const struct auxiliary_device_id *id)
{
	struct cxl_dev_state *cxlds = dev_get_drvdata(aux->dev.parent);
	struct device *dev = &aux->dev;
	struct cxl_card *card;
	size_t ranges;
	int rc;

	card = devm_kzalloc(dev, sizeof(*card), GFP_KERNEL);
	if (!card)
		return -ENOMEM;
	card->mbox = &cxlds->cxl_mbox;
	card->nid = NUMA_NO_NODE;
	rc = devm_work_autocancel(dev, &card->lost, card_lost);
	if (rc)
		return rc;

	ranges = (card->mbox->payload_size - sizeof(*card->trim)) / sizeof(*card->trim->range);
	ranges = min(ranges, TRIM_MAX_RANGES);
	card->trim = devm_kzalloc(dev, struct_size(card->trim, range, ranges), GFP_KERNEL);
	if (!card->trim)
		return -ENOMEM;
	card->ops = (struct cram_card_ops) {
		.report = card_report,
		.trim = card_trim,
		.set_watermarks = card_set_watermarks,
		.reset = card_outlive_timeouts,
		.present = card_present,
		.max_ranges = ranges,
	};
	card_request_interrupts(dev, card);
	dev_set_drvdata(dev, card);
	return 0;
}

/* -EBUSY: the node stays as it is, and so does this module, which its card needs. */
static int card_release_node(struct cxl_card *card)
{
	int rc = cram_unregister_private_node(card->nid);

	if (!rc) {
		WRITE_ONCE(card->nid, NUMA_NO_NODE);
		module_put(THIS_MODULE);
	}
	return rc;
}

/* The node stays, without a card. @readable: until this returns. */
static void card_leave_node(struct cxl_card *card, bool readable)
{
	cram_card_gone(card->nid, card, readable);
	WRITE_ONCE(card->nid, NUMA_NO_NODE);
	module_put(THIS_MODULE);
}

struct rescue {
	struct work_struct work;
	struct cxl_card *card;
};

static void rescue_work(struct work_struct *work)
{
	struct cxl_card *card = container_of(work, struct rescue, work)->card;

	if (card_release_node(card))
		card_leave_node(card, true);
}

/* Signals to whoever takes the card away are no reason to lose what is there. */
static void card_rescue_node(struct cxl_card *card)
{
	struct rescue rescue = { .card = card };

	INIT_WORK_ONSTACK(&rescue.work, rescue_work);
	queue_work(system_unbound_wq, &rescue.work);
	flush_work(&rescue.work);
	destroy_work_on_stack(&rescue.work);
}

/* The card is being taken away. What can be saved is saved, as long as it is there. */
static void card_remove(struct auxiliary_device *aux)
{
	struct cxl_card *card = dev_get_drvdata(&aux->dev);

	if (card->nid == NUMA_NO_NODE)
		return;
	if (card_is_gone(card))
		card_leave_node(card, false);
	else
		card_rescue_node(card);
}

static const struct auxiliary_device_id card_ids[] = {
	{ .name = "cxl_pci." CXL_COMPRESSION_NAME },
	{ }
};
MODULE_DEVICE_TABLE(auxiliary, card_ids);

static struct auxiliary_driver card_driver = {
	.name = "card",
	.probe = card_probe,
	.remove = card_remove,
	.id_table = card_ids,
	/* It goes with the card: without it nobody can ask how full the card is. */
	.driver = { .suppress_bind_attrs = true },
};

/*
 * Regions
 */

static int match_card(struct device *dev, const void *parent)
{
	return dev->parent == parent &&
	       !strcmp(to_auxiliary_dev(dev)->name, CXL_COMPRESSION_NAME);
}

static struct device *find_card(struct cxl_memdev *cxlmd)
{
	struct auxiliary_device *aux;

	aux = auxiliary_find_device(NULL, cxlmd->cxlds->dev, match_card);
	return aux ? &aux->dev : NULL;
}

static struct cxl_card *card_of(struct device *aux)
{
	device_lock_assert(aux);
	return aux->driver == &card_driver.driver ? dev_get_drvdata(aux) : NULL;
}

/* Addresses of the node have to be the card's own, and nobody else's memory be on the card. */
static int check_range(struct device *dev, struct cxl_card *card, const struct range *range,
		       const struct range *dpa)
{
	u64 logical;
	int rc;

	rc = card_get_report(card, 0, 0);
	if (rc)
		return dev_err_probe(dev, rc, "the card does not say how large it is\n");

	logical = le64_to_cpu(card->report.logical);
	if (dpa->start || range_len(dpa) != logical || range_len(range) != logical)
		return dev_err_probe(dev, -EINVAL,
				     "%#llx-%#llx is not all of the card, which has %#llx bytes\n",
				     dpa->start, dpa->end, logical);
	card->ops.max_bytes = ALIGN_DOWN(le64_to_cpu(card->report.trim_bytes), PAGE_SIZE);
	return 0;
}

static int start_node(struct cxl_region *cxlr, struct cxl_card *card, struct device *aux,
		      const struct range *dpa)
{
	struct cxl_region_params *p = &cxlr->params;
	struct range range = { p->res->start, p->res->end };
	struct device *dev = &cxlr->dev;
	int nid, rc;

	if (card->nid != NUMA_NO_NODE) {
		if (card->range.start != range.start || card->range.end != range.end)
			return dev_err_probe(dev, -EBUSY, "the card is node %d already\n",
					     card->nid);
		dev_info(dev, "takes over node %d, which was in use when its region was unbound\n",
			 card->nid);
		return 0;
	}

	rc = check_range(dev, card, &range, dpa);
	if (rc)
		return rc;
	nid = phys_to_target_node(range.start);
	if (nid == NUMA_NO_NODE)
		nid = memory_add_physaddr_to_nid(range.start);

	rc = cram_register_private_node(nid, range.start, range_len(&range), RESOURCE_NAME, aux,
					&card->ops, card);
	if (rc)
		return rc;
	/* As long as there is the node, its card's operations are needed. */
	__module_get(THIS_MODULE);
	card->range = range;
	WRITE_ONCE(card->nid, nid);
	return 0;
}

static int cxl_compression_probe(struct device *dev)
{
	struct cxl_region *cxlr = container_of(dev, struct cxl_region, dev);
	struct cxl_memdev *cxlmd;
	struct cxl_card *card;
	struct range dpa;
	int rc;

	rc = cxl_region_committed(cxlr);
	if (rc)
		return rc;
	if (cxlr->mode != CXL_DECODER_RAM)
		return dev_err_probe(dev, -EINVAL, "only RAM regions can be compressed memory\n");
	cxlmd = cxl_region_get_memdev(cxlr, &dpa);
	if (!cxlmd)
		return dev_err_probe(dev, -EINVAL,
				     "interleaved over %d cards: none could answer for its pages\n",
				     cxlr->params.interleave_ways);
	struct device *memdev __free(put_device) = &cxlmd->dev;
	struct device *aux __free(put_device) = find_card(cxlmd);

	if (!aux)
		return dev_err_probe(dev, -ENODEV, "%s does not compress\n", dev_name(memdev));

	guard(device)(aux);
	card = card_of(aux);
	if (!card)
		return dev_err_probe(dev, -ENXIO, "%s has no driver\n", dev_name(aux));
	rc = start_node(cxlr, card, aux, &dpa);
	if (rc)
		return rc;
	dev_set_drvdata(dev, no_free_ptr(aux));
	return 0;
}

static void cxl_compression_remove(struct device *dev)
{
	struct device *aux __free(put_device) = dev_get_drvdata(dev);
	struct cxl_card *card;
	int rc;

	guard(device)(aux);
	card = card_of(aux);
	/* A card that went has taken its node with it. */
	if (!card || card->nid == NUMA_NO_NODE)
		return;
	rc = card_is_gone(card) ? -ENXIO : card_release_node(card);
	if (!rc)
		return;
	/* Errors of its link have drivers let go, too. What is behind it cannot be moved. */
	if (rc == -ENXIO || card_is_gone(card))
		card_leave_node(card, false);
	else
		dev_err(dev, "node %d is in use (%pe) and stays; free it, bind %s again, unbind it\n",
			card->nid, ERR_PTR(rc), dev_name(dev));
}

static struct cxl_driver cxl_compression_driver = {
	.name = "cxl_compression",
	.probe = cxl_compression_probe,
	.remove = cxl_compression_remove,
	.id = CXL_DEVICE_REGION,
};

static int __init cxl_compression_init(void)
{
	int rc;

	rc = auxiliary_driver_register(&card_driver);
	if (rc)
		return rc;
	rc = cxl_driver_register(&cxl_compression_driver);
	if (rc)
		auxiliary_driver_unregister(&card_driver);
	return rc;
}
module_init(cxl_compression_init);

static void __exit cxl_compression_exit(void)
{
	cxl_driver_unregister(&cxl_compression_driver);
	auxiliary_driver_unregister(&card_driver);
}
module_exit(cxl_compression_exit);

MODULE_DESCRIPTION("CXL: memory that compresses as compressed RAM");
MODULE_LICENSE("GPL");
MODULE_IMPORT_NS(CXL);
