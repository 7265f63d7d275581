/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A CXL type 3 device that compresses: its books. What each page takes, what
 * may be needed at most, whether it fits, how large the card is. Knows neither
 * the device nor locks nor time: whoever calls says what happened, and is told
 * what follows.
 *
 * Order of calls: mark() every page found written since the last look, then
 * look(), then settle() or release() any number of pages, then commit(). What
 * lies between two looks happened at one moment. All sizes are in bytes.
 *
 * Copyright (c) 2026 The cram authors
 */

#ifndef CXL_COMPRESS_ACCOUNT_H
#define CXL_COMPRESS_ACCOUNT_H

#include "hw/cxl/cxl_compress_payload.h"

/* How far an announced shrink has come; each step takes the one before */
typedef enum CXLCompressShrink {
    CXL_COMPRESS_SHRINK_NONE,
    CXL_COMPRESS_SHRINK_ANNOUNCED, /* from the next report on */
    CXL_COMPRESS_SHRINK_ACCEPTED,  /* by a host that has got one of those */
} CXLCompressShrink;

/* What follows from a change; calls add to it, nothing takes away */
typedef struct CXLCompressEvents {
    bool low;              /* fell below the low watermark */
    bool high;             /* reached the high watermark again */
    bool resized;          /* the physical size changed */
    uint64_t lost;         /* pages that did not fit */
    uint64_t first_lost;   /* one of them, if any */
} CXLCompressEvents;

typedef struct CXLCompressAccount {
    uint64_t nr_pages;
    uint64_t metadata;
    uint32_t worst;
    uint64_t step;

    /* By page. Dirty: written and not settled. Excused is part of dirty. */
    uint16_t *bytes;
    unsigned long *dirty;
    unsigned long *lost;
    unsigned long *excused;
    uint64_t nr_dirty;

    uint64_t stored;
    uint64_t overhead;
    uint64_t histogram[CXL_COMPRESS_BUCKETS];
    uint64_t physical;
    uint64_t target;
    CXLCompressShrink shrink;
    /* The first report that can say so */
    uint64_t announced;
    CXLCompressWatermarks watermarks;
    bool below_low;

    /* The oracle */
    uint64_t peak_exposure;
    uint64_t peak_excess;
    uint64_t forgiven;
    uint64_t over_capacity_pages;
    uint64_t excused_pages;
} CXLCompressAccount;

/* Eight bytes of the device's own memory per logical page */
#define CXL_COMPRESS_METADATA_PER_PAGE 8

/*
 * All pages empty. @worst is the most a page takes, @step what space is taken
 * in. @physical must be more than the metadata.
 */
void cxl_compress_account_init(CXLCompressAccount *a, uint64_t nr_pages,
                               uint64_t physical, uint32_t worst,
                               uint64_t step);
void cxl_compress_account_free(CXLCompressAccount *a);

/* What data may take */
uint64_t cxl_compress_account_usable(const CXLCompressAccount *a);
/* What data take: pages, and what no page accounts for */
uint64_t cxl_compress_account_taken(const CXLCompressAccount *a);
/* The watermarks in force: those set, no higher than what is usable */
CXLCompressWatermarks
cxl_compress_account_watermarks(const CXLCompressAccount *a);

/* @page was written; what is known about its content is void */
void cxl_compress_account_mark(CXLCompressAccount *a, uint64_t page);

/*
 * All pages written up to now are marked: note how much might be needed.
 * Between two settlements that only grows, so a look before each, and before
 * each release and resize, sees every maximum.
 */
void cxl_compress_account_look(CXLCompressAccount *a);

/*
 * A dirty page takes @bytes now, and is clean unless it was @rewritten.
 * Returns false if it did not fit: then it takes nothing, and its content is
 * to be destroyed.
 */
bool cxl_compress_account_settle(CXLCompressAccount *a, uint64_t page,
                                 uint16_t bytes, bool rewritten,
                                 CXLCompressEvents *ev);

/* A page takes nothing any more; returns what it took */
uint16_t cxl_compress_account_release(CXLCompressAccount *a, uint64_t page,
                                      bool rewritten);

/* The end of a batch of the two: what it led to */
void cxl_compress_account_commit(CXLCompressAccount *a, CXLCompressEvents *ev);

/*
 * A new physical size, after a look. Growing, and shrinking by force, take
 * effect at once. Shrinking otherwise waits: see CXLCompressShrink. What no
 * longer fits because of a shrink by force is not held against the host.
 * @generation is that of the next report.
 */
void cxl_compress_account_resize(CXLCompressAccount *a, uint64_t size,
                                 bool force, uint64_t generation,
                                 CXLCompressEvents *ev);

/* The host can live with what the report of that generation announces */
void cxl_compress_account_accept(CXLCompressAccount *a, uint64_t generation);

/* Bytes taken that belong to no page, after a look */
void cxl_compress_account_set_overhead(CXLCompressAccount *a, uint64_t bytes,
                                       CXLCompressEvents *ev);

/*
 * The host sets watermarks: where it stands is decided anew, by @low alone. It
 * is told if it is below, or is not below any more.
 */
void cxl_compress_account_set_watermarks(CXLCompressAccount *a,
                                         CXLCompressWatermarks wm,
                                         CXLCompressEvents *ev);

/* Reset of the device: @wm are in force, and nobody was told anything */
void cxl_compress_account_reset(CXLCompressAccount *a,
                                CXLCompressWatermarks wm);

#endif
