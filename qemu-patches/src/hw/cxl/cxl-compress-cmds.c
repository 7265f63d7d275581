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

const QemuUUID cxl_compress_log_uuid = {
    .data = UUID(0xb3702a51, 0x2082, 0x4805, 0xaa, 0x6a,
                 0xd2, 0xde, 0xe4, 0x0e, 0x78, 0x95),
};

/* A command whose answer comes from the card's thread */
typedef struct MailboxCommand {
    CXLCompressRequest req;
    uint64_t seq;
    /* How much of the report is wanted */
    uint32_t length;
} MailboxCommand;

/* Pack a new report into @out; what it says is the truth, as far as it goes */
static void cxl_compress_pack_new_report(CXLCompress *c, uint64_t unsettled,
                                         uint8_t *out)
{
    CXLCompressReport report;

    c->generation++;
    cxl_compress_fill_report(c, unsettled, &report);
    /* The card does not know yet of what came last, whenever that was */
    report.stored_bytes -= MIN(report.stored_bytes, c->lag);
    if (cxl_compress_fault(c, CXL_COMPRESSION_FAULT_REPORT_OVERFULL)) {
        report.stored_bytes = report.physical_bytes + 1;
    }
    if (cxl_compress_fault(c, CXL_COMPRESSION_FAULT_REPORT_WORST_ZERO)) {
        report.worst_page_bytes = 0;
    }
    cxl_compress_pack_report(&report, out);
    if (cxl_compress_fault(c, CXL_COMPRESSION_FAULT_REPORT_VERSION)) {
        stw_le_p(out, CXL_COMPRESS_REPORT_VERSION + 1);
    }
    if (cxl_compress_fault(c, CXL_COMPRESSION_FAULT_REPORT_ALL_ONES)) {
        memset(out, 0xff, CXL_COMPRESS_REPORT_SIZE);
    }
}

/* Leave in @last_report what the host gets to see */
static void cxl_compress_make_report(CXLCompress *c, uint64_t unsettled)
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
        cxl_compress_pack_new_report(c, unsettled, c->older_report);
        c->have_older_report = true;
    }
    cxl_compress_pack_new_report(c, unsettled, c->last_report);
    c->have_last_report = true;
}

/* After a reset nobody waits for the answer any more */
static void cxl_compress_answer(CXLCompress *c, MailboxCommand *mc,
                                const void *payload, size_t len)
{
    if (mc->seq == c->mbox_seq) {
        cxl_mailbox_complete(&c->ct3d->cxl_dstate, mc->req.rc, payload, len);
    }
}

static void cxl_compress_report_done(CXLCompress *c, CXLCompressRequest *req,
                                     bool canceled)
{
    MailboxCommand *mc = container_of(req, MailboxCommand, req);

    if (!canceled) {
        cxl_compress_make_report(c, req->unsettled);
        cxl_compress_answer(c, mc, c->last_report, mc->length);
    }
    g_free(mc);
}

static void cxl_compress_usage_done(CXLCompress *c, CXLCompressRequest *req,
                                    bool canceled)
{
    MailboxCommand *mc = container_of(req, MailboxCommand, req);
    uint8_t usage[CXL_COMPRESS_USAGE_SIZE];

    if (!canceled) {
        cxl_compress_pack_usage(&req->usage, usage);
        cxl_compress_answer(c, mc, usage, sizeof(usage));
    }
    g_free(mc);
}

static void cxl_compress_trim_done(CXLCompress *c, CXLCompressRequest *req,
                                   bool canceled)
{
    MailboxCommand *mc = container_of(req, MailboxCommand, req);

    if (!canceled) {
        cxl_compress_answer(c, mc, NULL, 0);
    }
    g_free(req->ranges);
    g_free(mc);
}

static MailboxCommand *
cxl_compress_command(CXLCompress *c, const char *name,
                     void (*run)(CXLCompress *, CXLCompressRequest *),
                     void (*done)(CXLCompress *, CXLCompressRequest *, bool))
{
    MailboxCommand *mc = g_new0(MailboxCommand, 1);

    mc->req.name = name;
    mc->req.run = run;
    mc->req.done = done;
    mc->req.rc = CXL_MBOX_SUCCESS;
    mc->req.from_mailbox = true;
    mc->seq = c->mbox_seq;
    return mc;
}

