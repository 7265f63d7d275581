/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Byte sizes the way libvirt writes them. Not for rates or times.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define KiB (UINT64_C(1) << 10)
#define MiB (UINT64_C(1) << 20)
#define GiB (UINT64_C(1) << 30)
#define TiB (UINT64_C(1) << 40)

/* "unlimited" in text, everywhere a limit is a size. */
#define CRAM_UNLIMITED UINT64_MAX

/*
 * Bytes per @unit: b bytes | KB k KiB | MB M MiB | GB G GiB | TB T TiB, letter case ignored as
 * libvirt does (K, M, G, T and the iB forms are powers of 1024, the B forms powers of 1000).
 * -EINVAL: not a unit.
 */
int cram_size_unit(const char *unit, uint64_t *ret_bytes);

/*
 * "12", "12 GiB", "12GiB"; a number without a unit is in @default_unit (bytes per unit); 0: only
 * zero needs none, since a size a factor 1024 off is worse than an error.
 * Decimal integers only, as in libvirt. -EINVAL: not a size, -ERANGE: does not fit 63 bits.
 */
int cram_size_parse(const char *text, uint64_t default_unit, uint64_t *ret_bytes);

/* As cram_size_parse() reads it, without a loss: "3 GiB", "1600 bytes". Returns @buf (>= 32 bytes).
 */
const char *cram_size_format_exactly(uint64_t bytes, char *buf, size_t size);

/* For people: "3.50 GiB", "unlimited" for CRAM_UNLIMITED; at most 32 bytes. Returns @buf. */
const char *cram_size_format(uint64_t bytes, char *buf, size_t size);
