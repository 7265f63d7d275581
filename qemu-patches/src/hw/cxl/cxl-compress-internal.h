/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A CXL type 3 device that compresses: what its files share
 *
 * Copyright (c) 2026 The cram authors
 */

#ifndef CXL_COMPRESS_INTERNAL_H
#define CXL_COMPRESS_INTERNAL_H

#include "qemu/notify.h"
#include "qemu/queue.h"
#include "qemu/thread.h"
#include "hw/cxl/cxl.h"
#include "hw/cxl/cxl_compress.h"
#include "hw/cxl/cxl_compress_payload.h"
#include "qapi/qapi-types-cxl.h"

/* Most bytes one Trim or Media Operations command may cover */
#define CXL_COMPRESS_MAX_TRIM (4 * GiB)

/* Pages compressed before they are accounted for, all at one moment */
#define CXL_COMPRESS_BATCH 4096

typedef enum CXLCompressOp {
    CXL_COMPRESS_OP_SETTLE,
    /* Settle, then say what a range takes */
    CXL_COMPRESS_OP_USAGE,
    CXL_COMPRESS_OP_TRIM,
} CXLCompressOp;

/*
 * Work for the card's thread. Submitted and completed under the BQL; between
 * the two it belongs to the thread.
 */
typedef struct CXLCompressRequest {
    CXLCompressOp op;
    /* OP_TRIM; @done frees them */
    CXLCompressRanges *ranges;
    /* OP_USAGE, and its result */
    CXLCompressRange range;
    CXLCompressUsage usage;
    /* Not before this, in ns of the realtime clock */
    int64_t not_before;
    /* A fault holds it back for now */
    bool held;
    /* A reset of the mailbox forgets it */
    bool from_mailbox;
    /*
     * Done, or given up because of a reset or because the card goes away.
     * But for OP_TRIM, @unsettled is how many pages written before the
     * request are not compressed yet: there were too many for the time a
     * report may take.
     */
    void (*done)(CXLCompress *c, struct CXLCompressRequest *req,
                 uint64_t unsettled, bool canceled);
    QTAILQ_ENTRY(CXLCompressRequest) next;
} CXLCompressRequest;

struct CXLCompress {
    CXLType3Dev *ct3d;
    MemoryRegion *mr;
    uint8_t *host;
    uint64_t nr_pages;
    CxlCompressionAlgorithm algorithm;
    uint32_t unit;
    uint32_t settle_ms;

    /* The account; under the BQL. What pages take only the thread changes. */
    uint16_t *page_bytes;
    unsigned long *lost;
    uint64_t stored;
    uint64_t exposed_pages;
    uint64_t histogram[CXL_COMPRESS_BUCKETS];
    uint64_t physical;
    uint64_t target_physical;
    uint64_t metadata;
    uint64_t peak_exposure;
    uint64_t peak_excess;
    uint64_t over_capacity_pages;
    bool forced_below;
    CXLCompressWatermarks watermarks;
    bool below_low;
    uint64_t interrupts[CXL_COMPRESSION_WATERMARK__MAX];

    /* The mailbox; under the BQL */
    uint64_t generation;
    uint64_t mbox_seq;
    uint8_t last_report[CXL_COMPRESS_REPORT_SIZE];
    bool have_last_report;
    uint8_t older_report[CXL_COMPRESS_REPORT_SIZE];
    bool have_older_report;
    bool sanitizing;

    /* Faults switched on, a bit per CxlCompressionFault; under the BQL */
    uint32_t faults;
    uint32_t fault_delay_ms[CXL_COMPRESSION_FAULT__MAX];

    /* Requests the thread has not begun, oldest first; under the BQL */
    QTAILQ_HEAD(, CXLCompressRequest) requests;

    /* The thread's own */
    unsigned long *dirty;
    uint64_t nr_dirty;
    uint64_t batch[CXL_COMPRESS_BATCH];
    uint16_t batch_bytes[CXL_COMPRESS_BATCH];
    unsigned batch_nr;
    void *zstd;

    QemuSemaphore wake;
    /* Set under the BQL, read without */
    bool stop;
    bool attention;
    /* The thread is to free all this when it ends; under the BQL */
    bool unplugged;
    Notifier exit_notifier;
    Error *migration_blocker;
};

static inline bool cxl_compress_fault(CXLCompress *c, CxlCompressionFault f)
{
    return c->faults & (1u << f);
}

static inline uint64_t cxl_compress_usable(const CXLCompress *c)
{
    return c->physical - c->metadata;
}

/* All under the BQL */
void cxl_compress_submit(CXLCompress *c, CXLCompressRequest *req);
void cxl_compress_kick(CXLCompress *c);
void cxl_compress_fill_report(CXLCompress *c, uint64_t unsettled,
                              CXLCompressReport *report);
void cxl_compress_watermark_raise(CXLCompress *c, CxlCompressionWatermark wm);
void cxl_compress_check_watermarks(CXLCompress *c);
bool cxl_compress_set_physical(CXLCompress *c, uint64_t size, bool force,
                               Error **errp);
void cxl_compress_add_commands(CXLCompress *c);

#endif
