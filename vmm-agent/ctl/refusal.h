/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the kernel means when it refuses a step of bringing a card up or down (online.c), in words.
 * Each records in @err what was attempted on @card, and returns @r, the negative errno.
 */
#pragma once

#include "ctl/card.h"

/* Where the errno says all that is known. @advice may be NULL. */
int refused(const struct card *card, int r, struct cram_error *err, const char *attempt,
	    const char *advice);
/* That the card's memory answers to addresses, or no longer does: a region's commit. */
int addresses_refused(const struct card *card, int r, struct cram_error *err, const char *attempt,
		      const char *advice);
/* That the region gets @driver. */
int driver_refused(const struct card *card, const char *driver, int r, struct cram_error *err);
