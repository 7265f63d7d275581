/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A compressing CXL memory device for qtests: how one is plugged in, its
 * mailbox, its monitor commands, and what it should make of a page
 *
 * Copyright (c) 2026 The cram authors
 */

#ifndef QTEST_CXL_COMPRESSED_CARD_H
#define QTEST_CXL_COMPRESSED_CARD_H

#include "qemu/bswap.h"
#include "qemu/units.h"
#include "libqtest.h"
#include "cxl-decoders.h"
#include "qapi/error.h"
#include "qobject/qdict.h"
#include "qobject/qjson.h"
#include "qobject/qlist.h"
#include "qobject/qnum.h"
#include "qobject/qstring.h"

#ifdef CONFIG_ZSTD
#include <zstd.h>
#endif
#ifdef CONFIG_LZ4
#include <lz4.h>
#endif

#define PAGE 4096ull
#define LOGICAL (256 * MiB)
#define METADATA (LOGICAL / PAGE * 8)

/* Device registers: mailbox */
#define MBOX 0x88
#define MBOX_CTRL (MBOX + 4)
#define MBOX_CMD (MBOX + 8)
#define MBOX_STS (MBOX + 0x10)
#define MBOX_PAYLOAD (MBOX + 0x20)

enum {
    RC_SUCCESS = 0, RC_BG_STARTED = 1, RC_INVALID_INPUT = 2,
    RC_UNSUPPORTED = 3, RC_INTERNAL_ERROR = 4, RC_MEDIA_DISABLED = 7,
    RC_INVALID_PA = 0xf, RC_INVALID_PAYLOAD_LENGTH = 0x16,
    RC_INVALID_LOG = 0x17,
};

enum {
    OP_GET_RECORDS = 0x100, OP_GET_SUPPORTED_LOGS = 0x400, OP_GET_LOG = 0x401,
    OP_INJECT_POISON = 0x4301, OP_CLEAR_POISON = 0x4302,
    OP_SANITIZE = 0x4400, OP_MEDIA = 0x4402, OP_CAPACITY = 0xc000,
    OP_GET_WM = 0xc001, OP_SET_WM = 0xc002, OP_TRIM = 0xc003,
    OP_USAGE = 0xc004,
};

static const uint8_t log_uuid[16] = {
    0xb3, 0x70, 0x2a, 0x51, 0x20, 0x82, 0x48, 0x05,
    0xaa, 0x6a, 0xd2, 0xde, 0xe4, 0x0e, 0x78, 0x95,
};

typedef struct Card {
    QTestState *qts;
    uint8_t bus;
    const char *id;
    uint64_t comp, dev, msix;
    /* Where the card's memory is to be seen */
    uint64_t hpa;
    uint8_t out[2048];
    size_t out_len;
} Card;

#define MACHINE \
    "-machine q35,cxl=on,cxl-fmw.0.targets.0=cxl.0,cxl-fmw.0.size=4G " \
    "-m 64M -nodefaults " \
    "-device pxb-cxl,id=cxl.0,bus=pcie.0,bus_nr=52,hdm_for_passthrough=on " \
    "-device cxl-rp,id=rp0,bus=cxl.0,chassis=0,slot=0,port=0,addr=0 " \
    "-device cxl-rp,id=rp1,bus=cxl.0,chassis=0,slot=1,port=1,addr=1 "

/* Nothing settles unless asked to: what a test sees does not hang on time */
#define MEM0(size, opts) \
    "-object memory-backend-ram,id=ram0,size=" size " " \
    "-device cxl-type3-compressed,bus=rp0,volatile-memdev=ram0,id=mem0," \
    "settle-ms=3600000,report-ms=1000," opts " "
#define MEM1(size, opts) \
    "-object memory-backend-ram,id=ram1,size=" size " " \
    "-device cxl-type3-compressed,bus=rp1,volatile-memdev=ram1,id=mem1," \
    "settle-ms=3600000,report-ms=1000," opts " "

static inline uint8_t find_cap(QTestState *qts, uint8_t bus, uint8_t devfn,
                               uint8_t id)
{
    uint8_t cap = config_read(qts, bus, devfn, 0x34);
    uint32_t hdr;

    while ((hdr = config_read(qts, bus, devfn, cap)) % 256 != id) {
        cap = hdr >> 8 & 0xff;
        g_assert(cap);
    }
    return cap;
}

