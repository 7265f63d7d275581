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
#include "hw/pci/msix.h"
#include "migration/blocker.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-cxl.h"
#include "qapi/qapi-events-cxl.h"
#include "qapi/util.h"
#include "system/hostmem.h"
#include "system/system.h"
#include "cxl-compress-internal.h"

#ifdef CONFIG_ZSTD
#include <zstd.h>
#endif
#ifdef CONFIG_LZ4
#include <lz4.h>
#endif

#define PAGE ((uint64_t)CXL_COMPRESS_PAGE_SIZE)

/* Eight bytes of the device's own memory per logical page */
#define METADATA_PER_PAGE 8

/*
 * What compressing for a report may take. The guest waits for the mailbox;
 * Linux gives up after 2 s.
 */
#define REPORT_BUDGET_NS (200 * SCALE_MS)

#define ZSTD_LEVEL 1

/* Room for the longest output of either library for one page */
#define COMPRESS_BOUND 8192

/* How often the thread looks up from a batch */
#define PAGES_PER_LOOK 16

/* How much less often it looks while there is much space */
#define RELAXED_LOOKS 4

/* Pages released per hold of the BQL */
#define PAGES_PER_HOLD 16384

static unsigned histogram_bucket(uint16_t bytes)
{
    return DIV_ROUND_UP(bytes, 512);
}

static char *card_path(CXLCompress *c)
{
    return object_get_canonical_path(OBJECT(c->ct3d));
}

/* What the device needs for a page */
static uint16_t compress_page(CXLCompress *c, uint64_t page)
{
    uint8_t in[CXL_COMPRESS_PAGE_SIZE];
    uint8_t out[COMPRESS_BOUND];
    uint64_t bytes = PAGE;

    /* The guest may write meanwhile, compressors expect it does not */
    memcpy(in, c->host + page * PAGE, PAGE);
    if (buffer_is_zero(in, PAGE)) {
        return 0;
    }

    switch (c->algorithm) {
#ifdef CONFIG_ZSTD
    case CXL_COMPRESSION_ALGORITHM_ZSTD:
    {
        size_t rc = ZSTD_compressCCtx(c->zstd, out, sizeof(out), in, PAGE,
                                      ZSTD_LEVEL);

        assert(!ZSTD_isError(rc));
        bytes = rc;
        break;
    }
#endif
#ifdef CONFIG_LZ4
    case CXL_COMPRESSION_ALGORITHM_LZ4:
    {
        int rc = LZ4_compress_default((char *)in, (char *)out, PAGE,
                                      sizeof(out));

        assert(rc > 0);
        bytes = rc;
        break;
    }
#endif
    default:
        g_assert_not_reached();
    }

    return MIN(ROUND_UP(bytes, c->unit), PAGE);
}

void cxl_compress_watermark_raise(CXLCompress *c, CxlCompressionWatermark wm)
{
    PCIDevice *pdev = PCI_DEVICE(c->ct3d);

    if (cxl_compress_fault(c, CXL_COMPRESSION_FAULT_WATERMARK_LOST)) {
        return;
    }
    c->interrupts[wm]++;
    if (msix_enabled(pdev)) {
        msix_notify(pdev, wm == CXL_COMPRESSION_WATERMARK_LOW ?
                          CXL_COMPRESS_MSIX_LOW : CXL_COMPRESS_MSIX_HIGH);
    }
}

void cxl_compress_check_watermarks(CXLCompress *c)
{
    uint64_t usable = cxl_compress_usable(c);
    uint64_t room = usable > c->stored ? usable - c->stored : 0;
    CxlCompressionWatermark wm;
    g_autofree char *path = NULL;

    if (!c->below_low && room < c->watermarks.low) {
        wm = CXL_COMPRESSION_WATERMARK_LOW;
    } else if (c->below_low && room >= c->watermarks.high) {
        wm = CXL_COMPRESSION_WATERMARK_HIGH;
    } else {
        return;
    }

    c->below_low = wm == CXL_COMPRESSION_WATERMARK_LOW;
    cxl_compress_watermark_raise(c, wm);
    path = card_path(c);
    qapi_event_send_cxl_compression_watermark(path, wm, c->stored, usable);
}

