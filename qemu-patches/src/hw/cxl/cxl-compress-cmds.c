/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A CXL type 3 device that compresses: its mailbox commands
 *
 * Commands that need the account to be exact, or memory released, become
 * requests to the card's thread; the doorbell stays set until it is done.
 *
 * Copyright (c) 2026 The cram authors
 */

#include "qemu/osdep.h"
#include "qemu/bitops.h"
#include "qemu/bswap.h"
#include "qemu/timer.h"
#include "qemu/units.h"
#include "exec/memory.h"
#include "hw/cxl/cxl_mailbox.h"
#include "cxl-compress-internal.h"

/* Vendor command set */
enum {
    SANITIZE = 0x44,
        #define MEDIA_OPERATIONS    0x2
    COMPRESS = 0xc0,
        #define GET_CAPACITY        0x0
        #define GET_WATERMARKS      0x1
        #define SET_WATERMARKS      0x2
        #define TRIM                0x3
        #define GET_RANGE_USAGE     0x4
};

const QemuUUID cxl_compress_log_uuid = {
    .data = UUID(0xb3702a51, 0x2082, 0x4805, 0xaa, 0x6a,
                 0xd2, 0xde, 0xe4, 0x0e, 0x78, 0x95),
};

/* A command whose answer comes from the card's thread */
typedef struct MailboxCommand {
    CXLCompressRequest req;
    uint64_t seq;
    /* Part of the report wanted, or range asked about */
    uint32_t offset;
    uint32_t length;
    CXLCompressRange range;
} MailboxCommand;

static CXLRetCode parse_to_rc(CXLCompressParse parse)
{
    switch (parse) {
    case CXL_COMPRESS_PARSE_OK:
        return CXL_MBOX_SUCCESS;
    case CXL_COMPRESS_PARSE_LENGTH:
        return CXL_MBOX_INVALID_PAYLOAD_LENGTH;
    case CXL_COMPRESS_PARSE_ADDRESS:
        return CXL_MBOX_INVALID_PA;
    case CXL_COMPRESS_PARSE_UNSUPPORTED:
        return CXL_MBOX_UNSUPPORTED;
    case CXL_COMPRESS_PARSE_INPUT:
        return CXL_MBOX_INVALID_INPUT;
    }
    g_assert_not_reached();
}

static CXLCompress *cci_to_compress(CXLCCI *cci)
{
    return CXL_TYPE3(cci->d)->compress;
}

static MailboxCommand *new_command(CXLCompress *c, CXLCompressOp op,
                                   void (*done)(CXLCompress *c,
                                                CXLCompressRequest *req,
                                                uint64_t unsettled,
                                                bool canceled))
{
    MailboxCommand *mc = g_new0(MailboxCommand, 1);

    mc->req.op = op;
    mc->req.done = done;
    mc->req.from_mailbox = true;
    mc->seq = c->mbox_seq;
    return mc;
}

static void delay_command(CXLCompress *c, MailboxCommand *mc,
                          CxlCompressionFault fault)
{
    if (cxl_compress_fault(c, fault)) {
        mc->req.not_before = qemu_clock_get_ns(QEMU_CLOCK_REALTIME) +
                             (int64_t)c->fault_delay_ms[fault] * SCALE_MS;
    }
}

static void finish_command(CXLCompress *c, MailboxCommand *mc, bool canceled,
                           CXLRetCode rc, const void *payload, size_t len)
{
    /* After a reset nobody waits for the answer any more */
    if (!canceled && mc->seq == c->mbox_seq) {
        cxl_mailbox_complete(&c->ct3d->cxl_dstate, rc, payload, len);
    }
    g_free(mc->req.ranges);
    g_free(mc);
}

/* Pack a new report into @out; what it says is the truth */
static void pack_new_report(CXLCompress *c, uint64_t unsettled, uint8_t *out)
{
    CXLCompressReport report;

    c->generation++;
    cxl_compress_fill_report(c, unsettled, &report);
    cxl_compress_pack_report(&report, out);
}

/* Leave in @last_report what the host gets to see */
static void make_report(CXLCompress *c, uint64_t unsettled)
{
    if (cxl_compress_fault(c, CXL_COMPRESSION_FAULT_GENERATION_STALE) &&
        c->have_last_report) {
        return;
    }
    if (cxl_compress_fault(c, CXL_COMPRESSION_FAULT_GENERATION_REORDERED)) {
        if (c->have_older_report) {
            memcpy(c->last_report, c->older_report, sizeof(c->last_report));
            c->have_older_report = false;
            return;
        }
        pack_new_report(c, unsettled, c->older_report);
        c->have_older_report = true;
    }
    pack_new_report(c, unsettled, c->last_report);
    c->have_last_report = true;
}

