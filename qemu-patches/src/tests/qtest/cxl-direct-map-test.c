/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * QTest testcase for CXL memory that is seen in a fixed window as RAM
 *
 * Each test programs HDM decoders as firmware or an OS would, and looks which
 * parts of which windows are RAM of which backend ("info mtree"), and whether
 * loads and stores reach the same bytes by the mapping as by the ops.
 *
 * Copyright (c) 2026 The cram authors
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qemu/timer.h"
#include "cxl-decoders.h"

/* Device registers: mailbox */
#define MBOX_CTRL 0x8c
#define MBOX_CMD 0x90
#define OP_SANITIZE 0x4400

static int compare_strings(gconstpointer a, gconstpointer b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/*
 * The mappings, one "BASE-LAST BACKEND OFFSET-LAST" each, in hexadecimal, in
 * ascending order; each shows in several trees.
 */
static char *mappings(QTestState *qts)
{
    g_autofree char *mtree = qtest_hmp(qts, "info mtree");
    g_auto(GStrv) lines = g_strsplit(mtree, "\n", -1);
    g_autoptr(GPtrArray) found = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GString) all = g_string_new(NULL);
    unsigned i;

    for (i = 0; lines[i]; i++) {
        uint64_t base, last, ram_base, ram_last;
        g_autofree char *ram = NULL;
        char *at = strstr(lines[i], "alias cxl-direct-mapping");

        if (!at) {
            continue;
        }
        at = strstr(at, " @");
        g_assert(at);
        ram = g_strndup(at + 2, strcspn(at + 2, " "));
        g_assert_cmpint(sscanf(g_strstrip(lines[i]), "%" SCNx64 "-%" SCNx64,
                               &base, &last), ==, 2);
        g_assert_cmpint(sscanf(strrchr(lines[i], ' '),
                               " %" SCNx64 "-%" SCNx64, &ram_base,
                               &ram_last), ==, 2);
        g_ptr_array_add(found,
                        g_strdup_printf("%" PRIx64 "-%" PRIx64 " %s %" PRIx64
                                        "-%" PRIx64, base, last,
                                        strrchr(ram, '/') ?
                                        strrchr(ram, '/') + 1 : ram,
                                        ram_base, ram_last));
    }
    g_ptr_array_sort(found, compare_strings);
    for (i = 0; i < found->len; i++) {
        if (i == 0 || strcmp(found->pdata[i], found->pdata[i - 1])) {
            g_string_append_printf(all, "%s%s", all->len ? ", " : "",
                                   (char *)found->pdata[i]);
        }
    }
    return g_string_free(g_steal_pointer(&all), false);
}

/* The one line that mappings() has for a piece */
static char *piece(uint64_t base, uint64_t size, const char *ram,
                   uint64_t offset)
{
    return g_strdup_printf("%" PRIx64 "-%" PRIx64 " %s %" PRIx64 "-%" PRIx64,
                           base, base + size - 1, ram, offset,
                           offset + size - 1);
}

static void expect(QTestState *qts, const char *want)
{
    g_autofree char *have = mappings(qts);

    g_assert_cmpstr(have, ==, want);
}

static void expect_piece(QTestState *qts, uint64_t base, uint64_t size,
                         const char *ram, uint64_t offset)
{
    g_autofree char *want = piece(base, size, ram, offset);

    expect(qts, want);
}

static void expect_pieces(QTestState *qts, const char *a, const char *b)
{
    g_autofree char *want = g_strdup_printf("%s, %s", a, b);

    expect(qts, want);
}

/* One host bridge with decoders, two cards below it */
#define TWO_CARDS \
    Q35_CXL("cxl-fmw.0.targets.0=cxl.0,cxl-fmw.0.size=4G") \
    BRIDGE(0, 52, ",hdm_for_passthrough=on") \
    PORT(rp0, 0, 0) PORT(rp1, 0, 1) \
    RAM(ram0, "512M") CARD(rp0, mem0, "volatile-memdev=ram0") \
    RAM(ram1, "512M") CARD(rp1, mem1, "volatile-memdev=ram1")

