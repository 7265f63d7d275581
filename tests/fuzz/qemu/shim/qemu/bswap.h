/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * QEMU's unaligned little-endian accessors, byte by byte, so that the
 * sanitizers see every byte that is read or written.
 */
#ifndef CRAM_FUZZ_BSWAP_H
#define CRAM_FUZZ_BSWAP_H

#include <stdint.h>

static inline uint64_t fuzz_load(const void *p, unsigned int bytes)
{
	const uint8_t *b = p;
	uint64_t value = 0;

	for (unsigned int i = 0; i < bytes; i++)
		value |= (uint64_t)b[i] << (8 * i);
	return value;
}

static inline void fuzz_store(void *p, uint64_t value, unsigned int bytes)
{
	uint8_t *b = p;

	for (unsigned int i = 0; i < bytes; i++)
		b[i] = (uint8_t)(value >> (8 * i));
}

#define lduw_le_p(p)   ((uint16_t)fuzz_load(p, 2))
#define ldl_le_p(p)    ((uint32_t)fuzz_load(p, 4))
#define ldq_le_p(p)    fuzz_load(p, 8)
#define stw_le_p(p, v) fuzz_store(p, v, 2)
#define stl_le_p(p, v) fuzz_store(p, v, 4)
#define stq_le_p(p, v) fuzz_store(p, v, 8)

#endif
