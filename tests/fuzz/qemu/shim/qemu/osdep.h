/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the card's payload code uses of QEMU's osdep.h, to build it outside
 * QEMU. Not a replacement for anything else.
 */
#ifndef CRAM_FUZZ_OSDEP_H
#define CRAM_FUZZ_OSDEP_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define ARRAY_SIZE(x) (sizeof(x) / sizeof((x)[0]))
#define MIN(a, b)     ((a) < (b) ? (a) : (b))

#endif
