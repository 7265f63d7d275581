/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Payloads of the compressed card's mailbox commands
 *
 * Copyright (c) 2026 The cram authors
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "hw/cxl/cxl_compress_payload.h"

#define TRIM_HEADER 8
#define MEDIA_HEADER 8
#define RANGE_SIZE 16
#define WATERMARKS_SIZE 16

enum {
    MEDIA_CLASS_GENERAL = 0,
    MEDIA_CLASS_SANITIZE = 1,
};

enum {
    MEDIA_GENERAL_DISCOVERY = 0,
};

enum {
    MEDIA_SANITIZE_SANITIZE = 0,
    MEDIA_SANITIZE_ZERO = 1,
};

/* Media operations the card knows, in the order discovery lists them */
static const uint8_t media_ops[][2] = {
    { MEDIA_CLASS_GENERAL, MEDIA_GENERAL_DISCOVERY },
    { MEDIA_CLASS_SANITIZE, MEDIA_SANITIZE_SANITIZE },
    { MEDIA_CLASS_SANITIZE, MEDIA_SANITIZE_ZERO },
};

static CXLCompressParse parse_range(const uint8_t *in, uint64_t capacity,
                                    CXLCompressRange *ret)
{
    uint64_t dpa = ldq_le_p(in);
    uint64_t len = ldq_le_p(in + 8);

    if (!len || dpa % CXL_COMPRESS_PAGE_SIZE || len % CXL_COMPRESS_PAGE_SIZE) {
        return CXL_COMPRESS_PARSE_INPUT;
    }
    if (dpa >= capacity || len > capacity - dpa) {
        return CXL_COMPRESS_PARSE_ADDRESS;
    }
    ret->dpa = dpa;
    ret->len = len;
    return CXL_COMPRESS_PARSE_OK;
}

static CXLCompressParse parse_ranges(const uint8_t *in, size_t len,
                                     uint32_t count, uint64_t capacity,
                                     uint64_t max_total,
                                     CXLCompressRanges *ret)
{
    CXLCompressRanges ranges = { .nr = count };

    if (count > CXL_COMPRESS_MAX_RANGES) {
        return CXL_COMPRESS_PARSE_INPUT;
    }
    if (len != (size_t)count * RANGE_SIZE) {
        return CXL_COMPRESS_PARSE_LENGTH;
    }

    for (uint32_t i = 0; i < count; i++) {
        CXLCompressParse rc;

        rc = parse_range(in + i * RANGE_SIZE, capacity, &ranges.range[i]);
        if (rc != CXL_COMPRESS_PARSE_OK) {
            return rc;
        }
        /* No overflow: 127 ranges, each within the card */
        ranges.total += ranges.range[i].len;
    }
    if (ranges.total > max_total) {
        return CXL_COMPRESS_PARSE_INPUT;
    }

    *ret = ranges;
    return CXL_COMPRESS_PARSE_OK;
}

CXLCompressParse cxl_compress_parse_trim(const uint8_t *in, size_t len,
                                         uint64_t capacity, uint64_t max_total,
                                         CXLCompressRanges *ret)
{
    if (len < TRIM_HEADER) {
        return CXL_COMPRESS_PARSE_LENGTH;
    }
    if (ldl_le_p(in + 4)) {
        return CXL_COMPRESS_PARSE_INPUT;
    }
    return parse_ranges(in + TRIM_HEADER, len - TRIM_HEADER, ldl_le_p(in),
                        capacity, max_total, ret);
}

CXLCompressParse cxl_compress_parse_media(const uint8_t *in, size_t len,
                                          uint64_t capacity,
                                          uint64_t max_total,
                                          CXLCompressMediaRequest *ret)
{
    CXLCompressParse rc;
    uint32_t count;

    if (len < MEDIA_HEADER) {
        return CXL_COMPRESS_PARSE_LENGTH;
    }
    count = ldl_le_p(in + 4);

    switch (in[0]) {
    case MEDIA_CLASS_GENERAL:
        if (in[1] != MEDIA_GENERAL_DISCOVERY) {
            return CXL_COMPRESS_PARSE_UNSUPPORTED;
        }
        if (len != MEDIA_HEADER + 4) {
            return CXL_COMPRESS_PARSE_LENGTH;
        }
        if (count || lduw_le_p(in + 8) >= ARRAY_SIZE(media_ops)) {
            return CXL_COMPRESS_PARSE_INPUT;
        }
        ret->op = CXL_COMPRESS_MEDIA_DISCOVER;
        ret->start_index = lduw_le_p(in + 8);
        ret->max_ops = lduw_le_p(in + 10);
        return CXL_COMPRESS_PARSE_OK;
    case MEDIA_CLASS_SANITIZE:
        if (in[1] != MEDIA_SANITIZE_SANITIZE && in[1] != MEDIA_SANITIZE_ZERO) {
            return CXL_COMPRESS_PARSE_UNSUPPORTED;
        }
        rc = parse_ranges(in + MEDIA_HEADER, len - MEDIA_HEADER, count,
                          capacity, max_total, &ret->ranges);
        if (rc == CXL_COMPRESS_PARSE_OK) {
            ret->op = in[1] == MEDIA_SANITIZE_ZERO ?
                      CXL_COMPRESS_MEDIA_ZERO : CXL_COMPRESS_MEDIA_SANITIZE;
        }
        return rc;
    default:
        return CXL_COMPRESS_PARSE_UNSUPPORTED;
    }
}

