/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A CXL type 3 device that compresses: the part the device model sees. The
 * card is in cxl-compress.c, its books in cxl-compress-account.c, what
 * compresses in cxl-compress-codec.c, the mailbox commands in
 * cxl-compress-cmds.c, the monitor commands in cxl-compress-qmp.c.
 *
 * Copyright (c) 2026 The cram authors
 */

#ifndef CXL_COMPRESS_H
#define CXL_COMPRESS_H

#include "qemu/uuid.h"
#include "hw/cxl/cxl_device.h"

typedef struct CXLCompress CXLCompress;

/* The capacity report as a log for Get Log (0401h) */
extern const QemuUUID cxl_compress_log_uuid;

/*
 * Get Log of that log. As a rule the answer comes later (CXL_MBOX_DEFERRED).
 */
CXLRetCode cxl_compress_get_log(CXLType3Dev *ct3d, uint32_t offset,
                                uint32_t length);

/* MSI-X vectors of the watermarks, and the size of the table they need */
#define CXL_COMPRESS_MSIX_LOW  12
#define CXL_COMPRESS_MSIX_HIGH 13
#define CXL_COMPRESS_MSIX_NR   14

/* The device's properties; sizes in bytes */
typedef struct CXLCompressConfig {
    uint64_t physical_size;
    char *algorithm;
    uint32_t unit;
    uint64_t low_watermark;
    uint64_t high_watermark;
    uint32_t settle_ms;
    uint32_t report_ms;
    uint32_t worst_page_size;
    uint64_t reservation_step;
    uint64_t reporting_lag;
} CXLCompressConfig;

/* A watermark property that was not given: derived from the physical size */
#define CXL_COMPRESS_WATERMARK_AUTO UINT64_MAX

/*
 * The rest is called under the BQL. Realize starts the card's thread, exit
 * tells it to end; it never waits for it. @config stays with the device.
 */
bool cxl_compress_realize(CXLType3Dev *ct3d, const CXLCompressConfig *config,
                          Error **errp);
void cxl_compress_exit(CXLType3Dev *ct3d);

/* Forgets a command in flight. What is stored survives. */
void cxl_compress_reset(CXLType3Dev *ct3d);

/* To follow a reset of the mailbox, which forgets all commands */
void cxl_compress_add_commands(CXLType3Dev *ct3d);

/* Sanitize: release everything; poll until it is done */
void cxl_compress_sanitize(CXLType3Dev *ct3d);
bool cxl_compress_sanitizing(CXLType3Dev *ct3d);

#endif
