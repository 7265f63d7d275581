/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A CXL type 3 device that compresses: what it stores and whether it fits
 *
 * The data stay where they are, uncompressed, in the backend. A thread finds
 * pages that were written (dirty logging of the backend), compresses each to
 * learn what the device would need for it, and keeps the account. Anything
 * that has to be exact with respect to what was written before goes through
 * that thread: it alone waits for vCPUs and compresses, neither of which may
 * happen in a mailbox handler or in the main loop.
 *
 * Locking: the account is under the BQL, which the thread takes only to look
 * at the dirty log and to enter results. It holds no other lock while it
 * waits for the BQL, so devices cannot block each other.
 *
 * Copyright (c) 2026 The cram authors
 */

#include "qemu/osdep.h"
#include "qemu/bitmap.h"
#include "qemu/bswap.h"
#include "qemu/cutils.h"
#include "qemu/error-report.h"
#include "qemu/main-loop.h"
#include "qemu/rcu.h"
#include "qemu/timer.h"
#include "qemu/units.h"
#include "exec/cpu-common.h"
#include "exec/memory.h"
#include "exec/tb-flush.h"
#include "hw/cxl/cxl_direct_map.h"
#include "hw/cxl/cxl_events.h"
#include "hw/pci/msix.h"
#include "hw/pci/pci_bridge.h"
#include "hw/pci/pcie_port.h"
#include "migration/blocker.h"
#include "qapi/error.h"
#include "qapi/qapi-events-cxl.h"
#include "system/hostmem.h"
#include "system/qtest.h"
#include "system/system.h"
#include "system/tcg.h"
#include "cxl-compress-internal.h"
#include "trace.h"

#define PAGE ((uint64_t)CXL_COMPRESS_PAGE_SIZE)

/* How often the thread looks up from a batch */
#define PAGES_PER_LOOK 16

/* How much less often it looks while there is much space */
#define RELAXED_LOOKS 4

/* Pages a sanitize releases per hold of the BQL */
#define PAGES_PER_HOLD 262144

/* Deadlines of a settlement, beside a time in ns of the realtime clock */
#define UNTIL_ASKED 0
#define UNTIL_DONE INT64_MAX

/* Pages that come back after a trim under the fault trim-written-back */
#define PAGES_WRITTEN_BACK 64

/* What the device needs for a page */
static uint16_t cxl_compress_page(CXLCompress *c, uint64_t page)
{
    uint8_t in[CXL_COMPRESS_PAGE_SIZE];
    uint64_t bytes;

    /* The guest may write meanwhile, compressors expect it does not */
    memcpy(in, c->host + page * PAGE, PAGE);
    if (buffer_is_zero(in, PAGE)) {
        return 0;
    }
    bytes = ROUND_UP(c->codec->page(c->codec_state, in), c->unit);
    return bytes < PAGE ? bytes : c->account.worst;
}

void cxl_compress_interrupt(CXLCompress *c, CxlCompressionWatermark wm)
{
    PCIDevice *pdev = PCI_DEVICE(c->ct3d);

    if (c->unplugged || !pdev->enabled || !msix_enabled(pdev)) {
        return;
    }
    trace_cxl_compress_interrupt(c->path, CxlCompressionWatermark_str(wm));
    c->interrupts[wm]++;
    msix_notify(pdev, wm == CXL_COMPRESSION_WATERMARK_LOW ?
                      CXL_COMPRESS_MSIX_LOW : CXL_COMPRESS_MSIX_HIGH);
}

/* An interrupt that the account calls for */
static void cxl_compress_warn(CXLCompress *c, CxlCompressionWatermark wm)
{
    if (!cxl_compress_fault(c, CXL_COMPRESSION_FAULT_WATERMARK_LOST)) {
        cxl_compress_interrupt(c, wm);
    }
}

static void cxl_compress_cross(CXLCompress *c, CxlCompressionWatermark wm)
{
    cxl_compress_warn(c, wm);
    qapi_event_send_cxl_compression_watermark(
        c->path, wm, cxl_compress_account_taken(&c->account),
        cxl_compress_account_usable(&c->account));
}

static void cxl_compress_log_overrun(CXLCompress *c, uint64_t dpa)
{
    static const QemuUUID gen_media_uuid = {
        .data = UUID(0xfbcd0a77, 0xc260, 0x417f, 0x85, 0xa9,
                     0x08, 0x8b, 0x16, 0x21, 0xeb, 0xa6),
    };
    CXLEventGenMedia gem = { };

    gem.hdr.id = gen_media_uuid;
    gem.hdr.length = sizeof(gem);
    /* Severity: failure */
    st24_le_p(&gem.hdr.flags, 2);
    stq_le_p(&gem.hdr.timestamp,
             cxl_device_get_timestamp(&c->ct3d->cxl_dstate));
    /* Volatile memory; uncorrectable, a data path error, caused by a write */
    stq_le_p(&gem.phys_addr, dpa | 1);
    gem.descriptor = 1;
    gem.type = 2;
    gem.transaction_type = 2;
    if (cxl_event_insert(&c->ct3d->cxl_dstate, CXL_EVENT_TYPE_FAIL,
                         (CXLEventRecordRaw *)&gem)) {
        cxl_event_irq_assert(c->ct3d);
    }
}