size_t cxl_compress_pack_media_ops(const CXLCompressMediaRequest *req,
                                   uint8_t *out)
{
    size_t nr = MIN(req->max_ops, ARRAY_SIZE(media_ops) - req->start_index);

    stq_le_p(out, CXL_COMPRESS_PAGE_SIZE);
    stw_le_p(out + 8, ARRAY_SIZE(media_ops));
    stw_le_p(out + 10, nr);
    for (size_t i = 0; i < nr; i++) {
        memcpy(out + 12 + 2 * i, media_ops[req->start_index + i], 2);
    }
    return 12 + 2 * nr;
}

CXLCompressParse cxl_compress_parse_watermarks(const uint8_t *in, size_t len,
                                               uint64_t usable,
                                               CXLCompressWatermarks *ret)
{
    uint64_t low, high;

    if (len != WATERMARKS_SIZE) {
        return CXL_COMPRESS_PARSE_LENGTH;
    }
    low = ldq_le_p(in);
    high = ldq_le_p(in + 8);
    if (low > high || high > usable) {
        return CXL_COMPRESS_PARSE_INPUT;
    }
    ret->low = low;
    ret->high = high;
    return CXL_COMPRESS_PARSE_OK;
}

size_t cxl_compress_pack_watermarks(const CXLCompressWatermarks *wm,
                                    uint8_t *out)
{
    stq_le_p(out, wm->low);
    stq_le_p(out + 8, wm->high);
    return WATERMARKS_SIZE;
}

CXLCompressParse cxl_compress_parse_range(const uint8_t *in, size_t len,
                                          uint64_t capacity,
                                          CXLCompressRange *ret)
{
    if (len != RANGE_SIZE) {
        return CXL_COMPRESS_PARSE_LENGTH;
    }
    return parse_range(in, capacity, ret);
}

void cxl_compress_pack_usage(const CXLCompressUsage *usage, uint8_t *out)
{
    stq_le_p(out, usage->stored_bytes);
    stq_le_p(out + 8, usage->stored_pages);
    stq_le_p(out + 16, usage->lost_pages);
    stq_le_p(out + 24, usage->unsettled_pages);
}

void cxl_compress_pack_report(const CXLCompressReport *r, uint8_t *out)
{
    memset(out, 0, CXL_COMPRESS_REPORT_SIZE);
    stw_le_p(out + 0x00, CXL_COMPRESS_REPORT_VERSION);
    stw_le_p(out + 0x02, CXL_COMPRESS_REPORT_SIZE);
    stl_le_p(out + 0x04, r->flags);
    stq_le_p(out + 0x08, r->generation);
    stq_le_p(out + 0x10, r->logical_bytes);
    stq_le_p(out + 0x18, r->physical_bytes);
    stq_le_p(out + 0x20, r->metadata_bytes);
    stq_le_p(out + 0x28, r->usable_bytes);
    stq_le_p(out + 0x30, r->stored_bytes);
    stq_le_p(out + 0x38, r->unsettled_bytes);
    stl_le_p(out + 0x40, r->worst_page_bytes);
    stl_le_p(out + 0x44, r->unit_bytes);
    stq_le_p(out + 0x48, r->reporting_lag_bytes);
    stq_le_p(out + 0x50, r->reservation_step_bytes);
    stq_le_p(out + 0x58, r->peak_exposure);
    stq_le_p(out + 0x60, r->over_capacity_pages);
    stq_le_p(out + CXL_COMPRESS_REPORT_TARGET, r->target_physical_bytes);
    stq_le_p(out + 0x70, r->low_watermark);
    stq_le_p(out + 0x78, r->high_watermark);
    stq_le_p(out + 0x80, r->max_trim_bytes);
    stq_le_p(out + 0x88, r->peak_excess);
    for (int i = 0; i < CXL_COMPRESS_BUCKETS; i++) {
        stq_le_p(out + 0x90 + 8 * i, r->histogram[i]);
    }
    out[0xd8] = r->algorithm;
    stq_le_p(out + 0xe0, r->excused_pages);
    stq_le_p(out + 0xe8, r->tag);
}
