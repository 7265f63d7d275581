/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a round found or decided that is news: to the log, and as events to who follows them. What
 * was told already is not told again until it has changed.
 */
#pragma once

#include "daemon.h"

void announce(struct daemon *d);