void cxl_compress_act(CXLCompress *c, const CXLCompressEvents *ev)
{
    const CXLCompressAccount *a = &c->account;

    if (ev->high && a->below_low) {
        cxl_compress_cross(c, CXL_COMPRESSION_WATERMARK_HIGH);
    }
    if (ev->low) {
        cxl_compress_cross(c, CXL_COMPRESSION_WATERMARK_LOW);
    }
    if (ev->high && !a->below_low) {
        cxl_compress_cross(c, CXL_COMPRESSION_WATERMARK_HIGH);
    }
    if (ev->resized) {
        trace_cxl_compress_resized(c->path, a->physical);
    }
    if (ev->lost) {
        trace_cxl_compress_overrun(c->path, ev->first_lost * PAGE, ev->lost);
        qapi_event_send_cxl_compression_overrun(c->path,
                                                ev->first_lost * PAGE,
                                                a->over_capacity_pages);
        if (!c->unplugged) {
            cxl_compress_log_overrun(c, ev->first_lost * PAGE);
        }
    }
}

bool cxl_compress_check_physical(CXLCompress *c, uint64_t size, Error **errp)
{
    if (size <= c->account.metadata) {
        error_setg(errp, "physical size %" PRIu64 " leaves no room for data: "
                   "%" PRIu64 " bytes are metadata", size,
                   c->account.metadata);
        return false;
    }
    if (size > memory_region_size(c->mr) + c->account.metadata) {
        error_setg(errp, "physical size %" PRIu64 " is more than logical size "
                   "and metadata together", size);
        return false;
    }
    return true;
}

/* What was written is gone, and shall be seen to be gone */
static void cxl_compress_scribble(CXLCompress *c, uint64_t page)
{
    uint8_t *p = c->host + page * PAGE;
    uint64_t poison;

    for (unsigned i = 0; i < PAGE; i += 16) {
        memcpy(p + i, "LOST TO OVERRUN ", 8);
        stq_le_p(p + i + 8, ~(page * PAGE + i));
    }
    memory_region_invalidate_code(c->mr, page * PAGE, PAGE);
    if (cxl_compress_fault(c, CXL_COMPRESSION_FAULT_LOST_POISONED) &&
        !cxl_type3_find_poison(c->ct3d, page * PAGE, PAGE, &poison)) {
        cxl_type3_add_poison(c->ct3d, page * PAGE, PAGE);
    }
}

/*
 * Take the BQL, unless the emulator ends: then the thread is to end too, and
 * to touch nothing.
 */
static bool bql_lock_unless_stopping(CXLCompress *c)
{
    bql_lock();
    if (c->stop) {
        bql_unlock();
        return false;
    }
    return true;
}

/*
 * What was written since the last snapshot; under the BQL, which is dropped
 * meanwhile. On return no store that is not in it is under way: the snapshot
 * waits for the vCPUs.
 */
static DirtyBitmapSnapshot *cxl_compress_snapshot(CXLCompress *c)
{
    return memory_region_snapshot_and_clear_dirty(c->mr, 0,
                                                  memory_region_size(c->mr),
                                                  DIRTY_MEMORY_VGA);
}

/* Enter a snapshot into the account */
static void cxl_compress_mark(CXLCompress *c, DirtyBitmapSnapshot *snap)
{
    const uint64_t stride = 512;
    uint64_t nr_pages = c->account.nr_pages;

    for (uint64_t base = 0; base < nr_pages; base += stride) {
        uint64_t end = MIN(base + stride, nr_pages);

        if (!memory_region_snapshot_get_dirty(c->mr, snap, base * PAGE,
                                              (end - base) * PAGE)) {
            continue;
        }
        for (uint64_t page = base; page < end; page++) {
            if (memory_region_snapshot_get_dirty(c->mr, snap, page * PAGE,
                                                 PAGE)) {
                cxl_compress_account_mark(&c->account, page);
            }
        }
    }
}

static bool cxl_compress_rewritten(CXLCompress *c, DirtyBitmapSnapshot *snap,
                                   uint64_t page)
{
    return memory_region_snapshot_get_dirty(c->mr, snap, page * PAGE, PAGE);
}

/*
 * The account knows of all that was written up to now. Returns holding the
 * BQL, with the snapshot; or NULL, without, when the thread is to stop.
 */
static DirtyBitmapSnapshot *cxl_compress_look(CXLCompress *c)
{
    DirtyBitmapSnapshot *snap;

    if (!bql_lock_unless_stopping(c)) {
        return NULL;
    }
    c->snapshot_tag = c->newest_tag;
    snap = cxl_compress_snapshot(c);
    bql_unlock();
    cxl_compress_mark(c, snap);
    if (!bql_lock_unless_stopping(c)) {
        g_free(snap);
        return NULL;
    }
    cxl_compress_account_look(&c->account);
    return snap;
}