/* Free bytes beyond what there is would never be reached */
static void clamp_watermarks(CXLCompress *c)
{
    c->watermarks.high = MIN(c->watermarks.high, cxl_compress_usable(c));
    c->watermarks.low = MIN(c->watermarks.low, c->watermarks.high);
}

static void resize(CXLCompress *c, uint64_t size)
{
    c->physical = size;
    clamp_watermarks(c);
    cxl_compress_check_watermarks(c);
}

/* A shrink that was announced takes effect as soon as all there is fits */
static void check_shrink(CXLCompress *c)
{
    if (c->target_physical < c->physical &&
        c->stored + PAGE * c->exposed_pages <=
        c->target_physical - c->metadata) {
        resize(c, c->target_physical);
    }
}

bool cxl_compress_set_physical(CXLCompress *c, uint64_t size, bool force,
                               Error **errp)
{
    if (size <= c->metadata) {
        error_setg(errp, "physical size %" PRIu64 " leaves no room for data: "
                   "%" PRIu64 " bytes are metadata", size, c->metadata);
        return false;
    }
    if (size > memory_region_size(c->mr) + c->metadata) {
        error_setg(errp, "physical size %" PRIu64 " is more than logical size "
                   "and metadata together", size);
        return false;
    }

    c->target_physical = size;
    if (size >= c->physical || force) {
        /*
         * What was written up to now is not known before the next look;
         * that clears it if all fits.
         */
        c->forced_below |= size < c->physical;
        resize(c, size);
    } else {
        cxl_compress_watermark_raise(c, CXL_COMPRESSION_WATERMARK_LOW);
        cxl_compress_kick(c);
    }
    return true;
}

/*
 * Until the next settlement the exposure only grows, so looking at it here,
 * with all that was written up to now, catches every maximum.
 */
static void account_exposure(CXLCompress *c)
{
    uint64_t exposure = c->stored + PAGE * c->nr_dirty;
    uint64_t usable = cxl_compress_usable(c);

    c->exposed_pages = c->nr_dirty;
    c->peak_exposure = MAX(c->peak_exposure, exposure);
    if (exposure <= usable) {
        c->forced_below = false;
    } else if (!c->forced_below) {
        c->peak_excess = MAX(c->peak_excess, exposure - usable);
    }
}

static void enter_page_bytes(CXLCompress *c, uint64_t page, uint16_t bytes)
{
    uint16_t old = c->page_bytes[page];

    c->histogram[histogram_bucket(old)]--;
    c->histogram[histogram_bucket(bytes)]++;
    c->stored = c->stored - old + bytes;
    c->page_bytes[page] = bytes;
}

/* What was written is gone, and shall be seen to be gone */
static void scribble(CXLCompress *c, uint64_t page)
{
    uint8_t *p = c->host + page * PAGE;

    for (unsigned i = 0; i < PAGE; i += 16) {
        memcpy(p + i, "LOST TO OVERRUN ", 8);
        stq_le_p(p + i + 8, ~(page * PAGE + i));
    }
}

/* Returns false if the page did not fit and had not been lost before */
static bool settle_page(CXLCompress *c, uint64_t page, uint16_t bytes)
{
    uint16_t old = c->page_bytes[page];
    bool first_loss = false;

    if (bytes > old && c->stored - old + bytes > cxl_compress_usable(c)) {
        scribble(c, page);
        first_loss = !test_and_set_bit(page, c->lost);
        c->over_capacity_pages += first_loss;
        bytes = 0;
    } else {
        clear_bit(page, c->lost);
    }
    enter_page_bytes(c, page, bytes);
    cxl_compress_check_watermarks(c);
    return !first_loss;
}

