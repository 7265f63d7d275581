/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Payloads of the compressed card's mailbox commands: what the bytes mean
 * and which of them are acceptable. Pure functions of the bytes: no device,
 * no state, so that they can be fuzzed on their own.
 *
 * All lengths and addresses are in bytes, all wire integers little endian.
 *
 * Copyright (c) 2026 The cram authors
 */

#ifndef CXL_COMPRESS_PAYLOAD_H
#define CXL_COMPRESS_PAYLOAD_H

#define CXL_COMPRESS_PAGE_SIZE 4096u

/* Stored-size histogram: nothing, then eight steps of 512 bytes */
#define CXL_COMPRESS_BUCKETS 9

#define CXL_COMPRESS_REPORT_VERSION 1
#define CXL_COMPRESS_REPORT_SIZE 256
/* Where it says what the card is about to shrink to */
#define CXL_COMPRESS_REPORT_TARGET 0x68

#define CXL_COMPRESS_REPORT_BELOW_LOW     (1u << 0)
#define CXL_COMPRESS_REPORT_WORST_CASE    (1u << 1)
#define CXL_COMPRESS_REPORT_SHRINKING     (1u << 2)

/* Most ranges one Trim or Media Operations command carries in 2 KiB */
#define CXL_COMPRESS_MAX_RANGES 127

/* The values are the return codes of the CXL specification */
typedef enum CXLCompressParse {
    CXL_COMPRESS_PARSE_OK = 0x00,
    CXL_COMPRESS_PARSE_INPUT = 0x02,       /* a field has no meaning */
    CXL_COMPRESS_PARSE_UNSUPPORTED = 0x03, /* a known field, an unknown op */
    CXL_COMPRESS_PARSE_ADDRESS = 0x0f,     /* a range leaves the card */
    CXL_COMPRESS_PARSE_LENGTH = 0x16,      /* payload too short, too long */
} CXLCompressParse;

typedef struct CXLCompressRange {
    uint64_t dpa;
    uint64_t len;
} CXLCompressRange;

typedef struct CXLCompressRanges {
    CXLCompressRange range[CXL_COMPRESS_MAX_RANGES];
    uint32_t nr;
    uint64_t total;
} CXLCompressRanges;

typedef struct CXLCompressWatermarks {
    uint64_t low;
    uint64_t high;
} CXLCompressWatermarks;

typedef enum CXLCompressMediaOp {
    CXL_COMPRESS_MEDIA_DISCOVER,
    CXL_COMPRESS_MEDIA_SANITIZE,
    CXL_COMPRESS_MEDIA_ZERO,
} CXLCompressMediaOp;

typedef struct CXLCompressMediaRequest {
    CXLCompressMediaOp op;
    /* MEDIA_DISCOVER */
    uint16_t start_index;
    uint16_t max_ops;
    /* the others */
    CXLCompressRanges ranges;
} CXLCompressMediaRequest;

/* What a capacity report says; see docs for the meaning of each field */
typedef struct CXLCompressReport {
    uint32_t flags;
    uint64_t generation;
    uint64_t logical_bytes;
    uint64_t physical_bytes;
    uint64_t metadata_bytes;
    uint64_t usable_bytes;
    uint64_t stored_bytes;
    uint64_t unsettled_bytes;
    uint32_t worst_page_bytes;
    uint32_t unit_bytes;
    uint64_t reporting_lag_bytes;
    uint64_t reservation_step_bytes;
    uint64_t peak_exposure;
    uint64_t over_capacity_pages;
    uint64_t target_physical_bytes;
    uint64_t low_watermark;
    uint64_t high_watermark;
    uint64_t max_trim_bytes;
    uint64_t peak_excess;
    uint64_t histogram[CXL_COMPRESS_BUCKETS];
    uint8_t algorithm;
    uint64_t excused_pages;
    uint64_t tag;
} CXLCompressReport;

typedef struct CXLCompressUsage {
    uint64_t stored_bytes;
    uint64_t stored_pages;
    uint64_t lost_pages;
    uint64_t unsettled_pages;
} CXLCompressUsage;
#define CXL_COMPRESS_USAGE_SIZE 32

/*
 * Trim: u32 count, u32 zero, then @count ranges. @capacity is the card's
 * logical size, @max_total the most a command may cover. *@ret is written
 * only on CXL_COMPRESS_PARSE_OK; so are the results of all functions below.
 */
CXLCompressParse cxl_compress_parse_trim(const uint8_t *in, size_t len,
                                         uint64_t capacity, uint64_t max_total,
                                         CXLCompressRanges *ret);

/* Media Operations, CXL r3.2 section 8.2.10.9.5.3 */
CXLCompressParse cxl_compress_parse_media(const uint8_t *in, size_t len,
                                          uint64_t capacity,
                                          uint64_t max_total,
                                          CXLCompressMediaRequest *ret);

/* Discovery output of Media Operations; returns its length, <= 20 */
size_t cxl_compress_pack_media_ops(const CXLCompressMediaRequest *req,
                                   uint8_t *out);

/* Set Watermarks: u64 low, u64 high, free bytes, low <= high <= @usable */
CXLCompressParse cxl_compress_parse_watermarks(const uint8_t *in, size_t len,
                                               uint64_t usable,
                                               CXLCompressWatermarks *ret);
/* Returns the length of the output */
size_t cxl_compress_pack_watermarks(const CXLCompressWatermarks *wm,
                                    uint8_t *out);

/* Get Range Usage: u64 DPA, u64 length */
CXLCompressParse cxl_compress_parse_range(const uint8_t *in, size_t len,
                                          uint64_t capacity,
                                          CXLCompressRange *ret);
void cxl_compress_pack_usage(const CXLCompressUsage *usage, uint8_t *out);

/* Writes CXL_COMPRESS_REPORT_SIZE bytes */
void cxl_compress_pack_report(const CXLCompressReport *report, uint8_t *out);

#endif