/* Each card by a decoder of its own in the bridge; one goes, one stays */
static void test_several_devices(void)
{
    QTestState *qts = qtest_init(TWO_CARDS);
    Regs card[2] = { port_card_init(qts, 0, 0), port_card_init(qts, 0, 1) };
    g_autofree char *first = piece(WINDOW, 2 * GRANULE, "ram0", 0);
    g_autofree char *second = piece(WINDOW + GiB, 2 * GRANULE, "ram1", 0);
    unsigned i;

    expect(qts, "");
    for (i = 0; i < 2; i++) {
        program(qts, HB_REGS, i, WINDOW + i * GiB, 2 * GRANULE, i, 0);
        program(qts, card[i].comp, 0, WINDOW + i * GiB, 2 * GRANULE, 0, 0);
        commit(qts, card[i].comp, 0, true);
        commit(qts, HB_REGS, i, true);
    }
    expect_pieces(qts, first, second);
    qtest_writeq(qts, WINDOW, 4711);
    qtest_writeq(qts, WINDOW + GiB, 4712);
    g_assert_cmpuint(qtest_readq(qts, WINDOW), ==, 4711);
    g_assert_cmpuint(qtest_readq(qts, WINDOW + GiB), ==, 4712);

    commit(qts, card[0].comp, 0, false);
    expect(qts, second);
    /* No way to the device: stores go nowhere */
    qtest_writeq(qts, WINDOW, 1);
    g_assert_cmpuint(qtest_readq(qts, WINDOW + GiB), ==, 4712);
    commit(qts, card[0].comp, 0, true);
    expect_pieces(qts, first, second);
    g_assert_cmpuint(qtest_readq(qts, WINDOW), ==, 4711);

    commit(qts, HB_REGS, 1, false);
    expect(qts, first);
    qtest_system_reset(qts);
    expect(qts, "");
    qtest_quit(qts);
}

/*
 * Bridges without decoders: what is below their only port has all of their
 * window. A window over both of them interleaves whatever the decoders say.
 */
static void test_several_bridges(void)
{
    QTestState *qts = qtest_init(
        Q35_CXL("cxl-fmw.0.targets.0=cxl.0,cxl-fmw.0.size=1G,"
                "cxl-fmw.1.targets.0=cxl.1,cxl-fmw.1.size=1G,"
                "cxl-fmw.2.targets.0=cxl.0,cxl-fmw.2.targets.1=cxl.1,"
                "cxl-fmw.2.size=1G")
        BRIDGE(0, 52, "") BRIDGE(1, 68, "")
        PORT(rp0, 0, 0) PORT(rp1, 1, 0)
        RAM(ram0, "512M") CARD(rp0, mem0, "volatile-memdev=ram0")
        RAM(ram1, "512M") CARD(rp1, mem1, "volatile-memdev=ram1"));
    Regs card[2] = { port_card_init(qts, 0, 0), port_card_init(qts, 1, 0) };
    g_autofree char *first = piece(WINDOW, GRANULE, "ram0", 0);
    g_autofree char *second = piece(WINDOW + GiB, GRANULE, "ram1", 0);
    uint64_t both = WINDOW + 2 * GiB;
    unsigned i;

    for (i = 0; i < 2; i++) {
        program(qts, card[i].comp, 0, WINDOW + i * GiB, GRANULE, 0, 0);
        program(qts, card[i].comp, 1, both, 2 * GRANULE, 0, 1);
    }
    commit(qts, card[1].comp, 0, true);
    expect(qts, second);
    commit(qts, card[0].comp, 0, true);
    expect_pieces(qts, first, second);
    commit(qts, card[0].comp, 1, true);
    commit(qts, card[1].comp, 1, true);
    expect_pieces(qts, first, second);

    /* 256 bytes in turns, behind what the first decoder of each card has */
    for (i = 0; i < 8; i++) {
        qtest_writeq(qts, both + 256 * i, 1000 + i);
    }
    for (i = 0; i < 8; i++) {
        g_assert_cmpuint(qtest_readq(qts, both + 256 * i), ==, 1000 + i);
    }
    /* The same bytes, as RAM */
    for (i = 0; i < 2; i++) {
        commit(qts, card[i].comp, 1, false);
        program(qts, card[i].comp, 0, WINDOW + i * GiB, 2 * GRANULE, 0, 0);
        commit(qts, card[i].comp, 0, true);
    }
    for (i = 0; i < 8; i++) {
        g_assert_cmpuint(qtest_readq(qts, WINDOW + i % 2 * GiB + GRANULE +
                                     256 * (i / 2)), ==, 1000 + i);
    }
    commit(qts, card[1].comp, 0, false);
    expect_piece(qts, WINDOW, 2 * GRANULE, "ram0", 0);
    qtest_quit(qts);
}