static void announce_overrun(CXLCompress *c, uint64_t first, uint64_t pages)
{
    g_autofree char *path = card_path(c);

    qapi_event_send_cxl_compression_overrun(path, first * PAGE, pages);
    /*
     * Severity: failure. Address: volatile memory. Uncorrectable, a data
     * path error, caused by a write.
     */
    qmp_cxl_inject_general_media_event(path, CXL_EVENT_LOG_FAILURE, 2,
                                       first * PAGE | 1, 1, 2, 2,
                                       false, 0, false, 0, false, 0, NULL,
                                       &error_abort);
}

/*
 * Take the BQL, unless the thread is to stop: the device may have been
 * unplugged, and nothing but the memory and the account is left of it.
 */
static bool lock_card(CXLCompress *c)
{
    bql_lock();
    if (c->stop) {
        bql_unlock();
        return false;
    }
    return true;
}

/*
 * Fold what was written since the last look into @dirty. On return no store
 * that is not in @dirty is under way: the snapshot waits for the vCPUs.
 * Returns NULL when the thread is to stop.
 */
static DirtyBitmapSnapshot *take_dirty(CXLCompress *c)
{
    const uint64_t stride = 512;
    DirtyBitmapSnapshot *snap;

    if (!lock_card(c)) {
        return NULL;
    }
    snap = memory_region_snapshot_and_clear_dirty(c->mr, 0,
                                                  memory_region_size(c->mr),
                                                  DIRTY_MEMORY_VGA);
    bql_unlock();

    for (uint64_t base = 0; base < c->nr_pages; base += stride) {
        uint64_t end = MIN(base + stride, c->nr_pages);

        if (!memory_region_snapshot_get_dirty(c->mr, snap, base * PAGE,
                                              (end - base) * PAGE)) {
            continue;
        }
        for (uint64_t page = base; page < end; page++) {
            if (memory_region_snapshot_get_dirty(c->mr, snap, page * PAGE,
                                                 PAGE) &&
                !test_and_set_bit(page, c->dirty)) {
                c->nr_dirty++;
            }
        }
    }
    return snap;
}

static bool collect(CXLCompress *c)
{
    g_autofree DirtyBitmapSnapshot *snap = take_dirty(c);

    if (!snap || !lock_card(c)) {
        return false;
    }
    account_exposure(c);
    check_shrink(c);
    bql_unlock();
    return true;
}

/*
 * Make the batch settled, at the moment of the snapshot. Up to then its
 * pages, although compressed, count as exposed like all others. A page that
 * was written again while it was compressed is settled and dirty.
 */
static bool commit_batch(CXLCompress *c)
{
    g_autofree DirtyBitmapSnapshot *snap = take_dirty(c);
    uint64_t lost = 0, first_lost = 0;

    if (!snap || !lock_card(c)) {
        return false;
    }

    account_exposure(c);
    for (unsigned i = 0; i < c->batch_nr; i++) {
        if (!settle_page(c, c->batch[i], c->batch_bytes[i]) && !lost++) {
            first_lost = c->batch[i];
        }
    }
    for (unsigned i = 0; i < c->batch_nr; i++) {
        if (!memory_region_snapshot_get_dirty(c->mr, snap, c->batch[i] * PAGE,
                                              PAGE)) {
            clear_bit(c->batch[i], c->dirty);
            c->nr_dirty--;
        }
    }
    c->exposed_pages = c->nr_dirty;
    check_shrink(c);
    if (lost) {
        announce_overrun(c, first_lost, lost);
    }
    bql_unlock();
    return true;
}

/*
 * Settle, in ascending order, all pages written before the call, those for a
 * report only until @deadline (ns of the realtime clock, 0 for none). Without
 * a deadline a request is more urgent. Returns how many pages, of those and
 * maybe younger ones, are left.
 */
