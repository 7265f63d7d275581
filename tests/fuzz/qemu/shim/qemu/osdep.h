/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the card's pure code (payloads, account) uses of QEMU's osdep.h, to
 * build it outside QEMU. Not a replacement for anything else.
 */
#ifndef CRAM_FUZZ_OSDEP_H
#define CRAM_FUZZ_OSDEP_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define ARRAY_SIZE(x)	   (sizeof(x) / sizeof((x)[0]))
#define MIN(a, b)	   ((a) < (b) ? (a) : (b))
#define MAX(a, b)	   ((a) > (b) ? (a) : (b))
#define DIV_ROUND_UP(n, d) (((n) + (d)-1) / (d))
#define ROUND_UP(n, d)	   (((n) + (d)-1) & ~((d)-1))

#define g_new0(type, n) ((type *)calloc((n), sizeof(type)))
#define g_free(p)	free(p)

#endif