/* A switch with two cards; the bridge has decoders as well */
static QTestState *start_switch(uint64_t *usp, Regs card[2])
{
    QTestState *qts = qtest_init(
        Q35_CXL("cxl-fmw.0.targets.0=cxl.0,cxl-fmw.0.size=4G")
        BRIDGE(0, 52, ",hdm_for_passthrough=on") PORT(rp0, 0, 0)
        "-device cxl-upstream,id=us0,bus=rp0,addr=0 "
        "-device cxl-downstream,id=ds0,bus=us0,port=3,chassis=1,slot=3,addr=0 "
        "-device cxl-downstream,id=ds1,bus=us0,port=5,chassis=1,slot=5,addr=1 "
        RAM(ram0, "512M") CARD(ds0, mem0, "volatile-memdev=ram0")
        RAM(ram1, "512M") CARD(ds1, mem1, "volatile-memdev=ram1"));
    const uint8_t up = HB_BUS(0) + 1, down = up + 1;
    unsigned i;

    *usp = BAR_SPACE + 0x800000;
    bridge_init(qts, HB_BUS(0), 0, up, down + 2, BAR_SPACE, PORT_SPACE);
    bridge_init(qts, up, 0, down, down + 2, BAR_SPACE, 0x800000);
    config_write(qts, up, 0, 0x10, *usp);
    config_write(qts, up, 0, 0x14, 0);
    for (i = 0; i < 2; i++) {
        uint32_t base = BAR_SPACE + i * 0x400000;

        bridge_init(qts, down, i << 3, down + 1 + i, down + 1 + i, base,
                    0x400000);
        card[i] = regs_init(qts, down + 1 + i, base);
    }
    return qts;
}

/*
 * Bridge, switch and endpoint, committed and uncommitted in every order: there
 * is a mapping when all of them are committed, and not before or after.
 */
static void test_switch_orders(void)
{
    static const unsigned orders[6][3] = {
        { 0, 1, 2 }, { 0, 2, 1 }, { 1, 0, 2 }, { 1, 2, 0 }, { 2, 0, 1 },
        { 2, 1, 0 },
    };
    uint64_t usp;
    Regs card[2];
    QTestState *qts = start_switch(&usp, card);
    uint64_t comp[3] = { HB_REGS, usp, card[1].comp };
    unsigned up, down, i;

    for (up = 0; up < 6; up++) {
        for (down = 0; down < 6; down++) {
            uint64_t base = WINDOW + (up * 6 + down) % 8 * GRANULE;

            program(qts, HB_REGS, 0, base, 2 * GRANULE, 0, 0);
            program(qts, usp, 0, base, 2 * GRANULE, 5, 0);
            program(qts, card[1].comp, 0, base, 2 * GRANULE, 0, 0);
            for (i = 0; i < 3; i++) {
                expect(qts, "");
                commit(qts, comp[orders[up][i]], 0, true);
            }
            expect_piece(qts, base, 2 * GRANULE, "ram1", 0);
            if (up || down) {
                g_assert_cmpuint(qtest_readq(qts, base + GRANULE), ==,
                                 up * 6 + down - 1);
            }
            qtest_writeq(qts, base + GRANULE, up * 6 + down);
            for (i = 0; i < 3; i++) {
                commit(qts, comp[orders[down][i]], 0, false);
                expect(qts, "");
                qtest_writeq(qts, base + GRANULE, 4711);
            }
        }
    }
    qtest_quit(qts);
}

