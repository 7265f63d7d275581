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

enum {
    SANITIZE = 0x44,
        #define MEDIA_OPERATIONS    0x2
    /* Vendor command set */
    COMPRESS = 0xc0,
        #define GET_CAPACITY        0x0
        #define GET_WATERMARKS      0x1
        #define SET_WATERMARKS      0x2
        #define TRIM                0x3
        #define GET_RANGE_USAGE     0x4
};

#define OPCODE(set, cmd) ((set) << 8 | (cmd))

const QemuUUID cxl_compress_log_uuid = {
    .data = UUID(0xb3702a51, 0x2082, 0x4805, 0xaa, 0x6a,
                 0xd2, 0xde, 0xe4, 0x0e, 0x78, 0x95),
};

/* A command whose answer comes from the card's thread */
typedef struct MailboxCommand {
    CXLCompressRequest req;
    uint64_t seq;
    /* Part of the report wanted */
    uint32_t offset;
    uint32_t length;
} MailboxCommand;

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

static void command_done(CXLCompress *c, CXLCompressRequest *req,
                         uint64_t unsettled, bool canceled)
{
    MailboxCommand *mc = container_of(req, MailboxCommand, req);
    uint8_t usage[CXL_COMPRESS_USAGE_SIZE];
    const void *payload = NULL;
    size_t len = 0;

    if (!canceled) {
        switch (req->op) {
        case CXL_COMPRESS_OP_SETTLE:
            make_report(c, unsettled);
            payload = c->last_report + mc->offset;
            len = mc->length;
            break;
        case CXL_COMPRESS_OP_USAGE:
            req->usage.unsettled_pages = unsettled;
            cxl_compress_pack_usage(&req->usage, usage);
            payload = usage;
            len = sizeof(usage);
            break;
        case CXL_COMPRESS_OP_TRIM:
            break;
        }
        /* After a reset nobody waits for the answer any more */
        if (mc->seq == c->mbox_seq) {
            cxl_mailbox_complete(&c->ct3d->cxl_dstate, CXL_MBOX_SUCCESS,
                                 payload, len);
        }
    }
    g_free(req->ranges);
    g_free(mc);
}

static MailboxCommand *new_command(CXLCompress *c, CXLCompressOp op)
{
    MailboxCommand *mc = g_new0(MailboxCommand, 1);

    mc->req.op = op;
    mc->req.done = command_done;
    mc->req.from_mailbox = true;
    mc->seq = c->mbox_seq;
    return mc;
}

/* The answer comes from the thread, after the delay if @fault is switched on */
static CXLRetCode submit(CXLCompress *c, MailboxCommand *mc,
                         CxlCompressionFault fault)
{
    if (cxl_compress_fault(c, fault)) {
        mc->req.not_before = qemu_clock_get_ns(QEMU_CLOCK_REALTIME) +
                             (int64_t)c->fault_delay_ms[fault] * SCALE_MS;
    }
    cxl_compress_submit(c, &mc->req);
    return CXL_MBOX_DEFERRED;
}

static CXLRetCode submit_report(CXLCompress *c, uint32_t offset,
                                uint32_t length)
{
    MailboxCommand *mc;

    if (cxl_compress_fault(c, CXL_COMPRESSION_FAULT_REPORTS_FAIL)) {
        return CXL_MBOX_INTERNAL_ERROR;
    }
    mc = new_command(c, CXL_COMPRESS_OP_SETTLE);
    mc->offset = offset;
    mc->length = length;
    mc->req.held = cxl_compress_fault(c, CXL_COMPRESSION_FAULT_REPORTS_STOP);
    return submit(c, mc, CXL_COMPRESSION_FAULT_REPORTS_SLOW);
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
    mc = new_command(c, CXL_COMPRESS_OP_TRIM);
    mc->req.ranges = g_memdup2(ranges, sizeof(*ranges));
    return submit(c, mc, CXL_COMPRESSION_FAULT_TRIM_LATE);
}

