/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A CXL type 3 device that compresses: its properties, as they are embedded
 * in the device
 *
 * Copyright (c) 2026 The cram authors
 */

#ifndef CXL_COMPRESS_CONFIG_H
#define CXL_COMPRESS_CONFIG_H

typedef struct CXLCompress CXLCompress;

/* MSI-X vectors of the watermarks, and the size of the table they need */
#define CXL_COMPRESS_MSIX_LOW  12
#define CXL_COMPRESS_MSIX_HIGH 13
#define CXL_COMPRESS_MSIX_NR   14

/* The device's properties; sizes in bytes */
typedef struct CXLCompressConfig {
    bool on;
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

#endif
