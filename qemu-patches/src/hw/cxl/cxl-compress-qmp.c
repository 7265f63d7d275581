/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A CXL type 3 device that compresses: monitor commands
 *
 * Copyright (c) 2026 The cram authors
 */

#include "qemu/osdep.h"
#include "qemu/coroutine.h"
#include "qemu/units.h"
#include "block/aio.h"
#include "exec/memory.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-cxl.h"
#include "cxl-compress-internal.h"

/* A query waiting for the card's thread */
typedef struct Query {
    CXLCompressRequest req;
    Coroutine *co;
    CXLCompressReport report;
    uint64_t interrupts[CXL_COMPRESSION_WATERMARK__MAX];
    uint64_t unsettled;
    uint32_t faults;
    bool canceled;
} Query;

static CXLCompress *find_card(const char *path, Error **errp)
{
    bool ambiguous;
    Object *obj = object_resolve_path_type(path, TYPE_CXL_TYPE3, &ambiguous);

    if (!obj) {
        error_setg(errp, ambiguous ? "'%s' is more than one device" :
                   "'%s' is no CXL type 3 device", path);
        return NULL;
    }
    if (!CXL_TYPE3(obj)->compress) {
        error_setg(errp, "CXL type 3 device '%s' does not compress", path);
        return NULL;
    }
    if (!DEVICE(obj)->realized) {
        error_setg(errp, "CXL type 3 device '%s' is being removed", path);
        return NULL;
    }
    return CXL_TYPE3(obj)->compress;
}

static void query_done(CXLCompress *c, CXLCompressRequest *req,
                       uint64_t unsettled, bool canceled)
{
    Query *q = container_of(req, Query, req);

    q->canceled = canceled;
    q->unsettled = unsettled;
    q->faults = c->faults;
    cxl_compress_fill_report(c, unsettled, &q->report);
    memcpy(q->interrupts, c->interrupts, sizeof(q->interrupts));
    /* In the main loop: what follows is not for the card's thread to do */
    aio_co_schedule(qemu_get_aio_context(), q->co);
}

CxlCompressionInfo *coroutine_fn
qmp_x_cxl_query_compression(const char *path, Error **errp)
{
    Query q = {
        .req.op = CXL_COMPRESS_OP_SETTLE,
        .req.done = query_done,
        .co = qemu_coroutine_self(),
    };
    CXLCompress *c = find_card(path, errp);
    const CXLCompressReport *r = &q.report;
    CxlCompressionInfo *info;
    CxlCompressionFaultList **fault_tail;
    uint64List **bucket_tail;

    if (!c) {
        return NULL;
    }
    cxl_compress_submit(c, &q.req);
    qemu_coroutine_yield();
    if (q.canceled) {
        error_setg(errp, "CXL type 3 device '%s' was removed", path);
        return NULL;
    }

    info = g_new0(CxlCompressionInfo, 1);
    info->algorithm = r->algorithm - 1;
    info->unit = r->unit_bytes;
    info->logical_size = r->logical_bytes;
    info->physical_size = r->physical_bytes;
    info->target_physical_size = r->target_physical_bytes;
    info->metadata_size = r->metadata_bytes;
    info->usable_size = r->usable_bytes;
    info->stored = r->stored_bytes;
    info->unsettled = q.unsettled;
    info->peak_exposure = r->peak_exposure;
    info->peak_excess = r->peak_excess;
    info->over_capacity_pages = r->over_capacity_pages;
    info->generation = r->generation;
    info->low_watermark = r->low_watermark;
    info->high_watermark = r->high_watermark;
    info->below_low_watermark = r->flags & CXL_COMPRESS_REPORT_BELOW_LOW;
    info->low_watermark_interrupts =
        q.interrupts[CXL_COMPRESSION_WATERMARK_LOW];
    info->high_watermark_interrupts =
        q.interrupts[CXL_COMPRESSION_WATERMARK_HIGH];

    bucket_tail = &info->histogram;
    for (int i = 0; i < CXL_COMPRESS_BUCKETS; i++) {
        QAPI_LIST_APPEND(bucket_tail, r->histogram[i]);
    }
    fault_tail = &info->faults;
    for (int i = 0; i < CXL_COMPRESSION_FAULT__MAX; i++) {
        if (q.faults & (1u << i)) {
            QAPI_LIST_APPEND(fault_tail, i);
        }
    }
    return info;
}

void qmp_x_cxl_inject_watermark(const char *path,
                                CxlCompressionWatermark watermark,
                                Error **errp)
{
    CXLCompress *c = find_card(path, errp);

    if (c) {
        cxl_compress_watermark_raise(c, watermark);
    }
}

void qmp_x_cxl_set_physical_size(const char *path, uint64_t size,
                                 bool has_force, bool force, Error **errp)
{
    CXLCompress *c = find_card(path, errp);

    if (c) {
        cxl_compress_set_physical(c, size, has_force && force, errp);
    }
}

void qmp_x_cxl_set_compression_fault(const char *path,
                                     CxlCompressionFault fault, bool enable,
                                     bool has_delay_ms, uint32_t delay_ms,
                                     Error **errp)
{
    CXLCompress *c = find_card(path, errp);
    CXLCompressRequest *req;

    if (!c) {
        return;
    }
    if (has_delay_ms && (!enable ||
                         (fault != CXL_COMPRESSION_FAULT_REPORTS_SLOW &&
                          fault != CXL_COMPRESSION_FAULT_TRIM_LATE))) {
        error_setg(errp, "fault '%s' switched %s takes no delay-ms",
                   CxlCompressionFault_str(fault), enable ? "on" : "off");
        return;
    }

    if (enable) {
        c->faults |= 1u << fault;
        c->fault_delay_ms[fault] = has_delay_ms ? delay_ms : 1000;
    } else {
        c->faults &= ~(1u << fault);
    }

    if (fault == CXL_COMPRESSION_FAULT_GENERATION_REORDERED) {
        c->have_older_report = false;
    }
    if (fault == CXL_COMPRESSION_FAULT_REPORTS_STOP && !enable) {
        QTAILQ_FOREACH(req, &c->requests, next) {
            req->held = false;
        }
        cxl_compress_kick(c);
    }
}