/* Which component interleaves makes no difference: the ops serve it */
static void test_interleave(void)
{
    uint64_t usp;
    Regs card[2];
    QTestState *qts = start_switch(&usp, card);
    unsigned i;

    /* The switch, over its two ports */
    program(qts, HB_REGS, 0, WINDOW, 2 * GRANULE, 0, 0);
    program(qts, usp, 0, WINDOW, 2 * GRANULE, 5 << 8 | 3, 1);
    for (i = 0; i < 2; i++) {
        program(qts, card[i].comp, 0, WINDOW, 2 * GRANULE, 0, 1);
        commit(qts, card[i].comp, 0, true);
    }
    commit(qts, usp, 0, true);
    commit(qts, HB_REGS, 0, true);
    expect(qts, "");
    for (i = 0; i < 8; i++) {
        qtest_writeq(qts, WINDOW + 256 * i, 100 + i);
    }

    /* Back to one way: mapped again, and the same memory */
    commit(qts, usp, 0, false);
    program(qts, usp, 0, WINDOW, 2 * GRANULE, 3, 0);
    commit(qts, usp, 0, true);
    /* The endpoint alone still interleaves */
    expect(qts, "");
    commit(qts, card[0].comp, 0, false);
    program(qts, card[0].comp, 0, WINDOW, 2 * GRANULE, 0, 0);
    commit(qts, card[0].comp, 0, true);
    expect_piece(qts, WINDOW, 2 * GRANULE, "ram0", 0);
    for (i = 0; i < 8; i += 2) {
        g_assert_cmpuint(qtest_readq(qts, WINDOW + 256 * (i / 2)), ==, 100 + i);
    }
    qtest_quit(qts);

    /* The host bridge, over its root ports */
    qts = qtest_init(TWO_CARDS);
    program(qts, HB_REGS, 0, WINDOW, 2 * GRANULE, 1 << 8 | 0, 1);
    for (i = 0; i < 2; i++) {
        card[i] = port_card_init(qts, 0, i);
        program(qts, card[i].comp, 0, WINDOW, 2 * GRANULE, 0, 1);
        commit(qts, card[i].comp, 0, true);
    }
    commit(qts, HB_REGS, 0, true);
    expect(qts, "");
    qtest_writeq(qts, WINDOW + 256, 42);
    g_assert_cmpuint(qtest_readq(qts, WINDOW + 256), ==, 42);

    /* A second decoder beside it does not: only its part is RAM */
    for (i = 0; i < 2; i++) {
        program(qts, card[i].comp, 1, WINDOW + GiB + i * GRANULE, GRANULE, 0,
                0);
        commit(qts, card[i].comp, 1, true);
    }
    program(qts, HB_REGS, 1, WINDOW + GiB, GRANULE, 0, 0);
    commit(qts, HB_REGS, 1, true);
    expect_piece(qts, WINDOW + GiB, GRANULE, "ram0", GRANULE);

    /* A reserved encoding of the ways is no reason to die */
    commit(qts, HB_REGS, 1, false);
    commit(qts, card[0].comp, 0, false);
    program(qts, card[0].comp, 0, WINDOW, 2 * GRANULE, 0, 7);
    commit(qts, card[0].comp, 0, true);
    program(qts, HB_REGS, 1, WINDOW + GiB, GRANULE, 0, 0);
    commit(qts, HB_REGS, 1, true);
    expect(qts, "");
    qtest_quit(qts);
}

/* What three ways leave over begins within a page: no mapping, but memory */
static void test_unaligned(void)
{
    QTestState *qts = qtest_init(TWO_CARDS);
    Regs card = port_card_init(qts, 0, 0);

    program(qts, HB_REGS, 0, WINDOW, 2 * GRANULE, 0, 0);
    program(qts, card.comp, 0, WINDOW, GRANULE, 0, 8);
    program(qts, card.comp, 1, WINDOW + GRANULE, GRANULE, 0, 0);
    commit(qts, card.comp, 0, true);
    commit(qts, card.comp, 1, true);
    commit(qts, HB_REGS, 0, true);
    expect(qts, "");
    qtest_writeq(qts, WINDOW + GRANULE, 4711);
    g_assert_cmpuint(qtest_readq(qts, WINDOW + GRANULE), ==, 4711);
    qtest_quit(qts);
}

/*
 * Volatile and persistent memory in one decoder are two mappings; a bridge's
 * decoder that ends earlier cuts them short, one that is not there splits them.
 */
