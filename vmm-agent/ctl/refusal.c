// SPDX-License-Identifier: GPL-2.0-or-later
/* Why a card does not come up or go down; see refusal.h. */
#include "ctl/refusal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "util/cleanup.h"

int refused(const struct card *card, int r, struct cram_error *err, const char *attempt,
	    const char *advice)
{
	return cram_error_set(err, r, card->name, attempt, advice, "%s", strerror(-r));
}

/*
 * The kernel empties the caches of all processors first, for what they may hold of those addresses
 * is of other memory. It cannot where a hypervisor, or an architecture, has no way to; its log then
 * says "Failed to synchronize CPU cache state".
 */
int addresses_refused(const struct card *card, int r, struct cram_error *err, const char *attempt,
		      const char *advice)
{
	if (r != -ENXIO)
		return refused(card, r, err, attempt, advice);
	return cram_error_set(err, r, card->name, attempt,
			      "have the firmware give the card its addresses, before the kernel "
			      "starts; in a virtual machine that is for tests alone, boot a kernel "
			      "with CONFIG_CXL_REGION_INVALIDATION_TEST",
			      "this kernel cannot empty the processors' caches, as in a virtual "
			      "machine (%s; its log has \"Failed to synchronize CPU cache state\")",
			      strerror(-r));
}

/* What the drivers of regions mean by their errors. */
int driver_refused(const struct card *card, const char *driver, int r, struct cram_error *err)
{
	static const struct {
		int code;
		const char *why, *advice;
	} known[] = {
		{ ENXIO, "the card's own driver has failed", "see the kernel's log" },
		{ ENODEV, "the kernel finds that it does not compress", "see the kernel's log" },
		{ EINVAL, "its memory is interleaved, persistent, or not all of the card",
		  "see the kernel's log; give its region up and say online again" },
		{ EBUSY, "the card refuses commands for the moment, or is in use",
		  "try again; if that does not help, see the kernel's log" },
		{ ETIMEDOUT, "the card does not answer", "replace or reset it" },
		{ EIO, "the card answers with an error", "replace it, or its firmware" },
		{ EBADMSG, "the card's report has a form that the driver does not know",
		  "boot a kernel that knows it" },
		{ ENOMEM, "there is not enough ordinary memory to describe it",
		  "free 16 GiB for each TiB of the card" },
	};
	char attempt[96];

	snprintf(attempt, sizeof(attempt), "give it to %s", driver);
	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (known[i].code == -r)
			return cram_error_set(err, r, card->name, attempt, known[i].advice,
					      "%s (%s)", known[i].why, strerror(-r));
	return refused(card, r, err, attempt, "see the kernel's log");
}