/*
 * Make the batch settled, at the moment of the snapshot. Up to then its
 * pages, although compressed, count as exposed like all others. A page that
 * was written again while it was compressed is settled and dirty.
 */
static bool cxl_compress_commit_batch(CXLCompress *c)
{
    uint64_t tag = c->snapshot_tag;
    g_autofree DirtyBitmapSnapshot *snap = cxl_compress_look(c);
    CXLCompressEvents ev = { };
    bool lost = false;

    if (!snap) {
        return false;
    }
    /* A report contains what was written before its first snapshot */
    c->snapshot_tag = tag;
    for (unsigned i = 0; i < c->batch_nr; i++) {
        uint64_t page = c->batch[i];

        if (!cxl_compress_account_settle(&c->account, page,
                                         c->batch_bytes[i],
                                         cxl_compress_rewritten(c, snap, page),
                                         &ev)) {
            cxl_compress_scribble(c, page);
            lost = true;
        }
    }
    if (lost && cxl_compress_fault(c, CXL_COMPRESSION_FAULT_LOST_POISONED)) {
        cxl_direct_map_update();
    }
    cxl_compress_account_commit(&c->account, &ev);
    cxl_compress_act(c, &ev);
    bql_unlock();
    return true;
}

static bool cxl_compress_enough(CXLCompress *c, int64_t deadline)
{
    if (qatomic_read(&c->stop)) {
        return true;
    }
    if (deadline == UNTIL_ASKED) {
        return qatomic_read(&c->attention);
    }
    return qemu_clock_get_ns(QEMU_CLOCK_REALTIME) >= deadline;
}

/* The first dirty page in [@from, @end), or @end */
static uint64_t cxl_compress_next_dirty(CXLCompress *c, uint64_t from,
                                        uint64_t end)
{
    return find_next_bit(c->account.dirty, end, from);
}

/*
 * Settle pages written before the call, once round the card from where the
 * last settlement ended, so that pages written all the time do not keep
 * others waiting. Returns how many are left, maybe younger ones among them.
 */
static uint64_t cxl_compress_settle(CXLCompress *c, int64_t deadline)
{
    uint64_t nr_pages = c->account.nr_pages;
    uint64_t start = c->cursor, next = start, end = nr_pages;
    uint64_t left = 0;
    DirtyBitmapSnapshot *snap = cxl_compress_look(c);
    bool more = snap, wrapped = false;

    if (!snap) {
        return 0;
    }
    bql_unlock();
    g_free(snap);

    while (more) {
        c->batch_nr = 0;
        while (c->batch_nr < CXL_COMPRESS_BATCH) {
            next = cxl_compress_next_dirty(c, next, end);
            if (next == end) {
                if (wrapped) {
                    more = false;
                    break;
                }
                wrapped = true;
                next = 0;
                end = start;
                continue;
            }
            c->batch[c->batch_nr] = next;
            c->batch_bytes[c->batch_nr] = cxl_compress_page(c, next);
            c->batch_nr++;
            next++;
            if (c->batch_nr % PAGES_PER_LOOK == 0 &&
                cxl_compress_enough(c, deadline)) {
                more = false;
                break;
            }
        }
        if (c->batch_nr && !cxl_compress_commit_batch(c)) {
            break;
        }
    }
    c->cursor = next % nr_pages;
    if (wrapped && next == end) {
        c->settled_at = qemu_clock_get_ns(QEMU_CLOCK_REALTIME);
    }

    for (;;) {
        next = cxl_compress_next_dirty(c, next, end);
        if (next < end) {
            left++;
            next++;
        } else if (!wrapped) {
            wrapped = true;
            next = 0;
            end = start;
        } else {
            return left;
        }
    }
}

/* Give the memory of a range back to the host; it reads as zero */
static void cxl_compress_discard(CXLCompress *c, uint64_t dpa, uint64_t len)
{
    RAMBlock *rb = c->mr->ram_block;
    size_t page_size = qemu_ram_pagesize(rb);

    if (!len) {
        return;
    }
    if (ram_block_discard_is_disabled() || !QEMU_IS_ALIGNED(dpa, page_size) ||
        !QEMU_IS_ALIGNED(len, page_size) ||
        ram_block_discard_range(rb, dpa, len)) {
        memset(c->host + dpa, 0, len);
    }
    memory_region_invalidate_code(c->mr, dpa, len);
}

static int64_t cxl_compress_after_ms(uint32_t ms)
{
    return qemu_clock_get_ns(QEMU_CLOCK_REALTIME) + (int64_t)ms * SCALE_MS;
}

/* Under the BQL, on the thread */
static void cxl_compress_set_overhead(CXLCompress *c)
{
    CXLCompressEvents ev = { };

    cxl_compress_account_set_overhead(&c->account, c->grown + c->kept, &ev);
    cxl_compress_act(c, &ev);
}

static void cxl_compress_run_give_back(CXLCompress *c, CXLCompressRequest *req)
{
    g_autofree DirtyBitmapSnapshot *snap = cxl_compress_look(c);

    if (!snap) {
        bql_lock();
        return;
    }
    c->kept -= MIN(req->size, c->kept);
    cxl_compress_set_overhead(c);
}

