/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A CXL type 3 device that compresses: the card, for its commands and for the
 * monitor. Calls go from those to the card, from the card to its account and
 * its codec, never back.
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
#include "cxl-compress-account.h"
#include "cxl-compress-codec.h"

/* Most bytes one Trim or Media Operations command may cover */
#define CXL_COMPRESS_MAX_TRIM (4 * GiB)

/* Pages compressed before they are accounted for, all at one moment */
#define CXL_COMPRESS_BATCH 4096

typedef struct CXLCompressRequest CXLCompressRequest;

/*
 * Work for the card's thread. Submitted and completed under the BQL; between
 * the two it belongs to the thread.
 */
struct CXLCompressRequest {
    /* For traces */
    const char *name;
    /* On the thread, without the BQL; returns holding it */
    void (*run)(CXLCompress *c, CXLCompressRequest *req);
    /*
     * Under the BQL: at the moment run() came to its end, or given up because
     * of a reset or because the card goes away. Owns the request then.
     */
    void (*done)(CXLCompress *c, CXLCompressRequest *req, bool canceled);

    /* Trim: what, and how it ended */
    CXLCompressRanges *ranges;
    CXLRetCode rc;
    /* Range usage, and its result */
    CXLCompressRange range;
    CXLCompressUsage usage;
    /* Resize, overhead, give back */
    uint64_t size;
    bool force;
    /*
     * Result of what settles: pages written before the request and not
     * compressed yet; there were too many for the time a report may take.
     */
    uint64_t unsettled;

    /* Not before this, in ns of the realtime clock */
    int64_t not_before;
    /* A fault holds it back for now */
    bool held;
    /* A reset of the mailbox forgets it */
    bool from_mailbox;
    QTAILQ_ENTRY(CXLCompressRequest) next;
};

struct CXLCompress {
    CXLType3Dev *ct3d;
    const CXLCompressConfig *config;
    char *path;
    MemoryRegion *mr;
    uint8_t *host;
    const CXLCompressCodec *codec;
    void *codec_state;
    uint32_t unit;
    uint64_t lag;
    uint32_t settle_ms;
    uint32_t report_ms;

    /*
     * Changed by the thread alone, with two exceptions under the BQL:
     * watermarks, and how far a shrink has come. What is kept by page, and
     * the number of dirty pages, the thread changes without a lock and nobody
     * else reads; the rest it changes under the BQL.
     */
    CXLCompressAccount account;
    /* Parts of the account's overhead: grown by order, kept of trims */
    uint64_t grown;
    uint64_t kept;
    uint64_t interrupts[CXL_COMPRESSION_WATERMARK__MAX];

    /* The mailbox; under the BQL */
    uint64_t generation;
    uint64_t mbox_seq;
    uint64_t newest_tag;
    uint64_t snapshot_tag;
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
    uint64_t cursor;
    /* When it last came all the way round the card, in ns */
    int64_t settled_at;
    uint64_t batch[CXL_COMPRESS_BATCH];
    uint16_t batch_bytes[CXL_COMPRESS_BATCH];
    unsigned batch_nr;

    QemuSemaphore wake;
    /* Set under the BQL, read without */
    bool stop;
    bool attention;
    /* The device is gone: the thread is to say how it was, and to free this */
    bool unplugged;
    Notifier exit_notifier;
    Error *migration_blocker;
};

static inline bool cxl_compress_fault(CXLCompress *c, CxlCompressionFault f)
{
    return c->faults & (1u << f);
}

/* All under the BQL */
void cxl_compress_submit(CXLCompress *c, CXLCompressRequest *req);
void cxl_compress_kick(CXLCompress *c);
void cxl_compress_fill_report(CXLCompress *c, uint64_t unsettled,
                              CXLCompressReport *report);
void cxl_compress_interrupt(CXLCompress *c, CxlCompressionWatermark wm);
/* Tell host and monitor what follows from a change of the account */
void cxl_compress_act(CXLCompress *c, const CXLCompressEvents *ev);
/* Is the size one the card can have? */
bool cxl_compress_check_physical(CXLCompress *c, uint64_t size, Error **errp);
/*
 * The link goes down without a word, or is up again: nobody reaches the card,
 * and the port says so. A card comes back as a reset leaves it. Returns false
 * if it is not below a slot.
 */
bool cxl_compress_set_link(CXLCompress *c, bool up);
/* Space that trims did not give back comes back now */
void cxl_compress_give_back_kept(CXLCompress *c);

/* What the thread can do: values for CXLCompressRequest's run */
void cxl_compress_run_report(CXLCompress *c, CXLCompressRequest *req);
void cxl_compress_run_usage(CXLCompress *c, CXLCompressRequest *req);
void cxl_compress_run_trim(CXLCompress *c, CXLCompressRequest *req);
void cxl_compress_run_resize(CXLCompress *c, CXLCompressRequest *req);
void cxl_compress_run_overhead(CXLCompress *c, CXLCompressRequest *req);

#endif
