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
#include "hw/cxl/cxl.h"
#include "hw/cxl/cxl_direct_map.h"
#include "hw/cxl/cxl_host.h"

/* Every decoder's base and size is a multiple of this */
#define CXL_DECODER_GRANULE (256 * MiB)

typedef struct CXLDirectMapping {
    MemoryRegion alias;
    MemoryRegion *window;
    MemoryRegion *ram;
    hwaddr window_offset;
    hwaddr ram_offset;
    hwaddr size;
    bool wanted;
    QLIST_ENTRY(CXLDirectMapping) next;
} CXLDirectMapping;

static QLIST_HEAD(, CXLDirectMapping) mappings =
    QLIST_HEAD_INITIALIZER(mappings);
static CXLState *machine_windows;

static void cxl_direct_map_want(CXLFixedWindow *fw, hwaddr window_offset,
                                CXLType3Dev *ct3d, MemoryRegion *ram,
                                hwaddr ram_offset, hwaddr size)
{
    CXLDirectMapping *m;

    QLIST_FOREACH(m, &mappings, next) {
        if (m->window == &fw->mr && m->window_offset == window_offset &&
            m->ram == ram && m->ram_offset == ram_offset && m->size == size) {
            m->wanted = true;
            return;
        }
    }

    m = g_new0(CXLDirectMapping, 1);
    m->window = &fw->mr;
    m->window_offset = window_offset;
    m->ram = ram;
    m->ram_offset = ram_offset;
    m->size = size;
    m->wanted = true;
    memory_region_init_alias(&m->alias, OBJECT(ct3d), "cxl-direct-mapping[*]",
                             ram, ram_offset, size);
    QLIST_INSERT_HEAD(&mappings, m, next);
}

static void cxl_direct_map_window(CXLFixedWindow *fw)
{
    hwaddr addr = 0;

    while (addr < fw->size) {
        hwaddr step = CXL_DECODER_GRANULE - addr % CXL_DECODER_GRANULE;
        hwaddr route_len, ram_offset, ram_len;
        MemoryRegion *ram;
        PCIDevice *d;

        d = cxl_fmw_find_direct(fw, addr, &route_len);
        if (d && cxl_type3_find_direct(CXL_TYPE3(d), addr + fw->base, &ram,
                                       &ram_offset, &ram_len)) {
            step = MIN(MIN(route_len, ram_len), fw->size - addr);
            cxl_direct_map_want(fw, addr, CXL_TYPE3(d), ram, ram_offset, step);
        }
        addr += step;
    }
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
            memory_region_add_subregion(m->window, m->window_offset,
                                        &m->alias);
        }
    }

    memory_region_transaction_commit();
}

void cxl_direct_map_init(CXLState *state)
{
    machine_windows = state;
}
