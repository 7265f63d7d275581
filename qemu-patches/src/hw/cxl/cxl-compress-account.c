/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A CXL type 3 device that compresses: its books
 *
 * Copyright (c) 2026 The cram authors
 */

#include "qemu/osdep.h"
#include "qemu/bitmap.h"
#include "cxl-compress-account.h"

void cxl_compress_account_init(CXLCompressAccount *a, uint64_t nr_pages,
                               uint64_t physical, uint32_t worst,
                               uint64_t step)
{
    *a = (CXLCompressAccount) {
        .nr_pages = nr_pages,
        .metadata = nr_pages * CXL_COMPRESS_METADATA_PER_PAGE,
        .worst = worst,
        .step = step,
        .bytes = g_new0(uint16_t, nr_pages),
        .dirty = bitmap_new(nr_pages),
        .lost = bitmap_new(nr_pages),
        .excused = bitmap_new(nr_pages),
        .histogram[0] = nr_pages,
        .physical = physical,
        .target = physical,
    };
}

void cxl_compress_account_free(CXLCompressAccount *a)
{
    g_free(a->bytes);
    g_free(a->dirty);
    g_free(a->lost);
    g_free(a->excused);
}

uint64_t cxl_compress_account_usable(const CXLCompressAccount *a)
{
    return a->physical - a->metadata;
}

uint64_t cxl_compress_account_taken(const CXLCompressAccount *a)
{
    return a->stored + a->overhead;
}

CXLCompressWatermarks
cxl_compress_account_watermarks(const CXLCompressAccount *a)
{
    uint64_t usable = cxl_compress_account_usable(a);

    return (CXLCompressWatermarks) {
        .low = MIN(a->watermarks.low, usable),
        .high = MIN(a->watermarks.high, usable),
    };
}

/* By how much @bytes exceed @usable, given that space is taken in steps */
static uint64_t account_excess(const CXLCompressAccount *a, uint64_t bytes,
                               uint64_t usable)
{
    uint64_t taken = ROUND_UP(bytes, a->step);

    return taken > usable ? taken - usable : 0;
}

static uint64_t account_exposure(const CXLCompressAccount *a)
{
    return cxl_compress_account_taken(a) + a->worst * a->nr_dirty;
}

static uint64_t account_room(const CXLCompressAccount *a)
{
    uint64_t usable = cxl_compress_account_usable(a);
    uint64_t taken = cxl_compress_account_taken(a);

    return usable > taken ? usable - taken : 0;
}

static void account_check_watermarks(CXLCompressAccount *a,
                                     CXLCompressEvents *ev)
{
    CXLCompressWatermarks wm = cxl_compress_account_watermarks(a);
    uint64_t room = account_room(a);

    if (!a->below_low && room < wm.low) {
        a->below_low = true;
        ev->low = true;
    } else if (a->below_low && room >= wm.high) {
        a->below_low = false;
        ev->high = true;
    }
}

void cxl_compress_account_mark(CXLCompressAccount *a, uint64_t page)
{
    if (!test_and_set_bit(page, a->dirty)) {
        a->nr_dirty++;
    }
    /* Whatever it was excused for, this is new */
    clear_bit(page, a->excused);
}

void cxl_compress_account_look(CXLCompressAccount *a)
{
    uint64_t exposure = account_exposure(a);
    uint64_t excess = account_excess(a, exposure,
                                     cxl_compress_account_usable(a));

    a->peak_exposure = MAX(a->peak_exposure, exposure);
    /* What fitted again once is not forgiven a second time */
    a->forgiven = MIN(a->forgiven, excess);
    a->peak_excess = MAX(a->peak_excess, excess - a->forgiven);
}

static void account_clean(CXLCompressAccount *a, uint64_t page)
{
    clear_bit(page, a->excused);
    if (test_and_clear_bit(page, a->dirty)) {
        a->nr_dirty--;
    }
}

/* Nothing, then eight steps of 512 bytes; the last has no end */
static unsigned account_bucket(uint16_t bytes)
{
    return MIN(DIV_ROUND_UP(bytes, 512), CXL_COMPRESS_BUCKETS - 1);
}