static void test_pieces(void)
{
    QTestState *qts = qtest_init(
        Q35_CXL("cxl-fmw.0.targets.0=cxl.0,cxl-fmw.0.size=4G")
        BRIDGE(0, 52, ",hdm_for_passthrough=on") PORT(rp0, 0, 0)
        RAM(ram0, "512M") RAM(ram1, "512M") RAM(lsa0, "256K")
        CARD(rp0, mem0,
             "volatile-memdev=ram0,persistent-memdev=ram1,lsa=lsa0"));
    Regs card = port_card_init(qts, 0, 0);
    g_autofree char *vol = piece(WINDOW, 2 * GRANULE, "ram0", 0);
    g_autofree char *pers = piece(WINDOW + 2 * GRANULE, 2 * GRANULE, "ram1", 0);
    g_autofree char *part = piece(WINDOW + 2 * GRANULE, GRANULE, "ram1", 0);
    g_autofree char *low = piece(WINDOW, GRANULE, "ram0", 0);
    g_autofree char *high = piece(WINDOW + 3 * GRANULE, GRANULE, "ram1",
                                  GRANULE);

    program(qts, card.comp, 0, WINDOW, 4 * GRANULE, 0, 0);
    commit(qts, card.comp, 0, true);
    program(qts, HB_REGS, 0, WINDOW, 4 * GRANULE, 0, 0);
    commit(qts, HB_REGS, 0, true);
    expect_pieces(qts, vol, pers);
    qtest_writeq(qts, WINDOW + 2 * GRANULE, 4711);
    qtest_writeq(qts, WINDOW + 2 * GRANULE - 8, 4712);

    commit(qts, HB_REGS, 0, false);
    program(qts, HB_REGS, 0, WINDOW, 3 * GRANULE, 0, 0);
    commit(qts, HB_REGS, 0, true);
    expect_pieces(qts, vol, part);
    g_assert_cmpuint(qtest_readq(qts, WINDOW + 2 * GRANULE), ==, 4711);
    g_assert_cmpuint(qtest_readq(qts, WINDOW + 2 * GRANULE - 8), ==, 4712);

    /* A hole in the middle */
    commit(qts, HB_REGS, 0, false);
    program(qts, HB_REGS, 0, WINDOW, GRANULE, 0, 0);
    commit(qts, HB_REGS, 0, true);
    program(qts, HB_REGS, 1, WINDOW + 3 * GRANULE, GRANULE, 0, 0);
    commit(qts, HB_REGS, 1, true);
    expect_pieces(qts, low, high);
    qtest_quit(qts);
}

/* While the media is disabled nothing is mapped */
static void test_media_disabled(void)
{
    QTestState *qts = qtest_init(TWO_CARDS);
    Regs card = port_card_init(qts, 0, 0);

    program(qts, HB_REGS, 0, WINDOW, GRANULE, 0, 0);
    program(qts, card.comp, 0, WINDOW, GRANULE, 0, 0);
    commit(qts, HB_REGS, 0, true);
    commit(qts, card.comp, 0, true);
    expect_piece(qts, WINDOW, GRANULE, "ram0", 0);
    qtest_writeq(qts, WINDOW, 4711);

    qtest_writeq(qts, card.dev + MBOX_CMD, OP_SANITIZE);
    qtest_writel(qts, card.dev + MBOX_CTRL, 1);
    expect(qts, "");
    /* Decoders that change meanwhile change nothing about that */
    commit(qts, HB_REGS, 0, false);
    commit(qts, HB_REGS, 0, true);
    expect(qts, "");
    qtest_clock_step(qts, 60 * NANOSECONDS_PER_SECOND);
    expect_piece(qts, WINDOW, GRANULE, "ram0", 0);
    g_assert_cmpuint(qtest_readq(qts, WINDOW), ==, 0);
    qtest_quit(qts);
}

/* One decoder as the test has programmed it */
typedef struct Decoder {
    uint64_t base, granules;
    unsigned target;
    bool interleaves, committed;
} Decoder;

#define MODEL_DECODERS 3
#define MODEL_GRANULES 8

/* As the ops decode: the first that contains the granule decides */
static const Decoder *find(const Decoder *dec, unsigned granule)
{
    unsigned i;

    for (i = 0; i < MODEL_DECODERS; i++) {
        if (granule >= dec[i].base &&
            granule < dec[i].base + dec[i].granules) {
            return dec[i].committed ? &dec[i] : NULL;
        }
    }
    return NULL;
}