static void cxl_compress_give_back_done(CXLCompress *c, CXLCompressRequest *req,
                                        bool canceled)
{
    g_free(req);
}

static void cxl_compress_give_back(CXLCompress *c, uint64_t bytes,
                                   uint32_t delay_ms)
{
    CXLCompressRequest *req = g_new0(CXLCompressRequest, 1);

    req->name = "give-back";
    req->run = cxl_compress_run_give_back;
    req->done = cxl_compress_give_back_done;
    req->size = bytes;
    req->not_before = cxl_compress_after_ms(delay_ms);
    cxl_compress_submit(c, req);
}

void cxl_compress_give_back_kept(CXLCompress *c)
{
    cxl_compress_give_back(c, UINT64_MAX, 0);
}

/* What is in a cache of the host's, and comes back after the trim */
typedef struct WriteBack {
    CXLCompressRequest req;
    unsigned nr;
    uint64_t page[PAGES_WRITTEN_BACK];
    uint8_t data[PAGES_WRITTEN_BACK][CXL_COMPRESS_PAGE_SIZE];
} WriteBack;

static void cxl_compress_run_write_back(CXLCompress *c, CXLCompressRequest *req)
{
    WriteBack *wb = container_of(req, WriteBack, req);

    bql_lock();
    for (unsigned i = 0; i < wb->nr; i++) {
        memcpy(c->host + wb->page[i] * PAGE, wb->data[i], PAGE);
        memory_region_invalidate_code(c->mr, wb->page[i] * PAGE, PAGE);
        memory_region_set_dirty(c->mr, wb->page[i] * PAGE, PAGE);
    }
}

static void cxl_compress_write_back_done(CXLCompress *c,
                                         CXLCompressRequest *req,
                                         bool canceled)
{
    g_free(container_of(req, WriteBack, req));
}

static WriteBack *cxl_compress_save(CXLCompress *c,
                                    const CXLCompressRanges *ranges)
{
    WriteBack *wb = g_new0(WriteBack, 1);

    for (uint32_t i = 0; i < ranges->nr; i++) {
        const CXLCompressRange *r = &ranges->range[i];

        for (uint64_t dpa = r->dpa; dpa < r->dpa + r->len; dpa += PAGE) {
            if (wb->nr == PAGES_WRITTEN_BACK) {
                return wb;
            }
            if (!buffer_is_zero(c->host + dpa, PAGE)) {
                wb->page[wb->nr] = dpa / PAGE;
                memcpy(wb->data[wb->nr++], c->host + dpa, PAGE);
            }
        }
    }
    return wb;
}

/* The first half of what was asked for, and no more */
static void cxl_compress_halve(CXLCompressRanges *ranges)
{
    if (ranges->nr > 1) {
        ranges->nr /= 2;
    } else {
        ranges->range[0].len = ROUND_DOWN(ranges->range[0].len / 2, PAGE);
    }
}

/*
 * The data go first, the space comes back, all of it at one moment, when the
 * command is answered: until then the host has no right to it. Pages written
 * meanwhile stay dirty, whatever they hold.
 */
void cxl_compress_run_trim(CXLCompress *c, CXLCompressRequest *req)
{
    CXLCompressRanges *ranges = req->ranges;
    g_autofree DirtyBitmapSnapshot *before = cxl_compress_look(c);
    g_autofree DirtyBitmapSnapshot *meanwhile = NULL;
    WriteBack *wb = NULL;
    CXLCompressEvents ev = { };
    uint64_t sum = 0;

    if (!before) {
        bql_lock();
        return;
    }
    if (cxl_compress_fault(c, CXL_COMPRESSION_FAULT_TRIM_HALF)) {
        cxl_compress_halve(ranges);
        req->rc = CXL_MBOX_INTERNAL_ERROR;
    }
    if (cxl_compress_fault(c, CXL_COMPRESSION_FAULT_TRIM_WRITTEN_BACK)) {
        wb = cxl_compress_save(c, ranges);
    }
    bql_unlock();

    for (uint32_t i = 0; i < ranges->nr; i++) {
        cxl_compress_discard(c, ranges->range[i].dpa, ranges->range[i].len);
    }

    bql_lock();
    meanwhile = cxl_compress_snapshot(c);
    if (c->stop) {
        g_free(wb);
        return;
    }
    cxl_compress_mark(c, meanwhile);
    cxl_compress_account_look(&c->account);
    for (uint32_t i = 0; i < ranges->nr; i++) {
        uint64_t page = ranges->range[i].dpa / PAGE;
        uint64_t end = page + ranges->range[i].len / PAGE;

        for (; page < end; page++) {
            sum += cxl_compress_account_release(
                &c->account, page, cxl_compress_rewritten(c, meanwhile, page));
        }
    }
    if (cxl_compress_fault(c, CXL_COMPRESSION_FAULT_TRIM_SPACE_PARTIAL)) {
        c->kept += sum / 2;
    } else if (cxl_compress_fault(c, CXL_COMPRESSION_FAULT_TRIM_SPACE_LATE)) {
        c->kept += sum;
        cxl_compress_give_back(
            c, sum, c->fault_delay_ms[CXL_COMPRESSION_FAULT_TRIM_SPACE_LATE]);
    }
    c->account.overhead = c->grown + c->kept;
    cxl_compress_account_commit(&c->account, &ev);
    cxl_compress_act(c, &ev);
    if (wb) {
        wb->req.name = "write-back";
        wb->req.run = cxl_compress_run_write_back;
        wb->req.done = cxl_compress_write_back_done;
        wb->req.not_before = cxl_compress_after_ms(
            c->fault_delay_ms[CXL_COMPRESSION_FAULT_TRIM_WRITTEN_BACK]);
        cxl_compress_submit(c, &wb->req);
    }
}

