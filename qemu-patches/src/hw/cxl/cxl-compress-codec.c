/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A CXL type 3 device that compresses: what compresses
 *
 * Copyright (c) 2026 The cram authors
 */

#include "qemu/osdep.h"
#include "cxl-compress-codec.h"

#ifdef CONFIG_ZSTD
#include <zstd.h>
#endif
#ifdef CONFIG_LZ4
#include <lz4.h>
#endif

#define ZSTD_LEVEL 1

/* Room for the longest output of either library for one page */
#define COMPRESS_BOUND 8192

#ifdef CONFIG_ZSTD
static void *codec_zstd_new(void)
{
    return ZSTD_createCCtx();
}

static void codec_zstd_free(void *state)
{
    ZSTD_freeCCtx(state);
}

static size_t codec_zstd_page(void *state, const uint8_t *in)
{
    uint8_t out[COMPRESS_BOUND];
    size_t rc = ZSTD_compressCCtx(state, out, sizeof(out), in,
                                  CXL_COMPRESS_PAGE_SIZE, ZSTD_LEVEL);

    assert(!ZSTD_isError(rc));
    return rc;
}
#endif

#ifdef CONFIG_LZ4
static void *codec_lz4_new(void)
{
    return NULL;
}

static void codec_lz4_free(void *state)
{
}

static size_t codec_lz4_page(void *state, const uint8_t *in)
{
    uint8_t out[COMPRESS_BOUND];
    int rc = LZ4_compress_default((const char *)in, (char *)out,
                                  CXL_COMPRESS_PAGE_SIZE, sizeof(out));

    assert(rc > 0);
    return rc;
}
#endif

static const CXLCompressCodec codecs[] = {
#ifdef CONFIG_ZSTD
    { "zstd", 1, codec_zstd_new, codec_zstd_free, codec_zstd_page },
#endif
#ifdef CONFIG_LZ4
    { "lz4", 2, codec_lz4_new, codec_lz4_free, codec_lz4_page },
#endif
    { NULL }
};

const CXLCompressCodec *cxl_compress_codec_find(const char *name)
{
    for (const CXLCompressCodec *codec = codecs; codec->name; codec++) {
        if (!strcmp(codec->name, name)) {
            return codec;
        }
    }
    return NULL;
}