static uint64_t settle(CXLCompress *c, int64_t deadline)
{
    uint64_t next = 0;
    uint64_t left = 0;
    bool more = collect(c);

    while (more) {
        c->batch_nr = 0;
        while (c->batch_nr < CXL_COMPRESS_BATCH) {
            next = find_next_bit(c->dirty, c->nr_pages, next);
            if (next == c->nr_pages) {
                more = false;
                break;
            }
            c->batch[c->batch_nr] = next;
            c->batch_bytes[c->batch_nr] = compress_page(c, next);
            c->batch_nr++;
            next++;
            if (c->batch_nr % PAGES_PER_LOOK == 0 &&
                (qatomic_read(&c->stop) ||
                 (deadline ?
                  qemu_clock_get_ns(QEMU_CLOCK_REALTIME) >= deadline :
                  qatomic_read(&c->attention)))) {
                more = false;
                break;
            }
        }
        if (c->batch_nr && !commit_batch(c)) {
            break;
        }
    }

    for (uint64_t page = find_next_bit(c->dirty, c->nr_pages, next);
         page < c->nr_pages;
         page = find_next_bit(c->dirty, c->nr_pages, page + 1)) {
        left++;
    }
    return left;
}

/* Give the memory of a range back to the host; it reads as zero */
static void discard(CXLCompress *c, uint64_t dpa, uint64_t len)
{
    RAMBlock *rb = c->mr->ram_block;
    size_t page_size = qemu_ram_pagesize(rb);

    if (ram_block_discard_is_disabled() || !QEMU_IS_ALIGNED(dpa, page_size) ||
        !QEMU_IS_ALIGNED(len, page_size) ||
        ram_block_discard_range(rb, dpa, len)) {
        memset(c->host + dpa, 0, len);
    }
}

static void trim(CXLCompress *c, const CXLCompressRanges *ranges)
{
    if (!collect(c)) {
        return;
    }

    for (uint32_t i = 0; i < ranges->nr; i++) {
        const CXLCompressRange *r = &ranges->range[i];
        uint64_t page = r->dpa / PAGE;
        uint64_t end = page + r->len / PAGE;

        while (page < end) {
            uint64_t pause = MIN(end, page + PAGES_PER_HOLD);

            if (!lock_card(c)) {
                return;
            }
            for (; page < pause; page++) {
                if (test_and_clear_bit(page, c->dirty)) {
                    c->nr_dirty--;
                }
                if (c->page_bytes[page]) {
                    enter_page_bytes(c, page, 0);
                }
                clear_bit(page, c->lost);
            }
            c->exposed_pages = c->nr_dirty;
            bql_unlock();
        }
        discard(c, r->dpa, r->len);
    }

    if (lock_card(c)) {
        cxl_compress_check_watermarks(c);
        check_shrink(c);
        bql_unlock();
    }
}

/* Without the BQL: nobody but the thread changes what pages take */
static void sum_usage(CXLCompress *c, const CXLCompressRange *range,
                      CXLCompressUsage *usage)
{
    uint64_t page = range->dpa / PAGE;
    uint64_t end = page + range->len / PAGE;

    for (; page < end; page++) {
        usage->stored_bytes += c->page_bytes[page];
        usage->stored_pages += !!c->page_bytes[page];
        usage->lost_pages += test_bit(page, c->lost);
    }
}

void cxl_compress_kick(CXLCompress *c)
{
    qatomic_set(&c->attention, true);
    qemu_sem_post(&c->wake);
}

void cxl_compress_submit(CXLCompress *c, CXLCompressRequest *req)
{
    QTAILQ_INSERT_TAIL(&c->requests, req, next);
    cxl_compress_kick(c);
}

static CXLCompressRequest *next_request(CXLCompress *c)
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

static int64_t report_deadline(void)
{
    return qemu_clock_get_ns(QEMU_CLOCK_REALTIME) + REPORT_BUDGET_NS;
}