/* The media is disabled: nobody writes, so it may be done piece by piece */
static void cxl_compress_run_sanitize(CXLCompress *c, CXLCompressRequest *req)
{
    uint64_t nr_pages = c->account.nr_pages;

    cxl_compress_discard(c, 0, memory_region_size(c->mr));
    for (uint64_t page = 0; page < nr_pages; ) {
        uint64_t end = MIN(nr_pages, page + PAGES_PER_HOLD);
        g_autofree DirtyBitmapSnapshot *snap = cxl_compress_look(c);
        CXLCompressEvents ev = { };

        if (!snap) {
            break;
        }
        for (; page < end; page++) {
            cxl_compress_account_release(&c->account, page, false);
        }
        cxl_compress_account_commit(&c->account, &ev);
        cxl_compress_act(c, &ev);
        bql_unlock();
    }
    bql_lock();
}

static int64_t cxl_compress_report_deadline(CXLCompress *c)
{
    return cxl_compress_after_ms(c->report_ms);
}

void cxl_compress_run_report(CXLCompress *c, CXLCompressRequest *req)
{
    CXLCompressEvents ev = { };

    req->unsettled = cxl_compress_settle(c, cxl_compress_report_deadline(c));
    bql_lock();
    if (!c->stop) {
        cxl_compress_account_commit(&c->account, &ev);
        cxl_compress_act(c, &ev);
    }
}

void cxl_compress_run_usage(CXLCompress *c, CXLCompressRequest *req)
{
    const CXLCompressAccount *a = &c->account;
    uint64_t page = req->range.dpa / PAGE;
    uint64_t end = page + req->range.len / PAGE;

    req->unsettled = cxl_compress_settle(c, cxl_compress_report_deadline(c));
    for (; page < end; page++) {
        req->usage.stored_bytes += a->bytes[page];
        req->usage.stored_pages += !!a->bytes[page];
        req->usage.lost_pages += test_bit(page, a->lost);
    }
    req->usage.unsettled_pages = req->unsettled;
    bql_lock();
}

/* What was written before is judged by the size there was */
void cxl_compress_run_resize(CXLCompress *c, CXLCompressRequest *req)
{
    DirtyBitmapSnapshot *snap;
    CXLCompressEvents ev = { };

    if (req->force || req->size >= c->account.physical) {
        cxl_compress_settle(c, UNTIL_DONE);
    }
    snap = cxl_compress_look(c);
    if (!snap) {
        bql_lock();
        return;
    }
    g_free(snap);
    cxl_compress_account_resize(&c->account, req->size, req->force,
                                c->generation + 1, &ev);
    if (c->account.shrink == CXL_COMPRESS_SHRINK_ANNOUNCED) {
        cxl_compress_warn(c, CXL_COMPRESSION_WATERMARK_LOW);
    }
    cxl_compress_act(c, &ev);
}

void cxl_compress_run_overhead(CXLCompress *c, CXLCompressRequest *req)
{
    g_autofree DirtyBitmapSnapshot *snap = cxl_compress_look(c);

    if (!snap) {
        bql_lock();
        return;
    }
    c->grown = req->size;
    cxl_compress_set_overhead(c);
}

void cxl_compress_kick(CXLCompress *c)
{
    qatomic_set(&c->attention, true);
    qemu_sem_post(&c->wake);
}

void cxl_compress_submit(CXLCompress *c, CXLCompressRequest *req)
{
    trace_cxl_compress_request(c->path, req->name);
    QTAILQ_INSERT_TAIL(&c->requests, req, next);
    cxl_compress_kick(c);
}

static CXLCompressRequest *cxl_compress_next_request(CXLCompress *c)
{
    int64_t now = qemu_clock_get_ns(QEMU_CLOCK_REALTIME);
    CXLCompressRequest *req;

    QTAILQ_FOREACH(req, &c->requests, next) {
        if (!req->held && req->not_before <= now) {
            QTAILQ_REMOVE(&c->requests, req, next);
            return req;
        }
    }
    return NULL;
}

