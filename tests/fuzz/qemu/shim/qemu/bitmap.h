/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The few of QEMU's bitmap functions that the card's account uses.
 */
#ifndef CRAM_FUZZ_BITMAP_H
#define CRAM_FUZZ_BITMAP_H

#include "qemu/osdep.h"

#define BITS_PER_LONG	 (sizeof(unsigned long) * 8)
#define BIT_WORD(nr)	 ((nr) / BITS_PER_LONG)
#define BIT_MASK(nr)	 (1ul << ((nr) % BITS_PER_LONG))
#define BITS_TO_LONGS(n) DIV_ROUND_UP((n), BITS_PER_LONG)

static inline unsigned long *bitmap_new(size_t bits)
{
	return calloc(BITS_TO_LONGS(bits), sizeof(unsigned long));
}

static inline void bitmap_copy(unsigned long *to, const unsigned long *from, size_t bits)
{
	memcpy(to, from, BITS_TO_LONGS(bits) * sizeof(unsigned long));
}

static inline bool test_bit(size_t nr, const unsigned long *map)
{
	return map[BIT_WORD(nr)] & BIT_MASK(nr);
}

static inline void clear_bit(size_t nr, unsigned long *map)
{
	map[BIT_WORD(nr)] &= ~BIT_MASK(nr);
}

static inline bool test_and_set_bit(size_t nr, unsigned long *map)
{
	bool was = test_bit(nr, map);

	map[BIT_WORD(nr)] |= BIT_MASK(nr);
	return was;
}

static inline bool test_and_clear_bit(size_t nr, unsigned long *map)
{
	bool was = test_bit(nr, map);

	clear_bit(nr, map);
	return was;
}

#endif
