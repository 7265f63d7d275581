/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a card that compresses means for those who use it, whatever the round says. */
#pragma once

#include "../sense/card.h"
#include "settings/settings.h"

/* Does it take what comes? When reports have stopped, the kernel lets nothing in either. */
bool cram_card_is_open(const struct card *card);

/*
 * Device bytes that may be filled: some are left, so that a card that fills by itself is not full.
 * CRAM_UNLIMITED: reports have stopped, and what is too much is not known.
 */
uint64_t cram_card_budget(const struct card *card, const struct cram_host_settings *set);