/* The answer comes from the thread, after the delay if @fault is switched on */
static CXLRetCode cxl_compress_defer(CXLCompress *c, MailboxCommand *mc,
                                     CxlCompressionFault fault)
{
    if (cxl_compress_fault(c, fault)) {
        mc->req.not_before = qemu_clock_get_ns(QEMU_CLOCK_REALTIME) +
                             (int64_t)c->fault_delay_ms[fault] * SCALE_MS;
    }
    cxl_compress_submit(c, &mc->req);
    return CXL_MBOX_DEFERRED;
}

/* What a command may be refused with before it is looked at */
static CXLRetCode cxl_compress_refusal(CXLCompress *c)
{
    if (cxl_compress_fault(c, CXL_COMPRESSION_FAULT_MAILBOX_BUSY)) {
        return CXL_MBOX_BUSY;
    }
    if (cxl_compress_fault(c, CXL_COMPRESSION_FAULT_MAILBOX_RETRY)) {
        return CXL_MBOX_RETRY_REQUIRED;
    }
    return CXL_MBOX_SUCCESS;
}

static CXLRetCode cxl_compress_trim_refusal(CXLCompress *c)
{
    CXLRetCode rc = cxl_compress_refusal(c);

    if (rc == CXL_MBOX_SUCCESS &&
        cxl_compress_fault(c, CXL_COMPRESSION_FAULT_TRIM_UNSUPPORTED)) {
        return CXL_MBOX_UNSUPPORTED;
    }
    return rc;
}

static CXLRetCode cxl_compress_submit_report(CXLCompress *c, uint32_t length)
{
    MailboxCommand *mc;

    if (cxl_compress_fault(c, CXL_COMPRESSION_FAULT_REPORTS_FAIL)) {
        return CXL_MBOX_INTERNAL_ERROR;
    }
    mc = cxl_compress_command(c, "report", cxl_compress_run_report,
                              cxl_compress_report_done);
    mc->length = length;
    mc->req.held = cxl_compress_fault(c, CXL_COMPRESSION_FAULT_REPORTS_STOP);
    return cxl_compress_defer(c, mc, CXL_COMPRESSION_FAULT_REPORTS_SLOW);
}

/* Of each 2 MiB the page at 64 KiB is bad: it cannot be released */
static bool cxl_compress_has_bad_page(const CXLCompressRanges *ranges)
{
    for (uint32_t i = 0; i < ranges->nr; i++) {
        const CXLCompressRange *r = &ranges->range[i];
        uint64_t bad = QEMU_ALIGN_DOWN(r->dpa, 2 * MiB) + 64 * KiB;

        if (bad < r->dpa) {
            bad += 2 * MiB;
        }
        if (bad < r->dpa + r->len) {
            return true;
        }
    }
    return false;
}

static CXLRetCode cxl_compress_submit_trim(CXLCompress *c,
                                           const CXLCompressRanges *ranges)
{
    MailboxCommand *mc;

    if (cxl_dev_media_disabled(&c->ct3d->cxl_dstate)) {
        return CXL_MBOX_MEDIA_DISABLED;
    }
    if (cxl_compress_fault(c, CXL_COMPRESSION_FAULT_TRIM_REFUSED) ||
        (cxl_compress_fault(c, CXL_COMPRESSION_FAULT_TRIM_BAD_PAGE) &&
         cxl_compress_has_bad_page(ranges))) {
        return CXL_MBOX_INTERNAL_ERROR;
    }
    /* Nothing to do is how a host asks whether the command exists */
    if (!ranges->nr) {
        return CXL_MBOX_SUCCESS;
    }
    mc = cxl_compress_command(c, "trim", cxl_compress_run_trim,
                              cxl_compress_trim_done);
    mc->req.ranges = g_memdup2(ranges, sizeof(*ranges));
    return cxl_compress_defer(c, mc, CXL_COMPRESSION_FAULT_TRIM_LATE);
}

CXLRetCode cxl_compress_get_log(CXLType3Dev *ct3d, uint32_t offset,
                                uint32_t length)
{
    CXLCompress *c = ct3d->compress;
    CXLRetCode rc = cxl_compress_refusal(c);

    if (rc != CXL_MBOX_SUCCESS) {
        return rc;
    }
    /* Read in pieces it would be torn */
    if (offset || length > CXL_COMPRESS_REPORT_SIZE) {
        return CXL_MBOX_INVALID_INPUT;
    }
    return cxl_compress_submit_report(c, length);
}