static void report_done(CXLCompress *c, CXLCompressRequest *req,
                        uint64_t unsettled, bool canceled)
{
    MailboxCommand *mc = container_of(req, MailboxCommand, req);

    if (!canceled) {
        make_report(c, unsettled);
    }
    finish_command(c, mc, canceled, CXL_MBOX_SUCCESS,
                   c->last_report + mc->offset, mc->length);
}

static CXLRetCode submit_report(CXLCompress *c, uint32_t offset,
                                uint32_t length)
{
    MailboxCommand *mc;

    if (cxl_compress_fault(c, CXL_COMPRESSION_FAULT_REPORTS_FAIL)) {
        return CXL_MBOX_INTERNAL_ERROR;
    }
    mc = new_command(c, CXL_COMPRESS_OP_SETTLE, report_done);
    mc->offset = offset;
    mc->length = length;
    mc->req.held = cxl_compress_fault(c, CXL_COMPRESSION_FAULT_REPORTS_STOP);
    delay_command(c, mc, CXL_COMPRESSION_FAULT_REPORTS_SLOW);
    cxl_compress_submit(c, &mc->req);
    return CXL_MBOX_DEFERRED;
}

static CXLRetCode cmd_get_capacity(const struct cxl_cmd *cmd,
                                   uint8_t *payload_in, size_t len_in,
                                   uint8_t *payload_out, size_t *len_out,
                                   CXLCCI *cci)
{
    return submit_report(cci_to_compress(cci), 0, CXL_COMPRESS_REPORT_SIZE);
}

CXLRetCode cxl_compress_get_log(CXLType3Dev *ct3d, uint32_t offset,
                                uint32_t length, uint8_t *payload_out,
                                size_t *len_out)
{
    CXLCompress *c = ct3d->compress;

    if ((uint64_t)offset + length > CXL_COMPRESS_REPORT_SIZE) {
        return CXL_MBOX_INVALID_INPUT;
    }
    if (!offset) {
        return submit_report(c, 0, length);
    }
    /* The rest of a report the host has read the beginning of */
    if (!c->have_last_report) {
        return CXL_MBOX_INVALID_INPUT;
    }
    memcpy(payload_out, c->last_report + offset, length);
    *len_out = length;
    return CXL_MBOX_SUCCESS;
}

static CXLRetCode cmd_get_watermarks(const struct cxl_cmd *cmd,
                                     uint8_t *payload_in, size_t len_in,
                                     uint8_t *payload_out, size_t *len_out,
                                     CXLCCI *cci)
{
    CXLCompress *c = cci_to_compress(cci);

    cxl_compress_pack_watermarks(&c->watermarks, payload_out);
    *len_out = 16;
    return CXL_MBOX_SUCCESS;
}

static CXLRetCode cmd_set_watermarks(const struct cxl_cmd *cmd,
                                     uint8_t *payload_in, size_t len_in,
                                     uint8_t *payload_out, size_t *len_out,
                                     CXLCCI *cci)
{
    CXLCompress *c = cci_to_compress(cci);
    CXLCompressParse rc;

    rc = cxl_compress_parse_watermarks(payload_in, len_in,
                                       cxl_compress_usable(c), &c->watermarks);
    if (rc == CXL_COMPRESS_PARSE_OK) {
        cxl_compress_check_watermarks(c);
    }
    return parse_to_rc(rc);
}

static void trim_done(CXLCompress *c, CXLCompressRequest *req,
                      uint64_t unsettled, bool canceled)
{
    finish_command(c, container_of(req, MailboxCommand, req), canceled,
                   CXL_MBOX_SUCCESS, NULL, 0);
}

static CXLRetCode submit_trim(CXLCompress *c, const CXLCompressRanges *ranges)
{
    MailboxCommand *mc;

    if (cxl_dev_media_disabled(&c->ct3d->cxl_dstate)) {
        return CXL_MBOX_MEDIA_DISABLED;
    }
    if (cxl_compress_fault(c, CXL_COMPRESSION_FAULT_TRIM_REFUSED)) {
        return CXL_MBOX_INTERNAL_ERROR;
    }
    /* Nothing to do is how a host asks whether the command exists */
    if (!ranges->nr) {
        return CXL_MBOX_SUCCESS;
    }
    mc = new_command(c, CXL_COMPRESS_OP_TRIM, trim_done);
    mc->req.ranges = g_memdup2(ranges, sizeof(*ranges));
    delay_command(c, mc, CXL_COMPRESSION_FAULT_TRIM_LATE);
    cxl_compress_submit(c, &mc->req);
    return CXL_MBOX_DEFERRED;
}