/* What firmware would do for root port @port and the device below it */
static inline void card_init(Card *card, QTestState *qts, unsigned port)
{
    Regs regs = port_card_init(qts, 0, port);

    memset(card, 0, sizeof(*card));
    card->qts = qts;
    card->bus = HB_BUS(0) + 1 + port;
    card->id = port ? "mem1" : "mem0";
    card->hpa = WINDOW + port * GiB;
    card->comp = regs.comp;
    card->dev = regs.dev;
    /* The third BAR: vectors */
    card->msix = regs.dev + 0x100000;
    config_write(qts, card->bus, 0, 0x20, card->msix);
    config_write(qts, card->bus, 0, 0x24, 0);
}

/* Make the card's first 256 MiB visible at card->hpa */
static inline void card_map(Card *card)
{
    unsigned port = card->bus - HB_BUS(0) - 1;

    program(card->qts, HB_REGS, port, card->hpa, LOGICAL, port, 0);
    program(card->qts, card->comp, 0, card->hpa, LOGICAL, 0, 0);
    commit(card->qts, card->comp, 0, true);
    commit(card->qts, HB_REGS, port, true);
}

/* How many direct mappings there are; each shows in several trees */
static inline int aliases(QTestState *qts)
{
    g_autofree char *mtree = qtest_hmp(qts, "info mtree");
    g_auto(GStrv) lines = g_strsplit(mtree, "\n", -1);
    g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);
    int i;

    for (i = 0; lines[i]; i++) {
        if (strstr(lines[i], "alias cxl-direct-mapping")) {
            g_hash_table_add(seen, g_strstrip(lines[i]));
        }
    }
    return g_hash_table_size(seen);
}

static inline void card_start(Card *card, const char *args)
{
    card_init(card, qtest_init(args), 0);
    card_map(card);
    g_assert_cmpint(aliases(card->qts), ==, 1);
}

static inline void mbox_begin(Card *card, uint16_t opcode, const void *in,
                              size_t len)
{
    if (len) {
        qtest_memwrite(card->qts, card->dev + MBOX_PAYLOAD, in,
                       MIN(len, sizeof(card->out)));
    }
    qtest_writeq(card->qts, card->dev + MBOX_CMD, opcode | (uint64_t)len << 16);
    qtest_writel(card->qts, card->dev + MBOX_CTRL, 1);
}

static inline bool mbox_busy(Card *card)
{
    return qtest_readl(card->qts, card->dev + MBOX_CTRL) & 1;
}

static inline unsigned mbox_end(Card *card)
{
    int64_t give_up = g_get_monotonic_time() + 60 * G_TIME_SPAN_SECOND;

    while (mbox_busy(card)) {
        g_assert_cmpint(g_get_monotonic_time(), <, give_up);
        g_usleep(200);
    }
    card->out_len = qtest_readq(card->qts, card->dev + MBOX_CMD) >> 16 &
                    0xfffff;
    g_assert_cmpuint(card->out_len, <=, sizeof(card->out));
    if (card->out_len) {
        qtest_memread(card->qts, card->dev + MBOX_PAYLOAD, card->out,
                      card->out_len);
    }
    return qtest_readq(card->qts, card->dev + MBOX_STS) >> 32 & 0xffff;
}

static inline unsigned mbox(Card *card, uint16_t opcode, const void *in,
                            size_t len)
{
    mbox_begin(card, opcode, in, len);
    return mbox_end(card);
}

/* Fields of the capacity report */
enum {
    R_FLAGS = 0x04, R_GENERATION = 0x08, R_LOGICAL = 0x10, R_PHYSICAL = 0x18,
    R_METADATA = 0x20, R_USABLE = 0x28, R_STORED = 0x30, R_UNSETTLED = 0x38,
    R_WORST = 0x40, R_UNIT = 0x44, R_LAG = 0x48, R_STEP = 0x50, R_PEAK = 0x58,
    R_OVER = 0x60, R_TARGET = 0x68, R_LOW = 0x70, R_HIGH = 0x78,
    R_MAX_TRIM = 0x80, R_EXCESS = 0x88, R_HISTOGRAM = 0x90, R_ALGORITHM = 0xd8,
    R_EXCUSED = 0xe0, R_TAG = 0xe8,
};

static inline uint64_t report(Card *card, unsigned field)
{
    g_assert_cmpuint(mbox(card, OP_CAPACITY, NULL, 0), ==, RC_SUCCESS);
    g_assert_cmpuint(card->out_len, ==, 256);
    g_assert_cmpuint(lduw_le_p(card->out), ==, 1);
    g_assert_cmpuint(lduw_le_p(card->out + 2), ==, 256);
    return ldq_le_p(card->out + field);
}

/* Get a report, accepting what that of @generation announced */
static inline uint64_t accept_report(Card *card, uint64_t generation,
                                     unsigned field)
{
    uint8_t in[16] = { };

    stq_le_p(in + 8, generation);
    g_assert_cmpuint(mbox(card, OP_CAPACITY, in, 16), ==, RC_SUCCESS);
    return ldq_le_p(card->out + field);
}

