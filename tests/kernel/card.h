/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The emulated card from outside, by QEMU's monitor (boot --monitor): what it does
 * wrong, how large it is, what it knows. The card is the first, cxl-mem0. What fails
 * ends the program.
 */
#ifndef TESTS_KERNEL_CARD_H
#define TESTS_KERNEL_CARD_H

#include <stdbool.h>
#include <stdint.h>

/* A fault of those in docs/design/cxl-compressed-card.md; delay_ms 0 is the fault's own. */
void card_fault(const char *fault, bool enable, unsigned int delay_ms);
/* Announced to the host, or at once. */
void card_resize(uint64_t physical, bool force);
/* Bytes that are stored and belong to no page. */
void card_overhead(uint64_t bytes);
/* "low" or "high". */
void card_interrupt(const char *watermark);
/* A number of x-cxl-query-compression, exact as of now: "stored", "peak-excess", … */
uint64_t card_value(const char *key);
/* Any command; the answer is valid until the next one. NULL if it is an error. */
const char *card_monitor(const char *command, const char *arguments);

#endif
