/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * HDM decoders for qtests: what firmware and an OS would do to ports, switches
 * and cards until a card's memory is to be seen in a fixed window
 *
 * Copyright (c) 2026 The cram authors
 */

#ifndef QTEST_CXL_DECODERS_H
#define QTEST_CXL_DECODERS_H

#include "qemu/units.h"
#include "libqtest.h"

#define GRANULE (256 * MiB)

/* Where an otherwise empty q35 has its CXL host bridges and first window */
#define HB_REGS 0x100000000ull
#define HB_STEP 0x10000
#define WINDOW  0x110000000ull

/* Root bus of each host bridge; its ports' buses follow */
#define HB_BUS(i) (52 + 16 * (i))
#define BAR_SPACE 0xe0000000u
/* What a root port forwards: room for a switch and what is below it */
#define PORT_SPACE 0x1000000

/* Component registers: capability array, HDM decoder capability */
#define CACHE_MEM 0x1000
#define CAP_ID_HDM 5
#define HDM_COMMIT (1u << 9)
#define HDM_COMMITTED (1u << 10)

#define Q35_CXL(windows) \
    "-machine q35,cxl=on," windows " -m 64M -nodefaults "
#define BRIDGE(i, nr, opts) \
    "-device pxb-cxl,id=cxl." #i ",bus=pcie.0,bus_nr=" #nr opts " "
#define PORT(id, bridge, n) \
    "-device cxl-rp,id=" #id ",bus=cxl." #bridge ",port=" #n ",addr=" #n \
    ",chassis=" #bridge ",slot=" #n " "
#define RAM(id, size) \
    "-object memory-backend-ram,id=" #id ",size=" size " "
#define CARD(port, id, mem) \
    "-device cxl-type3,bus=" #port ",id=" #id "," mem " "

typedef struct Regs {
    uint64_t comp;
    uint64_t dev;
} Regs;

static inline uint32_t config_addr(uint8_t bus, uint8_t devfn, uint8_t off)
{
    return 0x80000000u | bus << 16 | devfn << 8 | (off & 0xfc);
}

static inline void config_write(QTestState *qts, uint8_t bus, uint8_t devfn,
                                uint8_t off, uint32_t val)
{
    qtest_outl(qts, 0xcf8, config_addr(bus, devfn, off));
    qtest_outl(qts, 0xcfc, val);
}

static inline uint32_t config_read(QTestState *qts, uint8_t bus, uint8_t devfn,
                                   uint8_t off)
{
    qtest_outl(qts, 0xcf8, config_addr(bus, devfn, off));
    return qtest_inl(qts, 0xcfc);
}

/* A port or switch at @bus:@devfn, with buses @first to @last behind it */
static inline void bridge_init(QTestState *qts, uint8_t bus, uint8_t devfn,
                               uint8_t first, uint8_t last, uint32_t base,
                               uint32_t size)
{
    config_write(qts, bus, devfn, 0x18, bus | first << 8 | last << 16);
    config_write(qts, bus, devfn, 0x20,
                 base >> 16 | ((base + size - 1) & 0xfff00000));
    config_write(qts, bus, devfn, 0x04, 6);
}

/* The card that is alone on @bus: its first two BARs, of 1 MiB at most */
static inline Regs regs_init(QTestState *qts, uint8_t bus, uint32_t base)
{
    g_assert_cmphex(config_read(qts, bus, 0, 0), ==, 0x0d938086);
    config_write(qts, bus, 0, 0x10, base);
    config_write(qts, bus, 0, 0x14, 0);
    config_write(qts, bus, 0, 0x18, base + 0x100000);
    config_write(qts, bus, 0, 0x1c, 0);
    config_write(qts, bus, 0, 0x04, 6);
    return (Regs) { .comp = base, .dev = base + 0x100000 };
}

/* The card right below root port @port of host bridge @hb */
static inline Regs port_card_init(QTestState *qts, unsigned hb, unsigned port)
{
    uint8_t bus = HB_BUS(hb) + 1 + port;
    uint32_t base = BAR_SPACE + (4 * hb + port) * PORT_SPACE;

    bridge_init(qts, HB_BUS(hb), port << 3, bus, bus, base, PORT_SPACE);
    return regs_init(qts, bus, base);
}

static inline uint64_t hdm_regs(QTestState *qts, uint64_t comp)
{
    uint32_t n = qtest_readl(qts, comp + CACHE_MEM) >> 24;
    uint32_t i;

    for (i = 1; i <= n; i++) {
        uint32_t cap = qtest_readl(qts, comp + CACHE_MEM + 4 * i);

        if ((cap & 0xffff) == CAP_ID_HDM) {
            return comp + CACHE_MEM + (cap >> 20);
        }
    }
    g_assert_not_reached();
}

/* @iw: encoded ways; @targets: a port number in each byte */
static inline void program(QTestState *qts, uint64_t comp, unsigned n,
                           uint64_t base, uint64_t size, uint32_t targets,
                           uint32_t iw)
{
    uint64_t dec = hdm_regs(qts, comp) + 0x10 + 0x20 * n;

    qtest_writel(qts, dec, base);
    qtest_writel(qts, dec + 4, base >> 32);
    qtest_writel(qts, dec + 8, size);
    qtest_writel(qts, dec + 0xc, size >> 32);
    qtest_writel(qts, dec + 0x14, targets);
    qtest_writel(qts, dec + 0x18, 0);
    qtest_writel(qts, dec + 0x10, iw << 4);
}

static inline void commit(QTestState *qts, uint64_t comp, unsigned n, bool on)
{
    uint64_t ctrl = hdm_regs(qts, comp) + 0x20 + 0x20 * n;
    uint32_t val = qtest_readl(qts, ctrl);

    qtest_writel(qts, ctrl, on ? val | HDM_COMMIT : val & ~HDM_COMMIT);
    g_assert(!!(qtest_readl(qts, ctrl) & HDM_COMMITTED) == on);
}

#endif