static void cxl_compress_serve(CXLCompress *c)
{
    while (bql_lock_unless_stopping(c)) {
        CXLCompressRequest *req = cxl_compress_next_request(c);

        bql_unlock();
        if (!req) {
            return;
        }
        trace_cxl_compress_request_begin(c->path, req->name);
        req->run(c, req);
        trace_cxl_compress_request_end(c->path, req->name, req->unsettled);
        req->done(c, req, c->stop || c->unplugged);
        bql_unlock();
    }
}

/*
 * When the next look is due if nobody asks for one, in ns. Each look costs the
 * guest a slow store per page it goes on writing to, so as long as the card is
 * less than half full there is no hurry.
 */
static int64_t cxl_compress_next_look(CXLCompress *c)
{
    const CXLCompressAccount *a = &c->account;
    uint64_t usable = cxl_compress_account_usable(a);
    uint64_t exposure = cxl_compress_account_taken(a) + a->worst * a->nr_dirty;
    int64_t wait = c->settle_ms;

    if (exposure < usable / 2 && usable - exposure > a->watermarks.high) {
        wait *= RELAXED_LOOKS;
    }
    return c->settled_at + wait * SCALE_MS;
}

/* For how long, in ms, there is nothing to do before @look_at */
static int cxl_compress_idle_ms(CXLCompress *c, int64_t look_at)
{
    int64_t now = qemu_clock_get_ns(QEMU_CLOCK_REALTIME);
    int64_t until = look_at;
    CXLCompressRequest *req;

    QTAILQ_FOREACH(req, &c->requests, next) {
        if (!req->held) {
            until = MIN(until, req->not_before);
        }
    }
    return MAX(until - now, 0) / SCALE_MS + 1;
}

/* The device is gone, and with it whoever could ask how it was */
static void cxl_compress_testify(CXLCompress *c)
{
    const CXLCompressAccount *a = &c->account;

    cxl_compress_settle(c, UNTIL_DONE);
    if (bql_lock_unless_stopping(c)) {
        qapi_event_send_cxl_compression_removed(
            c->path, cxl_compress_account_usable(a),
            cxl_compress_account_taken(a), a->peak_exposure, a->peak_excess,
            a->over_capacity_pages, a->excused_pages);
        bql_unlock();
    }
}

/* The last of a device that was unplugged */
static void cxl_compress_release_card(CXLCompress *c)
{
    CXLType3Dev *ct3d = c->ct3d;

    qemu_remove_exit_notifier(&c->exit_notifier);
    memory_region_set_log(c->mr, false, DIRTY_MEMORY_VGA);
    host_memory_backend_set_mapped(ct3d->hostvmem, false);
    ct3d->compress = NULL;
    c->codec->free(c->codec_state);
    cxl_compress_account_free(&c->account);
    qemu_sem_destroy(&c->wake);
    g_free(c->path);
    g_free(c);
    object_unref(OBJECT(ct3d));
}

static void *cxl_compress_thread(void *opaque)
{
    CXLCompress *c = opaque;
    int64_t look_at = c->settled_at + (int64_t)c->settle_ms * SCALE_MS;
    int wait = c->settle_ms;

    rcu_register_thread();
    while (!qatomic_read(&c->stop) && !qatomic_read(&c->unplugged)) {
        qemu_sem_timedwait(&c->wake, wait);
        qatomic_set(&c->attention, false);
        cxl_compress_serve(c);
        /*
         * Not whenever somebody asked: then what the host writes next would be
         * looked at in parts, at moments that nobody can foresee.
         */
        if (qemu_clock_get_ns(QEMU_CLOCK_REALTIME) >= look_at) {
            cxl_compress_settle(c, UNTIL_ASKED);
        }

        if (!bql_lock_unless_stopping(c)) {
            break;
        }
        if (cxl_compress_fault(c, CXL_COMPRESSION_FAULT_WATERMARK_SPURIOUS)) {
            cxl_compress_interrupt(c, CXL_COMPRESSION_WATERMARK_LOW);
            cxl_compress_interrupt(c, CXL_COMPRESSION_WATERMARK_HIGH);
        }
        look_at = cxl_compress_next_look(c);
        wait = cxl_compress_idle_ms(c, look_at);
        bql_unlock();
    }

    if (qatomic_read(&c->unplugged)) {
        cxl_compress_testify(c);
        if (bql_lock_unless_stopping(c)) {
            cxl_compress_release_card(c);
            bql_unlock();
        }
    }
    rcu_unregister_thread();
    return NULL;
}