static void serve_requests(CXLCompress *c)
{
    while (lock_card(c)) {
        CXLCompressRequest *req = next_request(c);
        uint64_t left = 0;

        bql_unlock();
        if (!req) {
            return;
        }

        switch (req->op) {
        case CXL_COMPRESS_OP_TRIM:
            trim(c, req->ranges);
            break;
        case CXL_COMPRESS_OP_SETTLE:
            left = settle(c, report_deadline());
            break;
        case CXL_COMPRESS_OP_USAGE:
            left = settle(c, report_deadline());
            sum_usage(c, &req->range, &req->usage);
            break;
        }

        bql_lock();
        req->done(c, req, left, c->stop);
        bql_unlock();
    }
}

/*
 * How long, in ms, until the next look if nobody asks for one. Each look costs
 * the guest a slow store per page it goes on writing to, so as long as the
 * card is less than half full there is no hurry.
 */
static int next_look(CXLCompress *c)
{
    uint64_t usable = cxl_compress_usable(c);
    uint64_t exposure = c->stored + PAGE * c->nr_dirty;
    int64_t now = qemu_clock_get_ns(QEMU_CLOCK_REALTIME);
    int64_t wait = c->settle_ms;
    CXLCompressRequest *req;

    if (exposure < usable / 2 && usable - exposure > c->watermarks.high) {
        wait *= RELAXED_LOOKS;
    }
    QTAILQ_FOREACH(req, &c->requests, next) {
        if (!req->held) {
            wait = MIN(wait, MAX(req->not_before - now, 0) / SCALE_MS + 1);
        }
    }
    return wait;
}

/* The last of a device that was unplugged */
static void release_card(CXLCompress *c)
{
    CXLType3Dev *ct3d = c->ct3d;

    memory_region_set_log(c->mr, false, DIRTY_MEMORY_VGA);
    host_memory_backend_set_mapped(ct3d->hostvmem, false);
    ct3d->compress = NULL;
#ifdef CONFIG_ZSTD
    ZSTD_freeCCtx(c->zstd);
#endif
    qemu_sem_destroy(&c->wake);
    g_free(c->page_bytes);
    g_free(c->lost);
    g_free(c->dirty);
    g_free(c);
    object_unref(OBJECT(ct3d));
}

static void *compress_thread(void *opaque)
{
    CXLCompress *c = opaque;
    int wait = c->settle_ms;

    rcu_register_thread();
    while (!qatomic_read(&c->stop)) {
        qemu_sem_timedwait(&c->wake, wait);
        qatomic_set(&c->attention, false);
        serve_requests(c);
        settle(c, 0);

        if (!lock_card(c)) {
            break;
        }
        if (cxl_compress_fault(c, CXL_COMPRESSION_FAULT_WATERMARK_SPURIOUS)) {
            cxl_compress_watermark_raise(c, CXL_COMPRESSION_WATERMARK_LOW);
            cxl_compress_watermark_raise(c, CXL_COMPRESSION_WATERMARK_HIGH);
        }
        wait = next_look(c);
        bql_unlock();
    }

    bql_lock();
    if (c->unplugged) {
        release_card(c);
    }
    bql_unlock();
    rcu_unregister_thread();
    return NULL;
}