static CXLRetCode cmd_trim(const struct cxl_cmd *cmd,
                           uint8_t *payload_in, size_t len_in,
                           uint8_t *payload_out, size_t *len_out,
                           CXLCCI *cci)
{
    CXLCompress *c = cci_to_compress(cci);
    CXLCompressRanges ranges;
    CXLCompressParse rc;

    rc = cxl_compress_parse_trim(payload_in, len_in, memory_region_size(c->mr),
                                 CXL_COMPRESS_MAX_TRIM, &ranges);
    if (rc != CXL_COMPRESS_PARSE_OK) {
        return parse_to_rc(rc);
    }
    return submit_trim(c, &ranges);
}

/* CXL r3.2 section 8.2.10.9.5.3: Media Operations (Opcode 4402h) */
static CXLRetCode cmd_media_operations(const struct cxl_cmd *cmd,
                                       uint8_t *payload_in, size_t len_in,
                                       uint8_t *payload_out, size_t *len_out,
                                       CXLCCI *cci)
{
    CXLCompress *c = cci_to_compress(cci);
    CXLCompressMediaRequest media;
    CXLCompressParse rc;

    rc = cxl_compress_parse_media(payload_in, len_in,
                                  memory_region_size(c->mr),
                                  CXL_COMPRESS_MAX_TRIM, &media);
    if (rc != CXL_COMPRESS_PARSE_OK) {
        return parse_to_rc(rc);
    }
    if (media.op == CXL_COMPRESS_MEDIA_DISCOVER) {
        *len_out = cxl_compress_pack_media_ops(&media, payload_out);
        return CXL_MBOX_SUCCESS;
    }
    /* Released memory holds nothing, and reads as zero: both at once */
    return submit_trim(c, &media.ranges);
}

static void usage_done(CXLCompress *c, CXLCompressRequest *req,
                       uint64_t unsettled, bool canceled)
{
    MailboxCommand *mc = container_of(req, MailboxCommand, req);
    uint64_t first = mc->range.dpa / CXL_COMPRESS_PAGE_SIZE;
    uint64_t end = first + mc->range.len / CXL_COMPRESS_PAGE_SIZE;
    CXLCompressUsage usage = { .unsettled_pages = unsettled };
    uint8_t out[CXL_COMPRESS_USAGE_SIZE];

    for (uint64_t page = first; !canceled && page < end; page++) {
        usage.stored_bytes += c->page_bytes[page];
        usage.stored_pages += !!c->page_bytes[page];
        usage.lost_pages += test_bit(page, c->lost);
    }
    cxl_compress_pack_usage(&usage, out);
    finish_command(c, mc, canceled, CXL_MBOX_SUCCESS, out, sizeof(out));
}

static CXLRetCode cmd_get_range_usage(const struct cxl_cmd *cmd,
                                      uint8_t *payload_in, size_t len_in,
                                      uint8_t *payload_out, size_t *len_out,
                                      CXLCCI *cci)
{
    CXLCompress *c = cci_to_compress(cci);
    CXLCompressRange range;
    CXLCompressParse rc;
    MailboxCommand *mc;

    rc = cxl_compress_parse_range(payload_in, len_in,
                                  memory_region_size(c->mr), &range);
    if (rc != CXL_COMPRESS_PARSE_OK) {
        return parse_to_rc(rc);
    }
    mc = new_command(c, CXL_COMPRESS_OP_SETTLE, usage_done);
    mc->range = range;
    cxl_compress_submit(c, &mc->req);
    return CXL_MBOX_DEFERRED;
}

static const struct cxl_cmd compress_cmd_set[256][256] = {
    [SANITIZE][MEDIA_OPERATIONS] = { "MEDIA_OPERATIONS", cmd_media_operations,
        ~0, CXL_MBOX_IMMEDIATE_DATA_CHANGE },
    [COMPRESS][GET_CAPACITY] = { "COMPRESS_GET_CAPACITY", cmd_get_capacity,
        0, 0 },
    [COMPRESS][GET_WATERMARKS] = { "COMPRESS_GET_WATERMARKS",
        cmd_get_watermarks, 0, 0 },
    [COMPRESS][SET_WATERMARKS] = { "COMPRESS_SET_WATERMARKS",
        cmd_set_watermarks, ~0, CXL_MBOX_IMMEDIATE_CONFIG_CHANGE },
    [COMPRESS][TRIM] = { "COMPRESS_TRIM", cmd_trim,
        ~0, CXL_MBOX_IMMEDIATE_DATA_CHANGE },
    [COMPRESS][GET_RANGE_USAGE] = { "COMPRESS_GET_RANGE_USAGE",
        cmd_get_range_usage, ~0, 0 },
};

void cxl_compress_add_commands(CXLCompress *c)
{
    cxl_add_cci_commands(&c->ct3d->cci, compress_cmd_set,
                         CXL_MAILBOX_MAX_PAYLOAD_SIZE);
}