/* -1, or the granule of the card's memory that is RAM at @granule */
static int model_granule(const Decoder *hb, const Decoder card[2][3],
                         unsigned granule, unsigned *which)
{
    const Decoder *d = find(hb, granule);
    unsigned i, dpa = 0;

    if (!d || d->interleaves) {
        return -1;
    }
    *which = d->target;
    for (i = 0; i < MODEL_DECODERS; i++) {
        d = &card[*which][i];
        /* Without a decoder the addresses of those after it are unknown */
        if (!d->committed) {
            return -1;
        }
        if (granule < d->base || granule >= d->base + d->granules) {
            dpa += d->granules / (d->interleaves ? 2 : 1);
            continue;
        }
        dpa += granule - d->base;
        return d->interleaves || dpa >= 2 ? -1 : dpa;
    }
    return -1;
}

static char *model_mappings(const Decoder *hb, const Decoder card[2][3])
{
    g_autoptr(GString) all = g_string_new(NULL);
    unsigned g, len;

    for (g = 0; g < MODEL_GRANULES; g += len) {
        unsigned which, other;
        int dpa = model_granule(hb, card, g, &which);
        g_autofree char *one = NULL;

        len = 1;
        if (dpa < 0) {
            continue;
        }
        while (g + len < MODEL_GRANULES &&
               model_granule(hb, card, g + len, &other) == dpa + (int)len &&
               other == which) {
            len++;
        }
        one = piece(WINDOW + g * GRANULE, len * GRANULE,
                    which ? "ram1" : "ram0", dpa * GRANULE);
        g_string_append_printf(all, "%s%s", all->len ? ", " : "", one);
    }
    return g_string_free(g_steal_pointer(&all), false);
}

/* Decoders are programmed, committed and uncommitted at random */
static void test_any_order(void)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(2026);
    QTestState *qts = qtest_init(TWO_CARDS);
    Regs regs[2] = { port_card_init(qts, 0, 0), port_card_init(qts, 0, 1) };
    uint64_t comp[3] = { HB_REGS, regs[0].comp, regs[1].comp };
    Decoder dec[3][MODEL_DECODERS] = { };
    unsigned step, seen = 0;

    for (step = 0; step < 500; step++) {
        unsigned who = g_rand_int_range(rand, 0, 3);
        unsigned n = g_rand_int_range(rand, 0, MODEL_DECODERS);
        Decoder *d = &dec[who][n];
        g_autofree char *want = NULL;

        if (!d->committed && g_rand_int_range(rand, 0, 3)) {
            d->base = g_rand_int_range(rand, 0, MODEL_GRANULES - 2);
            d->interleaves = !g_rand_int_range(rand, 0, 4);
            /* The model counts in granules: what is halved has two */
            d->granules = d->interleaves ? 2 : g_rand_int_range(rand, 1, 3);
            d->target = g_rand_int_range(rand, 0, 2);
            program(qts, comp[who], n, WINDOW + d->base * GRANULE,
                    d->granules * GRANULE, d->target | !d->target << 8,
                    d->interleaves);
        }
        if (d->committed ? !g_rand_int_range(rand, 0, 3) : d->granules) {
            d->committed = !d->committed;
            commit(qts, comp[who], n, d->committed);
        }
        want = model_mappings(dec[0], dec + 1);
        seen += *want != 0;
        expect(qts, want);
    }
    /* It is not that nothing ever fitted together */
    g_assert_cmpuint(seen, >, 50);
    qtest_quit(qts);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    qtest_add_func("/cxl/direct-map/several-devices", test_several_devices);
    qtest_add_func("/cxl/direct-map/several-bridges", test_several_bridges);
    qtest_add_func("/cxl/direct-map/switch-orders", test_switch_orders);
    qtest_add_func("/cxl/direct-map/interleave", test_interleave);
    qtest_add_func("/cxl/direct-map/unaligned", test_unaligned);
    qtest_add_func("/cxl/direct-map/pieces", test_pieces);
    qtest_add_func("/cxl/direct-map/media-disabled", test_media_disabled);
    qtest_add_func("/cxl/direct-map/any-order", test_any_order);
    return g_test_run();
}