static CXLRetCode submit_usage(CXLCompress *c, const CXLCompressRange *range)
{
    MailboxCommand *mc = new_command(c, CXL_COMPRESS_OP_USAGE);

    mc->req.range = *range;
    cxl_compress_submit(c, &mc->req);
    return CXL_MBOX_DEFERRED;
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

/* All commands: what differs is what the payload means and who answers */
static CXLRetCode cmd_compress(const struct cxl_cmd *cmd,
                               uint8_t *payload_in, size_t len_in,
                               uint8_t *payload_out, size_t *len_out,
                               CXLCCI *cci)
{
    CXLCompress *c = CXL_TYPE3(cci->d)->compress;
    uint64_t capacity = memory_region_size(c->mr);
    CXLCompressMediaRequest media;
    CXLCompressRanges ranges;
    CXLCompressRange range;
    int rc;

    /* The table of commands is indexed by opcode */
    switch (cmd - cci->cxl_cmd_set[0]) {
    case OPCODE(COMPRESS, GET_CAPACITY):
        return submit_report(c, 0, CXL_COMPRESS_REPORT_SIZE);

    case OPCODE(COMPRESS, GET_WATERMARKS):
        *len_out = cxl_compress_pack_watermarks(&c->watermarks, payload_out);
        return CXL_MBOX_SUCCESS;

    case OPCODE(COMPRESS, SET_WATERMARKS):
        rc = cxl_compress_parse_watermarks(payload_in, len_in,
                                           cxl_compress_usable(c),
                                           &c->watermarks);
        if (rc == CXL_MBOX_SUCCESS) {
            cxl_compress_check_watermarks(c);
        }
        return rc;

    case OPCODE(COMPRESS, TRIM):
        rc = cxl_compress_parse_trim(payload_in, len_in, capacity,
                                     CXL_COMPRESS_MAX_TRIM, &ranges);
        return rc == CXL_MBOX_SUCCESS ? submit_trim(c, &ranges) : rc;

    case OPCODE(COMPRESS, GET_RANGE_USAGE):
        rc = cxl_compress_parse_range(payload_in, len_in, capacity, &range);
        return rc == CXL_MBOX_SUCCESS ? submit_usage(c, &range) : rc;

    /* CXL r3.2 section 8.2.10.9.5.3 */
    case OPCODE(SANITIZE, MEDIA_OPERATIONS):
        rc = cxl_compress_parse_media(payload_in, len_in, capacity,
                                      CXL_COMPRESS_MAX_TRIM, &media);
        if (rc != CXL_MBOX_SUCCESS) {
            return rc;
        }
        if (media.op == CXL_COMPRESS_MEDIA_DISCOVER) {
            *len_out = cxl_compress_pack_media_ops(&media, payload_out);
            return CXL_MBOX_SUCCESS;
        }
        /* Released memory holds nothing, and reads as zero: both at once */
        return submit_trim(c, &media.ranges);
    }
    g_assert_not_reached();
}

static const struct cxl_cmd compress_cmd_set[256][256] = {
    [SANITIZE][MEDIA_OPERATIONS] = { "MEDIA_OPERATIONS", cmd_compress,
        ~0, CXL_MBOX_IMMEDIATE_DATA_CHANGE },
    [COMPRESS][GET_CAPACITY] = { "COMPRESS_GET_CAPACITY", cmd_compress,
        0, 0 },
    [COMPRESS][GET_WATERMARKS] = { "COMPRESS_GET_WATERMARKS", cmd_compress,
        0, 0 },
    [COMPRESS][SET_WATERMARKS] = { "COMPRESS_SET_WATERMARKS", cmd_compress,
        ~0, CXL_MBOX_IMMEDIATE_CONFIG_CHANGE },
    [COMPRESS][TRIM] = { "COMPRESS_TRIM", cmd_compress,
        ~0, CXL_MBOX_IMMEDIATE_DATA_CHANGE },
    [COMPRESS][GET_RANGE_USAGE] = { "COMPRESS_GET_RANGE_USAGE", cmd_compress,
        ~0, 0 },
};

void cxl_compress_add_commands(CXLCompress *c)
{
    /* What payloads are refused for is what the guest is told */
    QEMU_BUILD_BUG_ON((int)CXL_COMPRESS_PARSE_OK != CXL_MBOX_SUCCESS);
    QEMU_BUILD_BUG_ON((int)CXL_COMPRESS_PARSE_INPUT != CXL_MBOX_INVALID_INPUT);
    QEMU_BUILD_BUG_ON((int)CXL_COMPRESS_PARSE_UNSUPPORTED !=
                      CXL_MBOX_UNSUPPORTED);
    QEMU_BUILD_BUG_ON((int)CXL_COMPRESS_PARSE_ADDRESS != CXL_MBOX_INVALID_PA);
    QEMU_BUILD_BUG_ON((int)CXL_COMPRESS_PARSE_LENGTH !=
                      CXL_MBOX_INVALID_PAYLOAD_LENGTH);

    cxl_add_cci_commands(&c->ct3d->cci, compress_cmd_set,
                         CXL_MAILBOX_MAX_PAYLOAD_SIZE);
}