void cxl_compress_fill_report(CXLCompress *c, uint64_t unsettled,
                              CXLCompressReport *report)
{
    *report = (CXLCompressReport) {
        .flags = (c->below_low ? CXL_COMPRESS_REPORT_BELOW_LOW : 0) |
                 (unsettled ? CXL_COMPRESS_REPORT_WORST_CASE : 0) |
                 (c->target_physical < c->physical ?
                  CXL_COMPRESS_REPORT_SHRINKING : 0),
        .generation = c->generation,
        .logical_bytes = memory_region_size(c->mr),
        .physical_bytes = c->physical,
        .metadata_bytes = c->metadata,
        .usable_bytes = cxl_compress_usable(c),
        .stored_bytes = c->stored + PAGE * unsettled,
        .unsettled_bytes = PAGE * unsettled,
        .worst_page_bytes = PAGE,
        .unit_bytes = c->unit,
        /* A report leaves nothing out */
        .reporting_lag_bytes = 0,
        /* A page is stored anew before its old copy is given up */
        .reservation_step_bytes = PAGE,
        .peak_exposure = c->peak_exposure,
        .over_capacity_pages = c->over_capacity_pages,
        .target_physical_bytes = c->target_physical,
        .low_watermark = c->watermarks.low,
        .high_watermark = c->watermarks.high,
        .max_trim_bytes = CXL_COMPRESS_MAX_TRIM,
        .peak_excess = c->peak_excess,
        .algorithm = c->algorithm + 1,
    };
    memcpy(report->histogram, c->histogram, sizeof(c->histogram));
}

static void sanitize_done(CXLCompress *c, CXLCompressRequest *req,
                          uint64_t unsettled, bool canceled)
{
    c->sanitizing = false;
    g_free(req->ranges);
    g_free(req);
}

void cxl_compress_sanitize(CXLType3Dev *ct3d)
{
    CXLCompress *c = ct3d->compress;
    CXLCompressRequest *req = g_new0(CXLCompressRequest, 1);

    req->op = CXL_COMPRESS_OP_TRIM;
    req->ranges = g_new0(CXLCompressRanges, 1);
    req->ranges->range[0].len = memory_region_size(c->mr);
    req->ranges->nr = 1;
    req->done = sanitize_done;
    req->from_mailbox = true;
    c->sanitizing = true;
    cxl_compress_submit(c, req);
}

bool cxl_compress_sanitizing(CXLType3Dev *ct3d)
{
    return ct3d->compress && ct3d->compress->sanitizing;
}

static void default_watermarks(CXLCompress *c)
{
    const CXLCompressConfig *cfg = &c->ct3d->compress_cfg;
    uint64_t usable = cxl_compress_usable(c);

    c->watermarks.low = cfg->low_watermark == CXL_COMPRESS_WATERMARK_AUTO ?
                        usable / 8 : cfg->low_watermark;
    c->watermarks.high = cfg->high_watermark == CXL_COMPRESS_WATERMARK_AUTO ?
                         MAX(usable / 4, c->watermarks.low) :
                         cfg->high_watermark;
    /* The card may have shrunk since the properties were checked */
    clamp_watermarks(c);
}

static void cancel_requests(CXLCompress *c, bool only_mailbox)
{
    CXLCompressRequest *req, *tmp;

    QTAILQ_FOREACH_SAFE(req, &c->requests, next, tmp) {
        if (req->from_mailbox || !only_mailbox) {
            QTAILQ_REMOVE(&c->requests, req, next);
            req->done(c, req, 0, true);
        }
    }
}

void cxl_compress_reset(CXLType3Dev *ct3d)
{
    CXLCompress *c = ct3d->compress;

    /*
     * Drop what the mailbox has not begun: a trim that comes late must not
     * hit memory the guest uses anew after the reset.
     */
    cancel_requests(c, true);
    c->mbox_seq++;
    default_watermarks(c);
    cxl_compress_add_commands(c);
}

static void compress_exit_notify(Notifier *n, void *data)
{
    CXLCompress *c = container_of(n, CXLCompress, exit_notifier);

    /* No waiting: this may be a vCPU the thread waits for */
    qatomic_set(&c->stop, true);
    qemu_sem_post(&c->wake);
}