static void account_enter(CXLCompressAccount *a, uint64_t page, uint16_t bytes)
{
    uint16_t old = a->bytes[page];

    a->histogram[account_bucket(old)]--;
    a->histogram[account_bucket(bytes)]++;
    a->stored = a->stored - old + bytes;
    a->bytes[page] = bytes;
}

bool cxl_compress_account_settle(CXLCompressAccount *a, uint64_t page,
                                 uint16_t bytes, bool rewritten,
                                 CXLCompressEvents *ev)
{
    uint16_t old = a->bytes[page];
    bool fits = bytes <= old ||
                !account_excess(a,
                                cxl_compress_account_taken(a) - old + bytes,
                                cxl_compress_account_usable(a));

    account_enter(a, page, fits ? bytes : 0);
    if (fits) {
        clear_bit(page, a->lost);
    } else if (!test_and_set_bit(page, a->lost)) {
        a->over_capacity_pages++;
        a->excused_pages += test_bit(page, a->excused);
        if (!ev->lost++) {
            ev->first_lost = page;
        }
    }
    if (!rewritten) {
        account_clean(a, page);
    }
    return fits;
}

uint16_t cxl_compress_account_release(CXLCompressAccount *a, uint64_t page,
                                      bool rewritten)
{
    uint16_t old = a->bytes[page];

    if (old) {
        account_enter(a, page, 0);
    }
    clear_bit(page, a->lost);
    if (!rewritten) {
        account_clean(a, page);
    }
    return old;
}

static void account_set_physical(CXLCompressAccount *a, uint64_t size,
                                 CXLCompressEvents *ev)
{
    a->physical = a->target = size;
    a->shrink = CXL_COMPRESS_SHRINK_NONE;
    ev->resized = true;
    account_check_watermarks(a, ev);
}

void cxl_compress_account_commit(CXLCompressAccount *a, CXLCompressEvents *ev)
{
    if (a->shrink == CXL_COMPRESS_SHRINK_ACCEPTED &&
        !account_excess(a, cxl_compress_account_taken(a),
                        a->target - a->metadata)) {
        account_set_physical(a, a->target, ev);
    }
    cxl_compress_account_look(a);
    account_check_watermarks(a, ev);
}

void cxl_compress_account_resize(CXLCompressAccount *a, uint64_t size,
                                 bool force, uint64_t generation,
                                 CXLCompressEvents *ev)
{
    if (size < a->physical && !force) {
        a->target = size;
        a->shrink = CXL_COMPRESS_SHRINK_ANNOUNCED;
        a->announced = generation;
        return;
    }
    if (size < a->physical) {
        a->forgiven = account_excess(a, account_exposure(a),
                                     size - a->metadata);
        bitmap_copy(a->excused, a->dirty, a->nr_pages);
    }
    account_set_physical(a, size, ev);
}

void cxl_compress_account_accept(CXLCompressAccount *a, uint64_t generation)
{
    if (a->shrink == CXL_COMPRESS_SHRINK_ANNOUNCED &&
        generation >= a->announced) {
        a->shrink = CXL_COMPRESS_SHRINK_ACCEPTED;
    }
}

void cxl_compress_account_set_overhead(CXLCompressAccount *a, uint64_t bytes,
                                       CXLCompressEvents *ev)
{
    a->overhead = bytes;
    cxl_compress_account_commit(a, ev);
}

void cxl_compress_account_set_watermarks(CXLCompressAccount *a,
                                         CXLCompressWatermarks wm,
                                         CXLCompressEvents *ev)
{
    bool was_below = a->below_low;

    a->watermarks = wm;
    a->below_low = account_room(a) < cxl_compress_account_watermarks(a).low;
    ev->low |= a->below_low;
    ev->high |= was_below && !a->below_low;
}

void cxl_compress_account_reset(CXLCompressAccount *a,
                                CXLCompressWatermarks wm)
{
    a->watermarks = wm;
    a->below_low = account_room(a) < cxl_compress_account_watermarks(a).low;
    if (a->shrink != CXL_COMPRESS_SHRINK_NONE) {
        a->shrink = CXL_COMPRESS_SHRINK_ANNOUNCED;
    }
}