void cxl_compress_fill_report(CXLCompress *c, uint64_t unsettled,
                              CXLCompressReport *report)
{
    const CXLCompressAccount *a = &c->account;
    CXLCompressWatermarks wm = cxl_compress_account_watermarks(a);
    uint64_t worst_case = a->worst * unsettled;

    *report = (CXLCompressReport) {
        .flags = (a->below_low ? CXL_COMPRESS_REPORT_BELOW_LOW : 0) |
                 (unsettled ? CXL_COMPRESS_REPORT_WORST_CASE : 0) |
                 (a->shrink != CXL_COMPRESS_SHRINK_NONE ?
                  CXL_COMPRESS_REPORT_SHRINKING : 0),
        .generation = c->generation,
        .logical_bytes = memory_region_size(c->mr),
        .physical_bytes = a->physical,
        .metadata_bytes = a->metadata,
        .usable_bytes = cxl_compress_account_usable(a),
        .stored_bytes = cxl_compress_account_taken(a) + worst_case,
        .unsettled_bytes = worst_case,
        .worst_page_bytes = a->worst,
        .unit_bytes = c->unit,
        .reporting_lag_bytes = c->lag,
        .reservation_step_bytes = a->step,
        .peak_exposure = a->peak_exposure,
        .over_capacity_pages = a->over_capacity_pages,
        .target_physical_bytes = a->target,
        .low_watermark = wm.low,
        .high_watermark = wm.high,
        .max_trim_bytes = CXL_COMPRESS_MAX_TRIM,
        .peak_excess = a->peak_excess,
        .algorithm = c->codec->id,
        .excused_pages = a->excused_pages,
        .tag = c->snapshot_tag,
    };
    memcpy(report->histogram, a->histogram, sizeof(a->histogram));
}

static void cxl_compress_sanitize_done(CXLCompress *c, CXLCompressRequest *req,
                                       bool canceled)
{
    c->sanitizing = false;
    g_free(req);
}

void cxl_compress_sanitize(CXLType3Dev *ct3d)
{
    CXLCompress *c = ct3d->compress;
    CXLCompressRequest *req = g_new0(CXLCompressRequest, 1);

    req->name = "sanitize";
    req->run = cxl_compress_run_sanitize;
    req->done = cxl_compress_sanitize_done;
    req->from_mailbox = true;
    c->sanitizing = true;
    cxl_compress_submit(c, req);
}

bool cxl_compress_sanitizing(CXLType3Dev *ct3d)
{
    return ct3d->compress && ct3d->compress->sanitizing;
}

static CXLCompressWatermarks cxl_compress_default_watermarks(CXLCompress *c)
{
    const CXLCompressConfig *cfg = c->config;
    uint64_t usable = cxl_compress_account_usable(&c->account);
    CXLCompressWatermarks wm = { .low = cfg->low_watermark,
                                 .high = cfg->high_watermark };

    if (wm.low == CXL_COMPRESS_WATERMARK_AUTO) {
        wm.low = usable / 8;
    }
    if (wm.high == CXL_COMPRESS_WATERMARK_AUTO) {
        wm.high = MAX(usable / 4, wm.low);
    }
    return wm;
}

static void cxl_compress_cancel(CXLCompress *c, bool only_mailbox)
{
    CXLCompressRequest *req, *tmp;

    QTAILQ_FOREACH_SAFE(req, &c->requests, next, tmp) {
        if (req->from_mailbox || !only_mailbox) {
            QTAILQ_REMOVE(&c->requests, req, next);
            req->done(c, req, true);
        }
    }
}

bool cxl_compress_set_link(CXLCompress *c, bool up)
{
    PCIBus *bus = pci_get_bus(PCI_DEVICE(c->ct3d));
    PCIDevice *port = pci_bridge_get_device(bus);

    if (!object_dynamic_cast(OBJECT(port), TYPE_PCIE_SLOT)) {
        return false;
    }
    pcie_cap_slot_set_link(port, up);
    cxl_direct_map_update();
    return true;
}

void cxl_compress_reset(CXLType3Dev *ct3d)
{
    CXLCompress *c = ct3d->compress;

    /*
     * Drop what the mailbox has not begun: a trim that comes late must not
     * hit memory the guest uses anew after the reset.
     */
    cxl_compress_cancel(c, true);
    c->mbox_seq++;
    c->newest_tag = 0;
    cxl_compress_account_reset(&c->account,
                               cxl_compress_default_watermarks(c));
    if (cxl_compress_fault(c, CXL_COMPRESSION_FAULT_LINK_DOWN)) {
        c->faults &= ~(1u << CXL_COMPRESSION_FAULT_LINK_DOWN);
        cxl_compress_set_link(c, true);
    }
}

static void cxl_compress_exit_notify(Notifier *n, void *data)
{
    CXLCompress *c = container_of(n, CXLCompress, exit_notifier);

    /* No waiting: this may be a vCPU the thread waits for */
    qatomic_set(&c->stop, true);
    qemu_sem_post(&c->wake);
}