static bool check_config(CXLType3Dev *ct3d, CxlCompressionAlgorithm *algorithm,
                         Error **errp)
{
    const CXLCompressConfig *cfg = &ct3d->compress_cfg;
    uint64_t metadata, usable;
    int alg;

    if (!ct3d->hostvmem || ct3d->hostpmem || ct3d->dc.num_regions) {
        error_setg(errp, "compressed=on needs volatile-memdev and no other "
                   "memory");
        return false;
    }
    alg = qapi_enum_parse(&CxlCompressionAlgorithm_lookup,
                          cfg->algorithm ?: "zstd", -1, errp);
    if (alg < 0) {
        return false;
    }
#ifndef CONFIG_ZSTD
    if (alg == CXL_COMPRESSION_ALGORITHM_ZSTD) {
        error_setg(errp, "algorithm=zstd is not compiled in");
        return false;
    }
#endif
#ifndef CONFIG_LZ4
    if (alg == CXL_COMPRESSION_ALGORITHM_LZ4) {
        error_setg(errp, "algorithm=lz4 is not compiled in");
        return false;
    }
#endif
    if (!is_power_of_2(cfg->unit) || cfg->unit > PAGE) {
        error_setg(errp, "unit must be a power of two from 1 to 4096");
        return false;
    }
    if (cfg->settle_ms < 1 || cfg->settle_ms > 3600 * 1000) {
        error_setg(errp, "settle-ms must be from 1 to 3600000");
        return false;
    }

    metadata = ct3d->hostvmem->size / PAGE * METADATA_PER_PAGE;
    if (!cfg->physical_size) {
        error_setg(errp, "compressed=on needs physical-size");
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

    *algorithm = alg;
    return true;
}

bool cxl_compress_realize(CXLType3Dev *ct3d, Error **errp)
{
    const CXLCompressConfig *cfg = &ct3d->compress_cfg;
    CxlCompressionAlgorithm algorithm;
    Error *blocker = NULL;
    QemuThread thread;
    CXLCompress *c;

    if (!check_config(ct3d, &algorithm, errp)) {
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
    c->mr = host_memory_backend_get_memory(ct3d->hostvmem);
    c->host = memory_region_get_ram_ptr(c->mr);
    c->nr_pages = memory_region_size(c->mr) / PAGE;
    c->algorithm = algorithm;
    c->unit = cfg->unit;
    c->settle_ms = cfg->settle_ms;
    c->page_bytes = g_new0(uint16_t, c->nr_pages);
    c->lost = bitmap_new(c->nr_pages);
    c->dirty = bitmap_new(c->nr_pages);
    c->histogram[0] = c->nr_pages;
    c->metadata = c->nr_pages * METADATA_PER_PAGE;
    c->physical = c->target_physical = cfg->physical_size;
    default_watermarks(c);
#ifdef CONFIG_ZSTD
    c->zstd = ZSTD_createCCtx();
#endif
    QTAILQ_INIT(&c->requests);
    qemu_sem_init(&c->wake, 0);

    /*
     * Volatile memory holds nothing when it is switched on; and the backend
     * comes with all its pages marked as written.
     */
    memory_region_set_log(c->mr, true, DIRTY_MEMORY_VGA);
    discard(c, 0, memory_region_size(c->mr));
    g_free(memory_region_snapshot_and_clear_dirty(c->mr, 0,
                                                  memory_region_size(c->mr),
                                                  DIRTY_MEMORY_VGA));

    ct3d->compress = c;
    c->exit_notifier.notify = compress_exit_notify;
    qemu_add_exit_notifier(&c->exit_notifier);
    /* The thread's */
    object_ref(OBJECT(ct3d));
    qemu_thread_create(&thread, "cxl-compress", compress_thread, c,
                       QEMU_THREAD_DETACHED);
    return true;
}

void cxl_compress_exit(CXLType3Dev *ct3d)
{
    CXLCompress *c = ct3d->compress;

    if (!c) {
        return;
    }

    migrate_del_blocker(&c->migration_blocker);
    qemu_remove_exit_notifier(&c->exit_notifier);
    cancel_requests(c, false);
    /*
     * No waiting: a guest that powers the slot off does this on a vCPU, for
     * which the thread may be waiting in turn.
     */
    c->unplugged = true;
    qatomic_set(&c->stop, true);
    qemu_sem_post(&c->wake);
}
