/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One round: sense, decide, act, and say what changed. The loop's timer runs it, nobody else. */
#pragma once

#include "daemon.h"

void round_run(struct daemon *d);
