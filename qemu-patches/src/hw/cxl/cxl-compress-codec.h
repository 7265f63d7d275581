/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A CXL type 3 device that compresses: what compresses, behind one function
 *
 * Copyright (c) 2026 The cram authors
 */

#ifndef CXL_COMPRESS_CODEC_H
#define CXL_COMPRESS_CODEC_H

#include "hw/cxl/cxl_compress_payload.h"

typedef struct CXLCompressCodec {
    const char *name;
    /* As reports name it */
    uint8_t id;
    void *(*new)(void);
    void (*free)(void *state);
    /* Bytes that the page at @in becomes; may be more than it has */
    size_t (*page)(void *state, const uint8_t *in);
} CXLCompressCodec;

/* NULL if there is none of that name, or it is not compiled in */
const CXLCompressCodec *cxl_compress_codec_find(const char *name);

#endif
