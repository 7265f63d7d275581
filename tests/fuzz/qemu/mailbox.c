// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Fuzzes the payloads of the compressed card's mailbox commands: whatever a
 * guest writes there is parsed without a fault, and what is accepted keeps
 * the promises of cxl_compress_payload.h. The device behind it is not here;
 * QEMU's own test throws random payloads at the whole.
 */
#include <stdlib.h>

/* First, as everywhere in QEMU: the others count on its types. */
#include "qemu/osdep.h"

#include "hw/cxl/cxl_compress_payload.h"
#include "qemu/bswap.h"

#define CAPACITY  (UINT64_C(1) << 28)
#define MAX_TOTAL (UINT64_C(1) << 27)
#define USABLE	  (UINT64_C(1) << 26)
#define CANARY	  0xa5

#define CHECK(condition)          \
	do {                      \
		if (!(condition)) \
			abort();  \
	} while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool untouched(const void *p, size_t size)
{
	const uint8_t *b = p;

	for (size_t i = 0; i < size; i++)
		if (b[i] != CANARY)
			return false;
	return true;
}

static void check_range(const CXLCompressRange *r)
{
	CHECK(r->len > 0);
	CHECK(r->dpa % CXL_COMPRESS_PAGE_SIZE == 0);
	CHECK(r->len % CXL_COMPRESS_PAGE_SIZE == 0);
	CHECK(r->dpa < CAPACITY && r->len <= CAPACITY - r->dpa);
}

/* @in is what came behind the 8-byte header; @count what the header said. */
static void check_ranges(const CXLCompressRanges *r, uint32_t count, const uint8_t *in, size_t len)
{
	uint64_t total = 0;

	CHECK(r->nr == count && r->nr <= CXL_COMPRESS_MAX_RANGES);
	CHECK(len == (size_t)r->nr * 16);
	for (uint32_t i = 0; i < r->nr; i++) {
		check_range(&r->range[i]);
		CHECK(r->range[i].dpa == ldq_le_p(in + (size_t)16 * i));
		CHECK(r->range[i].len == ldq_le_p(in + (size_t)16 * i + 8));
		total += r->range[i].len;
	}
	CHECK(total == r->total && total <= MAX_TOTAL);
}

static void fuzz_trim(const uint8_t *in, size_t len)
{
	CXLCompressRanges ranges;

	memset(&ranges, CANARY, sizeof(ranges));
	if (cxl_compress_parse_trim(in, len, CAPACITY, MAX_TOTAL, &ranges) == CXL_COMPRESS_PARSE_OK)
		check_ranges(&ranges, ldl_le_p(in), in + 8, len - 8);
	else
		CHECK(untouched(&ranges, sizeof(ranges)));
}

static void fuzz_media(const uint8_t *in, size_t len)
{
	CXLCompressMediaRequest media;
	uint8_t out[20];
	size_t out_len;

	memset(&media, CANARY, sizeof(media));
	if (cxl_compress_parse_media(in, len, CAPACITY, MAX_TOTAL, &media) !=
	    CXL_COMPRESS_PARSE_OK) {
		CHECK(untouched(&media, sizeof(media)));
		return;
	}
	if (media.op != CXL_COMPRESS_MEDIA_DISCOVER) {
		CHECK(in[0] == 1 && in[1] <= 1);
		check_ranges(&media.ranges, ldl_le_p(in + 4), in + 8, len - 8);
		return;
	}
	CHECK(in[0] == 0 && in[1] == 0);
	out_len = cxl_compress_pack_media_ops(&media, out);
	CHECK(out_len <= sizeof(out));
	CHECK(out_len == 12 + 2 * (size_t)lduw_le_p(out + 10));
	CHECK(lduw_le_p(out + 10) <= media.max_ops);
}

static void fuzz_watermarks(const uint8_t *in, size_t len)
{
	CXLCompressWatermarks wm;
	uint8_t out[16];

	memset(&wm, CANARY, sizeof(wm));
	if (cxl_compress_parse_watermarks(in, len, USABLE, &wm) != CXL_COMPRESS_PARSE_OK) {
		CHECK(untouched(&wm, sizeof(wm)));
		return;
	}
	CHECK(wm.low <= wm.high && wm.high <= USABLE);
	cxl_compress_pack_watermarks(&wm, out);
	CHECK(memcmp(in, out, sizeof(out)) == 0);
}

static void fuzz_range(const uint8_t *in, size_t len)
{
	CXLCompressRange range;

	memset(&range, CANARY, sizeof(range));
	if (cxl_compress_parse_range(in, len, CAPACITY, &range) == CXL_COMPRESS_PARSE_OK)
		check_range(&range);
	else
		CHECK(untouched(&range, sizeof(range)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *in;

	if (size < 1)
		return 0;
	/* A copy of exactly the payload's size: reading one byte more is seen. */
	in = malloc(size - 1);
	if (!in && size > 1)
		return 0;
	if (size > 1)
		memcpy(in, data + 1, size - 1);
	switch (data[0] % 4) {
	case 0:
		fuzz_trim(in, size - 1);
		break;
	case 1:
		fuzz_media(in, size - 1);
		break;
	case 2:
		fuzz_watermarks(in, size - 1);
		break;
	case 3:
		fuzz_range(in, size - 1);
		break;
	}
	free(in);
	return 0;
}
