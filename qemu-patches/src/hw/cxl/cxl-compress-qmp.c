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

/* A command that waits for the card's thread */
typedef struct Waiter {
    CXLCompressRequest req;
    Coroutine *co;
    CXLCompressReport report;
    uint64_t interrupts[CXL_COMPRESSION_WATERMARK__MAX];
    uint32_t faults;
    bool canceled;
} Waiter;

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

static void cxl_compress_waiter_done(CXLCompress *c, CXLCompressRequest *req,
                                     bool canceled)
{
    Waiter *w = container_of(req, Waiter, req);

    w->canceled = canceled;
    w->faults = c->faults;
    cxl_compress_fill_report(c, req->unsettled, &w->report);
    memcpy(w->interrupts, c->interrupts, sizeof(w->interrupts));
    /* In the main loop: what follows is not for the card's thread to do */
    aio_co_schedule(qemu_get_aio_context(), w->co);
}

/* Returns false if the card went away meanwhile */
static bool coroutine_fn
cxl_compress_wait(CXLCompress *c, Waiter *w, const char *path, Error **errp)
{
    w->req.done = cxl_compress_waiter_done;
    w->co = qemu_coroutine_self();
    cxl_compress_submit(c, &w->req);
    qemu_coroutine_yield();
    if (w->canceled) {
        error_setg(errp, "CXL type 3 device '%s' was removed", path);
    }
    return !w->canceled;
}

CxlCompressionInfo *coroutine_fn
qmp_x_cxl_query_compression(const char *path, Error **errp)
{
    Waiter w = { .req.name = "query", .req.run = cxl_compress_run_report };
    CXLCompress *c = find_card(path, errp);
    const CXLCompressReport *r = &w.report;
    CxlCompressionInfo *info;
    CxlCompressionFaultList **fault_tail;
    uint64List **bucket_tail;

    if (!c || !cxl_compress_wait(c, &w, path, errp)) {
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
    info->unsettled = w.req.unsettled;
    info->peak_exposure = r->peak_exposure;
    info->peak_excess = r->peak_excess;
    info->over_capacity_pages = r->over_capacity_pages;
    info->excused_pages = r->excused_pages;
    info->worst_page_size = r->worst_page_bytes;
    info->reservation_step = r->reservation_step_bytes;
    info->reporting_lag = r->reporting_lag_bytes;
    info->generation = r->generation;
    info->low_watermark = r->low_watermark;
    info->high_watermark = r->high_watermark;
    info->below_low_watermark = r->flags & CXL_COMPRESS_REPORT_BELOW_LOW;
    info->low_watermark_interrupts =
        w.interrupts[CXL_COMPRESSION_WATERMARK_LOW];
    info->high_watermark_interrupts =
        w.interrupts[CXL_COMPRESSION_WATERMARK_HIGH];

    bucket_tail = &info->histogram;
    for (int i = 0; i < CXL_COMPRESS_BUCKETS; i++) {
        QAPI_LIST_APPEND(bucket_tail, r->histogram[i]);
    }
    fault_tail = &info->faults;
    for (int i = 0; i < CXL_COMPRESSION_FAULT__MAX; i++) {
        if (w.faults & (1u << i)) {
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
        cxl_compress_interrupt(c, watermark);
    }
}

void coroutine_fn
qmp_x_cxl_set_physical_size(const char *path, uint64_t size, bool has_force,
                            bool force, Error **errp)
{
    Waiter w = { .req.name = "resize", .req.run = cxl_compress_run_resize,
                 .req.size = size, .req.force = has_force && force };
    CXLCompress *c = find_card(path, errp);

    if (c && cxl_compress_check_physical(c, size, errp)) {
        cxl_compress_wait(c, &w, path, errp);
    }
}

void coroutine_fn
qmp_x_cxl_set_compression_overhead(const char *path, uint64_t size,
                                   Error **errp)
{
    Waiter w = { .req.name = "overhead", .req.run = cxl_compress_run_overhead,
                 .req.size = size };
    CXLCompress *c = find_card(path, errp);

    if (!c) {
        return;
    }
    if (size > memory_region_size(c->mr)) {
        error_setg(errp, "overhead %" PRIu64 " is more than the logical size",
                   size);
        return;
    }
    cxl_compress_wait(c, &w, path, errp);
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
                          fault != CXL_COMPRESSION_FAULT_TRIM_LATE &&
                          fault != CXL_COMPRESSION_FAULT_TRIM_SPACE_LATE &&
                          fault != CXL_COMPRESSION_FAULT_TRIM_WRITTEN_BACK))) {
        error_setg(errp, "fault '%s' switched %s takes no delay-ms",
                   CxlCompressionFault_str(fault), enable ? "on" : "off");
        return;
    }

    if (fault == CXL_COMPRESSION_FAULT_LINK_DOWN &&
        !cxl_compress_set_link(c, !enable)) {
        error_setg(errp, "CXL type 3 device '%s' is not below a slot, whose "
                   "link could go down", path);
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
    if (fault == CXL_COMPRESSION_FAULT_TRIM_SPACE_PARTIAL && !enable) {
        cxl_compress_give_back_kept(c);
    }
}
