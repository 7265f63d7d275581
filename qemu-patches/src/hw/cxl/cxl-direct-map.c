/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * CXL direct mappings: RAM of a type 3 device visible in a fixed memory
 * window as RAM
 *
 * Copyright (c) 2026 The cram authors
 */

#include "qemu/osdep.h"
#include "qemu/queue.h"
#include "qemu/units.h"
#include "exec/memory.h"
#include "exec/target_page.h"
#include "hw/cxl/cxl.h"
#include "hw/cxl/cxl_direct_map.h"
#include "hw/cxl/cxl_host.h"

/* Every decoder's base and size is a multiple of this */
#define CXL_DECODER_GRANULE (256 * MiB)

/* A part of a window and the RAM that is seen there */
typedef struct CXLDirectPiece {
    CXLType3Dev *ct3d;
    MemoryRegion *ram;
    hwaddr window_offset;
    hwaddr ram_offset;
    hwaddr size;
} CXLDirectPiece;

typedef struct CXLDirectMapping {
    MemoryRegion alias;
    MemoryRegion *window;
    CXLDirectPiece piece;
    bool wanted;
    QLIST_ENTRY(CXLDirectMapping) next;
} CXLDirectMapping;

static QLIST_HEAD(, CXLDirectMapping) mappings =
    QLIST_HEAD_INITIALIZER(mappings);
static CXLState *machine_windows;

static void cxl_direct_map_want(CXLFixedWindow *fw, const CXLDirectPiece *p)
{
    CXLDirectMapping *m;

    if (!p->size) {
        return;
    }
    QLIST_FOREACH(m, &mappings, next) {
        if (m->window == &fw->mr && m->piece.ram == p->ram &&
            m->piece.window_offset == p->window_offset &&
            m->piece.ram_offset == p->ram_offset &&
            m->piece.size == p->size) {
            m->wanted = true;
            return;
        }
    }

    m = g_new0(CXLDirectMapping, 1);
    m->window = &fw->mr;
    m->piece = *p;
    m->wanted = true;
    memory_region_init_alias(&m->alias, OBJECT(p->ct3d),
                             "cxl-direct-mapping[*]", p->ram, p->ram_offset,
                             p->size);
    QLIST_INSERT_HEAD(&mappings, m, next);
}

/*
 * A granule goes one way as a whole, but for poisoned pages in it. Neighbours
 * that continue each other are seen as one piece.
 */
static void cxl_direct_map_window(CXLFixedWindow *fw)
{
    CXLDirectPiece piece = { 0 };
    hwaddr addr, len;

    for (addr = 0; addr < fw->size; addr += len) {
        PCIDevice *d = cxl_fmw_find_direct(fw, addr);
        hwaddr ram_offset;
        MemoryRegion *ram;

        len = CXL_DECODER_GRANULE - addr % CXL_DECODER_GRANULE;
        /*
         * What a decoder of three ways leaves over need not begin on a page,
         * and cannot be mapped then.
         */
        if (!d || !cxl_type3_find_direct(CXL_TYPE3(d), fw->base + addr, &ram,
                                         &ram_offset, &len) ||
            !QEMU_IS_ALIGNED(ram_offset, qemu_target_page_size())) {
            continue;
        }
        if (piece.ram == ram && piece.ram_offset + piece.size == ram_offset &&
            piece.window_offset + piece.size == addr) {
            piece.size += len;
            continue;
        }
        cxl_direct_map_want(fw, &piece);
        piece = (CXLDirectPiece) {
            .ct3d = CXL_TYPE3(d),
            .ram = ram,
            .window_offset = addr,
            .ram_offset = ram_offset,
            .size = len,
        };
    }
    cxl_direct_map_want(fw, &piece);
}

void cxl_direct_map_update(void)
{
    CXLDirectMapping *m, *next;
    GList *it;

    if (!machine_windows) {
        return;
    }

    memory_region_transaction_begin();

    QLIST_FOREACH(m, &mappings, next) {
        m->wanted = false;
    }
    for (it = machine_windows->fixed_windows; it; it = it->next) {
        cxl_direct_map_window(it->data);
    }

    /* What goes must be out of the way before its successor comes in */
    QLIST_FOREACH_SAFE(m, &mappings, next, next) {
        if (m->wanted) {
            continue;
        }
        memory_region_del_subregion(m->window, &m->alias);
        object_unparent(OBJECT(&m->alias));
        QLIST_REMOVE(m, next);
        g_free(m);
    }
    QLIST_FOREACH(m, &mappings, next) {
        if (!memory_region_is_mapped(&m->alias)) {
            memory_region_add_subregion(m->window, m->piece.window_offset,
                                        &m->alias);
        }
    }

    memory_region_transaction_commit();
}

void cxl_direct_map_init(CXLState *state)
{
    machine_windows = state;
}
