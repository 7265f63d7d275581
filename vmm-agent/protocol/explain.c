// SPDX-License-Identifier: GPL-2.0-or-later
/* What a decision's reasons mean for one VM, in sentences. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "protocol/model.h"

static const char *some(uint64_t bytes, char *buf)
{
	if (!bytes)
		return strcpy(buf, "nothing");
	return cram_size_format(bytes, buf, 32);
}

/* "15.84 of 16 MiB", "1 GiB of 512 MiB". */
static const char *part_of(uint64_t part, uint64_t whole, char buf[80])
{
	char a[32], b[32], *unit;

	some(part, a);
	some(whole, b);
	unit = strchr(a, ' ');
	if (unit && strchr(b, ' ') && strcmp(unit, strchr(b, ' ')) == 0)
		*unit = '\0';
	snprintf(buf, 80, "%s of %s", a, b);
	return buf;
}

/* What is cold and stays in DRAM all the same. */
static void add_what_stays(const struct cram_vm_report *vm, char *buf, size_t size)
{
	uint64_t stays = vm->cold > vm->demote_pending ? vm->cold - vm->demote_pending : 0;
	size_t n = strlen(buf);
	char text[32];

	if (stays && n < size)
		snprintf(buf + n, size - n, "; %s cold must stay", some(stays, text));
}

/* @of is what the bytes are a part of: "quota". */
static void limit_text(const struct cram_reason_entry *e, const struct cram_vm_report *vm,
		       const char *of, char *buf, size_t size)
{
	char text[80];

	if (e->limit)
		snprintf(buf, size, "%s %s used", part_of(e->bytes, e->limit, text), of);
	else
		snprintf(buf, size, "its %s is nothing, and %s are used", of, some(e->bytes, text));
	if (e->bytes <= e->limit)
		add_what_stays(vm, buf, size);
}

static void time_text(const struct cram_reason_entry *e, char *buf, size_t size)
{
	uint64_t seconds = (e->bytes + 999) / 1000;

	if (e->code == CRAM_REASON_WARMUP)
		snprintf(buf, size, "not observed for one cold age yet, %" PRIu64 " s are left",
			 seconds);
	else
		snprintf(buf, size,
			 "what went out came back too fast (%" PRIu64 " in a row), %" PRIu64
			 " s are left until the next try",
			 e->limit, seconds);
}

static void state_text(const struct cram_reason_entry *e, const struct cram_vm_report *vm,
		       char *buf, size_t size)
{
	char a[32];

	if (e->code == CRAM_REASON_MODE && vm->tier_bytes)
		snprintf(buf, size, "its mode is %s: nothing goes out, and %s come home", vm->mode,
			 some(vm->tier_bytes, a));
	else if (e->code == CRAM_REASON_MODE)
		snprintf(buf, size, "its mode is %s: nothing goes out", vm->mode);
	else if (e->code == CRAM_REASON_INELIGIBLE)
		snprintf(buf, size, "it cannot be tiered: %s", vm->ineligible);
	else if (e->code == CRAM_REASON_DRAIN && e->bytes)
		snprintf(buf, size, "it is drained, and %s are on the tier yet", some(e->bytes, a));
	else if (e->code == CRAM_REASON_DRAIN)
		snprintf(buf, size, "it is drained, and nothing is on the tier");
	else
		snprintf(buf, size, "%s", cram_reason_text(e->code));
}

void cram_reason_sentence(const struct cram_reason_entry *e, const struct cram_vm_report *vm,
			  char *buf, size_t size)
{
	char a[80], b[80];

	some(e->bytes, a);
	some(e->limit, b);
	switch (e->code) {
	case CRAM_REASON_WARMUP:
	case CRAM_REASON_BACKOFF:
		time_text(e, buf, size);
		break;
	case CRAM_REASON_COLD:
		snprintf(buf, size, "%s in DRAM %s not been used for %" PRIu64 " s", a,
			 e->bytes ? "have" : "has", e->limit);
		break;
	case CRAM_REASON_SLO_OVER:
		snprintf(buf, size, "%s came back within a minute, %s may", a, b);
		break;
	case CRAM_REASON_QUOTA:
		limit_text(e, vm, "quota", buf, size);
		break;
	case CRAM_REASON_HARD_LIMIT:
		limit_text(e, vm, "hard limit", buf, size);
		break;
	case CRAM_REASON_SHARE:
		limit_text(e, vm, "fair share", buf, size);
		break;
	case CRAM_REASON_FLOOR:
		if (e->bytes < e->limit) {
			snprintf(buf, size, "%s in DRAM, less than its floor of %s", a, b);
			break;
		}
		snprintf(buf, size, "%s in DRAM, of which the floor keeps %s", a, b);
		add_what_stays(vm, buf, size);
		break;
	case CRAM_REASON_TIER_FULL:
		snprintf(buf, size, "%s would go, and the tier takes %s now", a, b);
		break;
	case CRAM_REASON_TIER_PRESSURE:
		snprintf(buf, size, "all VMs take %s of the tier, which has %s for them now", a, b);
		break;
	case CRAM_REASON_RATE:
		snprintf(buf, size, "%s would move, and the rates let %s in this round", a, b);
		break;
	case CRAM_REASON_HEADROOM:
		snprintf(buf, size, "%s would come home, and DRAM has %s above its headroom", a, b);
		break;
	case CRAM_REASON_DRAM_PRESSURE:
		snprintf(
			buf, size,
			"DRAM has %s to be had, less than its headroom of %s: younger memory may go",
			a, b);
		break;
	case CRAM_REASON_HYSTERESIS:
		snprintf(buf, size, "%s from where it is to be, and a move begins at %s", a, b);
		break;
	case CRAM_REASON_HOT:
		snprintf(buf, size, "%s on the tier are in use and come home", a);
		break;
	case CRAM_REASON_SWAP:
		snprintf(buf, size,
			 "%s have to leave the tier and have no room in DRAM: %s go to swap", a, b);
		break;
	default:
		state_text(e, vm, buf, size);
		break;
	}
}
