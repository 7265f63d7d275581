/* SPDX-License-Identifier: GPL-2.0-or-later */
/* "1 VM", "2 VMs": the ending of an English noun that takes an s. */
#pragma once

#include <stdint.h>

static inline const char *plural(uint64_t n)
{
	return n == 1 ? "" : "s";
}