static inline uint64_t field(Card *card, unsigned field)
{
    return ldq_le_p(card->out + field);
}

static inline QDict *query(Card *card)
{
    return qtest_qmp_assert_success_ref(card->qts,
        "{'execute': 'x-cxl-query-compression',"
        " 'arguments': {'path': %s}}", card->id);
}

static inline uint64_t query_u64(Card *card, const char *key)
{
    QDict *info = query(card);
    uint64_t val = qdict_get_int(info, key);

    qobject_unref(info);
    return val;
}

static inline void set_fault(Card *card, const char *fault, bool on)
{
    qtest_qmp_assert_success(card->qts,
        "{'execute': 'x-cxl-set-compression-fault',"
        " 'arguments': {'path': %s, 'fault': %s, 'enable': %i}}",
        card->id, fault, on);
}

static inline void set_fault_delay(Card *card, const char *fault, int ms)
{
    qtest_qmp_assert_success(card->qts,
        "{'execute': 'x-cxl-set-compression-fault',"
        " 'arguments': {'path': %s, 'fault': %s, 'enable': true,"
        " 'delay-ms': %d}}", card->id, fault, ms);
}

static inline void expect_error(QTestState *qts, QDict *rsp, const char *part)
{
    QDict *error;

    g_assert(qdict_haskey(rsp, "error"));
    error = qdict_get_qdict(rsp, "error");
    if (!strstr(qdict_get_str(error, "desc"), part)) {
        g_test_message("error: %s", qdict_get_str(error, "desc"));
        g_assert_not_reached();
    }
    qobject_unref(rsp);
}

/* Page contents: @n of 4096 bytes random, the rest one value */
static inline void make_page(uint8_t *page, GRand *rand, unsigned n,
                             uint8_t rest)
{
    unsigned i;

    memset(page, rest, PAGE);
    for (i = 0; i < n; i++) {
        page[i] = g_rand_int(rand);
    }
}

static inline void write_page(Card *card, uint64_t n, const uint8_t *page)
{
    qtest_bufwrite(card->qts, card->hpa + n * PAGE, page, PAGE);
}

static inline void write_random(Card *card, uint64_t first, uint64_t n,
                                GRand *rand)
{
    uint8_t page[PAGE];
    uint64_t i;

    for (i = 0; i < n; i++) {
        make_page(page, rand, PAGE, 0);
        write_page(card, first + i, page);
    }
}

/* The mailbox command for one range each of @op's two forms */
static inline unsigned release(Card *card, uint16_t op, uint64_t dpa,
                               uint64_t len)
{
    uint8_t in[24] = { 0 };

    if (op == OP_MEDIA) {
        in[0] = 1;
        in[1] = 1;
        stl_le_p(in + 4, 1);
    } else {
        stl_le_p(in, 1);
    }
    stq_le_p(in + 8, dpa);
    stq_le_p(in + 16, len);
    return mbox(card, op, in, sizeof(in));
}

/* Independent of the device's code: the libraries' one-shot interfaces */
static inline uint64_t expected_bytes(const char *algorithm, unsigned unit,
                                      const uint8_t *page)
{
    static const uint8_t zero[PAGE];
    char out[3 * PAGE];
    size_t n = 0;

    if (!memcmp(page, zero, PAGE)) {
        return 0;
    }
#ifdef CONFIG_ZSTD
    if (g_str_equal(algorithm, "zstd")) {
        n = ZSTD_compress(out, sizeof(out), page, PAGE, 1);
        g_assert(!ZSTD_isError(n));
    }
#endif
#ifdef CONFIG_LZ4
    if (g_str_equal(algorithm, "lz4")) {
        int rc = LZ4_compress_fast((const char *)page, out, PAGE, sizeof(out),
                                   1);

        g_assert_cmpint(rc, >, 0);
        n = rc;
    }
#endif
    g_assert_cmpuint(n, >, 0);
    n = (n + unit - 1) / unit * unit;
    return n > PAGE ? PAGE : n;
}

/* Slot control: power controller and power indicator on or off */
static inline void slot_power(QTestState *qts, unsigned port, bool on)
{
    uint8_t cap = find_cap(qts, HB_BUS(0), port << 3, 0x10);

    qtest_outl(qts, 0xcf8, config_addr(HB_BUS(0), port << 3, cap + 0x18));
    qtest_outw(qts, 0xcfc, on ? 0x0100 : 0x0700);
}

static inline QDict *plug(QTestState *qts, const char *json)
{
    return qtest_qmp(qts, "{'execute': 'device_add', 'arguments': %p}",
                     qobject_from_json(json, &error_abort));
}

#endif