static CXLRetCode cmd_compress_get_capacity(const struct cxl_cmd *cmd,
                                            uint8_t *payload_in,
                                            size_t len_in,
                                            uint8_t *payload_out,
                                            size_t *len_out,
                                            CXLCCI *cci)
{
    CXLCompress *c = CXL_TYPE3(cci->d)->compress;
    CXLRetCode rc = cxl_compress_refusal(c);

    if (rc != CXL_MBOX_SUCCESS) {
        return rc;
    }
    if (len_in && len_in != 8 && len_in != 16) {
        return CXL_MBOX_INVALID_PAYLOAD_LENGTH;
    }
    rc = cxl_compress_submit_report(c, CXL_COMPRESS_REPORT_SIZE);
    if (rc != CXL_MBOX_DEFERRED) {
        return rc;
    }
    c->newest_tag = len_in ? ldq_le_p(payload_in) : 0;
    if (len_in == 16) {
        cxl_compress_account_accept(&c->account, ldq_le_p(payload_in + 8));
    }
    return rc;
}

static CXLRetCode cmd_compress_get_watermarks(const struct cxl_cmd *cmd,
                                              uint8_t *payload_in,
                                              size_t len_in,
                                              uint8_t *payload_out,
                                              size_t *len_out,
                                              CXLCCI *cci)
{
    CXLCompress *c = CXL_TYPE3(cci->d)->compress;
    CXLRetCode rc = cxl_compress_refusal(c);
    CXLCompressWatermarks wm = cxl_compress_account_watermarks(&c->account);

    if (rc == CXL_MBOX_SUCCESS) {
        *len_out = cxl_compress_pack_watermarks(&wm, payload_out);
    }
    return rc;
}

static CXLRetCode cmd_compress_set_watermarks(const struct cxl_cmd *cmd,
                                              uint8_t *payload_in,
                                              size_t len_in,
                                              uint8_t *payload_out,
                                              size_t *len_out,
                                              CXLCCI *cci)
{
    CXLCompress *c = CXL_TYPE3(cci->d)->compress;
    CXLRetCode rc = cxl_compress_refusal(c);
    CXLCompressEvents ev = { };
    CXLCompressWatermarks wm;
    CXLCompressParse parsed;

    if (rc != CXL_MBOX_SUCCESS) {
        return rc;
    }
    parsed = cxl_compress_parse_watermarks(
        payload_in, len_in, cxl_compress_account_usable(&c->account), &wm);
    if (parsed != CXL_COMPRESS_PARSE_OK) {
        return (CXLRetCode)parsed;
    }
    if (cxl_compress_fault(c, CXL_COMPRESSION_FAULT_WATERMARKS_REFUSED)) {
        return CXL_MBOX_INTERNAL_ERROR;
    }
    cxl_compress_account_set_watermarks(&c->account, wm, &ev);
    cxl_compress_act(c, &ev);
    return CXL_MBOX_SUCCESS;
}

static CXLRetCode cmd_compress_trim(const struct cxl_cmd *cmd,
                                    uint8_t *payload_in,
                                    size_t len_in,
                                    uint8_t *payload_out,
                                    size_t *len_out,
                                    CXLCCI *cci)
{
    CXLCompress *c = CXL_TYPE3(cci->d)->compress;
    CXLRetCode rc = cxl_compress_trim_refusal(c);
    CXLCompressParse parsed;
    CXLCompressRanges ranges;

    if (rc != CXL_MBOX_SUCCESS) {
        return rc;
    }
    parsed = cxl_compress_parse_trim(payload_in, len_in,
                                     memory_region_size(c->mr),
                                     CXL_COMPRESS_MAX_TRIM, &ranges);
    return parsed == CXL_COMPRESS_PARSE_OK ?
           cxl_compress_submit_trim(c, &ranges) : (CXLRetCode)parsed;
}

