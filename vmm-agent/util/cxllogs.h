/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Does a CXL card compress? It has a log for that (docs/design/cxl-compressed-card.md), and says so
 * when it is asked which logs it has: by the kernel's own command interface, since libcxl knows the
 * question only as a raw command, which most kernels refuse and the others taint themselves for.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What Get Supported Logs answers at most here: 8 bytes and 20 for each of 31 logs. */
#define CXL_LOGS_MAX 628

/*
 * The answer of the card behind @fd, /dev/cxl/memN open for reading and writing, into @buf: how
 * many bytes, or a negative errno. Waits for the card's mailbox: microseconds, two seconds with a
 * card that is stuck.
 */
int cxl_get_supported_logs(int fd, uint8_t *buf, size_t size);

/* Is the log of a compressing card in the answer? */
bool cxl_logs_compress(const uint8_t *answer, size_t size);