static bool cxl_compress_check_config(CXLType3Dev *ct3d,
                                      const CXLCompressConfig *cfg,
                                      Error **errp)
{
    uint64_t metadata, usable;

    if (!tcg_enabled() && !qtest_enabled()) {
        error_setg(errp, "a device that compresses needs TCG (-accel tcg): "
                   "another accelerator's log of written pages is not exact");
        return false;
    }
    if (!ct3d->hostvmem || ct3d->hostpmem || ct3d->dc.num_regions) {
        error_setg(errp, "a device that compresses needs volatile-memdev and "
                   "no other memory");
        return false;
    }
    if (!cxl_compress_codec_find(cfg->algorithm ?: "zstd")) {
        error_setg(errp, "algorithm '%s' is not one of zstd and lz4, or not "
                   "compiled in", cfg->algorithm ?: "zstd");
        return false;
    }
    if (!is_power_of_2(cfg->unit) || cfg->unit > PAGE) {
        error_setg(errp, "unit must be a power of two from 1 to 4096");
        return false;
    }
    if (cfg->settle_ms < 1 || cfg->settle_ms > 3600 * 1000) {
        error_setg(errp, "settle-ms must be from 1 to 3600000");
        return false;
    }
    if (cfg->report_ms > 1000) {
        error_setg(errp, "report-ms must not be more than 1000");
        return false;
    }
    if (cfg->worst_page_size < PAGE || cfg->worst_page_size > 4 * PAGE) {
        error_setg(errp, "worst-page-size must be from 4096 to 16384");
        return false;
    }
    if (!is_power_of_2(cfg->reservation_step) ||
        cfg->reservation_step > GiB) {
        error_setg(errp, "reservation-step must be a power of two up to 1G");
        return false;
    }

    metadata = ct3d->hostvmem->size / PAGE * CXL_COMPRESS_METADATA_PER_PAGE;
    if (!cfg->physical_size) {
        error_setg(errp, "a device that compresses needs physical-size");
        return false;
    }
    if (cfg->physical_size <= metadata ||
        cfg->physical_size > ct3d->hostvmem->size + metadata) {
        error_setg(errp, "physical-size must be more than the %" PRIu64
                   " bytes of metadata and at most logical size and metadata "
                   "together", metadata);
        return false;
    }
    usable = cfg->physical_size - metadata;
    if ((cfg->low_watermark != CXL_COMPRESS_WATERMARK_AUTO &&
         cfg->low_watermark > usable) ||
        (cfg->high_watermark != CXL_COMPRESS_WATERMARK_AUTO &&
         (cfg->high_watermark > usable ||
          cfg->high_watermark < (cfg->low_watermark ==
                                 CXL_COMPRESS_WATERMARK_AUTO ?
                                 usable / 8 : cfg->low_watermark)))) {
        error_setg(errp, "watermarks are free bytes: low-watermark must not "
                   "exceed high-watermark, high-watermark not the %" PRIu64
                   " bytes usable", usable);
        return false;
    }

    return true;
}

bool cxl_compress_realize(CXLType3Dev *ct3d, const CXLCompressConfig *cfg,
                          Error **errp)
{
    Error *blocker = NULL;
    QemuThread thread;
    CXLCompress *c;

    if (!cxl_compress_check_config(ct3d, cfg, errp)) {
        return false;
    }
    error_setg(&blocker, "a CXL device that compresses cannot be migrated: its "
               "account would stay behind");
    if (migrate_add_blocker(&blocker, errp) < 0) {
        return false;
    }

    c = g_new0(CXLCompress, 1);
    c->migration_blocker = blocker;
    c->ct3d = ct3d;
    c->config = cfg;
    c->mr = host_memory_backend_get_memory(ct3d->hostvmem);
    c->host = memory_region_get_ram_ptr(c->mr);
    c->path = object_get_canonical_path(OBJECT(ct3d));
    c->codec = cxl_compress_codec_find(cfg->algorithm ?: "zstd");
    c->codec_state = c->codec->new();
    c->unit = cfg->unit;
    c->lag = cfg->reporting_lag;
    c->settle_ms = cfg->settle_ms;
    c->report_ms = cfg->report_ms;
    c->settled_at = qemu_clock_get_ns(QEMU_CLOCK_REALTIME);
    cxl_compress_account_init(&c->account, memory_region_size(c->mr) / PAGE,
                              cfg->physical_size, cfg->worst_page_size,
                              cfg->reservation_step);
    cxl_compress_account_reset(&c->account,
                               cxl_compress_default_watermarks(c));
    QTAILQ_INIT(&c->requests);
    qemu_sem_init(&c->wake, 0);

    /*
     * Volatile memory holds nothing when it is switched on; and the backend
     * comes with all its pages marked as written.
     */
    memory_region_set_log(c->mr, true, DIRTY_MEMORY_VGA);
    cxl_compress_discard(c, 0, memory_region_size(c->mr));
    g_free(memory_region_snapshot_and_clear_dirty(c->mr, 0,
                                                  memory_region_size(c->mr),
                                                  DIRTY_MEMORY_VGA));

    ct3d->compress = c;
    c->exit_notifier.notify = cxl_compress_exit_notify;
    qemu_add_exit_notifier(&c->exit_notifier);
    /* The thread's */
    object_ref(OBJECT(ct3d));
    qemu_thread_create(&thread, "cxl-compress", cxl_compress_thread, c,
                       QEMU_THREAD_DETACHED);
    return true;
}

void cxl_compress_exit(CXLType3Dev *ct3d)
{
    CXLCompress *c = ct3d->compress;

    migrate_del_blocker(&c->migration_blocker);
    cxl_compress_cancel(c, false);
    /*
     * No waiting: a guest that powers the slot off does this on a vCPU, for
     * which the thread may be waiting in turn.
     */
    qatomic_set(&c->unplugged, true);
    cxl_compress_kick(c);
}