static CXLRetCode cmd_compress_get_range_usage(const struct cxl_cmd *cmd,
                                               uint8_t *payload_in,
                                               size_t len_in,
                                               uint8_t *payload_out,
                                               size_t *len_out,
                                               CXLCCI *cci)
{
    CXLCompress *c = CXL_TYPE3(cci->d)->compress;
    CXLRetCode rc = cxl_compress_refusal(c);
    CXLCompressParse parsed;
    CXLCompressRange range;
    MailboxCommand *mc;

    if (rc != CXL_MBOX_SUCCESS) {
        return rc;
    }
    parsed = cxl_compress_parse_range(payload_in, len_in,
                                      memory_region_size(c->mr), &range);
    if (parsed != CXL_COMPRESS_PARSE_OK) {
        return (CXLRetCode)parsed;
    }
    mc = cxl_compress_command(c, "usage", cxl_compress_run_usage,
                              cxl_compress_usage_done);
    mc->req.range = range;
    cxl_compress_submit(c, &mc->req);
    return CXL_MBOX_DEFERRED;
}

/* CXL r3.2 section 8.2.10.9.5.3 */
static CXLRetCode cmd_compress_media_operations(const struct cxl_cmd *cmd,
                                                uint8_t *payload_in,
                                                size_t len_in,
                                                uint8_t *payload_out,
                                                size_t *len_out,
                                                CXLCCI *cci)
{
    CXLCompress *c = CXL_TYPE3(cci->d)->compress;
    CXLRetCode rc = cxl_compress_trim_refusal(c);
    CXLCompressMediaRequest media;
    CXLCompressParse parsed;

    if (rc != CXL_MBOX_SUCCESS) {
        return rc;
    }
    parsed = cxl_compress_parse_media(payload_in, len_in,
                                      memory_region_size(c->mr),
                                      CXL_COMPRESS_MAX_TRIM, &media);
    if (parsed != CXL_COMPRESS_PARSE_OK) {
        return (CXLRetCode)parsed;
    }
    if (media.op == CXL_COMPRESS_MEDIA_DISCOVER) {
        *len_out = cxl_compress_pack_media_ops(&media, payload_out);
        return CXL_MBOX_SUCCESS;
    }
    /* Released memory holds nothing, and reads as zero: both at once */
    return cxl_compress_submit_trim(c, &media.ranges);
}

static const struct cxl_cmd compress_cmd_set[256][256] = {
    [SANITIZE][MEDIA_OPERATIONS] = { "MEDIA_OPERATIONS",
        cmd_compress_media_operations, ~0, CXL_MBOX_IMMEDIATE_DATA_CHANGE },
    [COMPRESS][GET_CAPACITY] = { "COMPRESS_GET_CAPACITY",
        cmd_compress_get_capacity, ~0, 0 },
    [COMPRESS][GET_WATERMARKS] = { "COMPRESS_GET_WATERMARKS",
        cmd_compress_get_watermarks, 0, 0 },
    [COMPRESS][SET_WATERMARKS] = { "COMPRESS_SET_WATERMARKS",
        cmd_compress_set_watermarks, ~0, CXL_MBOX_IMMEDIATE_CONFIG_CHANGE },
    [COMPRESS][TRIM] = { "COMPRESS_TRIM",
        cmd_compress_trim, ~0, CXL_MBOX_IMMEDIATE_DATA_CHANGE },
    [COMPRESS][GET_RANGE_USAGE] = { "COMPRESS_GET_RANGE_USAGE",
        cmd_compress_get_range_usage, ~0, 0 },
};

void cxl_compress_add_commands(CXLType3Dev *ct3d)
{
    /* What payloads are refused for is what the guest is told */
    QEMU_BUILD_BUG_ON((int)CXL_COMPRESS_PARSE_OK != CXL_MBOX_SUCCESS);
    QEMU_BUILD_BUG_ON((int)CXL_COMPRESS_PARSE_INPUT != CXL_MBOX_INVALID_INPUT);
    QEMU_BUILD_BUG_ON((int)CXL_COMPRESS_PARSE_UNSUPPORTED !=
                      CXL_MBOX_UNSUPPORTED);
    QEMU_BUILD_BUG_ON((int)CXL_COMPRESS_PARSE_ADDRESS != CXL_MBOX_INVALID_PA);
    QEMU_BUILD_BUG_ON((int)CXL_COMPRESS_PARSE_LENGTH !=
                      CXL_MBOX_INVALID_PAYLOAD_LENGTH);

    cxl_add_cci_commands(&ct3d->cci, compress_cmd_set,
                         CXL_MAILBOX_MAX_PAYLOAD_SIZE);
}
