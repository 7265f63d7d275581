// SPDX-License-Identifier: GPL-2.0-or-later
/* Files of nodeN/cram/; see card.h. */
#include "card.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "util/cleanup.h"

/* A report comes every 10 ms at most, and reading takes a fraction of one. */
#define TRIES 4

static const char *const state_names[] = {
	[CARD_NORMAL] = "normal", [CARD_THROTTLED] = "throttled", [CARD_EVICTING] = "evicting",
	[CARD_STALE] = "stale",	  [CARD_OVERRUN] = "overrun",	  [CARD_OFFLINE] = "offline",
};

const char *card_state_name(enum card_state state)
{
	return (size_t)state < CARD_N_STATES ? state_names[state] : "unknown";
}

static int open_dir(const struct sysroot *root, int nid, int *ret_fd)
{
	char path[64];

	snprintf(path, sizeof(path), "/sys/devices/system/node/node%d/cram", nid);
	return sysroot_open_file(root, path, O_PATH | O_DIRECTORY, ret_fd);
}

static int read_state(const struct sysroot *dir, enum card_state *ret_state)
{
	char text[32];
	int r = sysroot_read(dir, "state", text, sizeof(text), NULL);

	if (r < 0)
		return r;
	text[strcspn(text, "\n")] = '\0';
	for (int i = 0; i < CARD_N_STATES; i++) {
		if (strcmp(text, state_names[i]) != 0)
			continue;
		*ret_state = (enum card_state)i;
		return 0;
	}
	return -EBADMSG;
}

/* "pages_evicted 12": the number behind @name at the beginning of a line; 0: there is none. */
static uint64_t stat_value(const char *text, const char *name)
{
	size_t len = strlen(name);
	uint64_t value;

	for (const char *p = text; p; p = strchr(p, '\n')) {
		p += *p == '\n';
		if (strncmp(p, name, len) != 0 || p[len] != ' ')
			continue;
		p += len + 1;
		return parse_u64(&p, 10, &value) < 0 ? 0 : value;
	}
	return 0;
}

/* All but the generation. */
static int read_account(const struct sysroot *dir, struct card *card)
{
	const struct {
		const char *name;
		uint64_t *value;
	} amounts[] = {
		{ "logical_bytes", &card->logical },   { "physical_bytes", &card->physical },
		{ "stored_bytes", &card->stored },     { "reserve_bytes", &card->reserve },
		{ "credit_bytes", &card->credit },     { "unsettled_bytes", &card->unsettled },
		{ "resident_bytes", &card->resident }, { "quarantined_bytes", &card->dying },
	};
	uint64_t pressure, worst;
	char stats[4096];
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(amounts); i++) {
		r = sysroot_read_u64(dir, amounts[i].name, amounts[i].value);
		if (r < 0)
			return r;
	}
	r = sysroot_read_u64(dir, "pressure", &pressure);
	if (r < 0)
		return r;
	if (pressure > 1000)
		return -EBADMSG;
	card->pressure = (uint32_t)pressure;
	/* Not every kernel says; then it is as much as the page has. */
	r = sysroot_read_u64(dir, "worst_bytes", &worst);
	if (r == -ENOENT)
		worst = 4096;
	else if (r < 0)
		return r;
	if (worst < 4096 || worst > 65536)
		return -EBADMSG;
	card->worst = (uint32_t)worst;
	r = sysroot_read(dir, "stats", stats, sizeof(stats), NULL);
	if (r < 0)
		return r;
	card->reports = stat_value(stats, "reports");
	card->reports_failed = stat_value(stats, "reports_failed");
	card->evicted = stat_value(stats, "pages_evicted");
	card->lost = stat_value(stats, "pages_lost");
	return read_state(dir, &card->state);
}

int card_read(const struct sysroot *root, int nid, struct card *ret_card)
{
	cleanup_close int fd = -1;
	struct sysroot dir;
	struct card card;
	uint64_t after;
	int r;

	r = open_dir(root, nid, &fd);
	if (r < 0)
		return r;
	dir.fd = fd;
	for (int i = 0; i < TRIES; i++) {
		r = sysroot_read_u64(&dir, "generation", &card.generation);
		if (r == 0)
			r = read_account(&dir, &card);
		if (r == 0)
			r = sysroot_read_u64(&dir, "generation", &after);
		if (r < 0)
			return r;
		if (after != card.generation)
			continue;
		*ret_card = card;
		return 0;
	}
	return -EAGAIN;
}

int card_read_departures(const struct sysroot *root, int nid, struct card_departures *ret_gone)
{
	char path[64], stats[4096];
	int r;

	snprintf(path, sizeof(path), "/sys/devices/system/node/node%d/cram/stats", nid);
	r = sysroot_read(root, path, stats, sizeof(stats), NULL);
	if (r < 0)
		return r;
	*ret_gone = (struct card_departures){
		.written = stat_value(stats, "pages_promoted"),
		.evicted = stat_value(stats, "pages_evicted") + stat_value(stats, "pages_swapped"),
	};
	return 0;
}

int card_watch(const struct sysroot *root, int nid, int *ret_fd)
{
	char path[64], text[32];
	int fd, r;

	snprintf(path, sizeof(path), "/sys/devices/system/node/node%d/cram/state", nid);
	r = sysroot_open_file(root, path, O_RDONLY | O_CLOEXEC, &fd);
	if (r < 0)
		return r;
	/* What was not read before counts as changed. */
	if (pread(fd, text, sizeof(text), 0) < 0) {
		r = -errno;
		close(fd);
		return r;
	}
	*ret_fd = fd;
	return 0;
}
