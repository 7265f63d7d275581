/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * QTest testcase for the compressing CXL memory device
 *
 * Copyright (c) 2026 The cram authors
 */

#include "qemu/osdep.h"
#include "cxl-compressed-card.h"

static const uint8_t cel_uuid[16] = {
    0x0d, 0xa9, 0xc0, 0xb5, 0xbf, 0x41, 0x4b, 0x78,
    0x8f, 0x79, 0x96, 0xb1, 0x62, 0x3b, 0x3f, 0x17,
};

static void test_exact_bytes(const void *data)
{
    const char *algorithm = data;
    static const unsigned units[] = { 1, 64, 512, 4096 };
    unsigned u;

    for (u = 0; u < ARRAY_SIZE(units); u++) {
        g_autofree char *args = g_strdup_printf(MACHINE MEM0("256M",
            "physical-size=64M,algorithm=%s,unit=%u"), algorithm, units[u]);
        g_autoptr(GRand) rand = g_rand_new_with_seed(2026 + u);
        uint64_t want = 0, histogram[9] = { 0 };
        uint8_t page[PAGE];
        Card card;
        int i, n = 0;

        card_start(&card, args);
        for (i = 0; i < 400; i++) {
            uint64_t bytes;
            int kind = i % 5, k;

            memset(page, 0, PAGE);
            switch (kind) {
            case 0: /* from compressible to not at all */
                make_page(page, rand, g_rand_int_range(rand, 0, PAGE + 1), 7);
                break;
            case 1: /* small alphabet */
                for (k = 0; k < PAGE; k++) {
                    page[k] = "the quick brown fox"[g_rand_int_range(rand, 0,
                                                                     19)];
                }
                break;
            case 2: /* one byte somewhere */
                page[g_rand_int_range(rand, 0, PAGE)] = 1;
                break;
            case 3: /* nothing */
                break;
            case 4: /* repeats at a distance */
                make_page(page, rand, 512, 0);
                for (k = 512; k < PAGE; k++) {
                    page[k] = page[k - 512] ^ (k % 97 == 0);
                }
                break;
            }
            write_page(&card, 3 * i, page);
            bytes = expected_bytes(algorithm, units[u], page);
            want += bytes;
            histogram[(bytes + 511) / 512]++;
            n++;
        }
        histogram[0] += LOGICAL / PAGE - n;

        g_assert_cmpuint(report(&card, R_STORED), ==, want);
        g_assert_cmpuint(field(&card, R_UNSETTLED), ==, 0);
        g_assert_cmpuint(ldl_le_p(card.out + R_UNIT), ==, units[u]);
        for (i = 0; i < 9; i++) {
            g_assert_cmpuint(field(&card, R_HISTOGRAM + 8 * i), ==,
                             histogram[i]);
        }
        g_assert_cmpuint(query_u64(&card, "stored"), ==, want);

        /* Writing zeros gives everything back */
        memset(page, 0, PAGE);
        for (i = 0; i < 400; i++) {
            write_page(&card, 3 * i, page);
        }
        g_assert_cmpuint(report(&card, R_STORED), ==, 0);
        qtest_quit(card.qts);
    }
}

static void test_report_fields(void)
{
    Card card;
    uint64_t gen;

    card_start(&card, MACHINE MEM0("256M", "physical-size=64M,"
                                   "low-watermark=4M,high-watermark=8M"));
    gen = report(&card, R_GENERATION);
    g_assert_cmpuint(ldl_le_p(card.out + R_FLAGS), ==, 0);
    g_assert_cmpuint(field(&card, R_LOGICAL), ==, LOGICAL);
    g_assert_cmpuint(field(&card, R_PHYSICAL), ==, 64 * MiB);
    g_assert_cmpuint(field(&card, R_METADATA), ==, METADATA);
    g_assert_cmpuint(field(&card, R_USABLE), ==, 64 * MiB - METADATA);
    g_assert_cmpuint(field(&card, R_STORED), ==, 0);
    g_assert_cmpuint(ldl_le_p(card.out + R_WORST), ==, PAGE);
    g_assert_cmpuint(ldl_le_p(card.out + R_UNIT), ==, 64);
    g_assert_cmpuint(field(&card, R_LAG), ==, 0);
    g_assert_cmpuint(field(&card, R_STEP), ==, PAGE);
    g_assert_cmpuint(field(&card, R_PEAK), ==, 0);
    g_assert_cmpuint(field(&card, R_OVER), ==, 0);
    g_assert_cmpuint(field(&card, R_TARGET), ==, 64 * MiB);
    g_assert_cmpuint(field(&card, R_LOW), ==, 4 * MiB);
    g_assert_cmpuint(field(&card, R_HIGH), ==, 8 * MiB);
    g_assert_cmpuint(field(&card, R_MAX_TRIM), ==, 4 * GiB);
    g_assert_cmpuint(card.out[R_ALGORITHM], ==, 1);
    g_assert_cmpuint(report(&card, R_GENERATION), ==, gen + 1);
    g_assert_cmpuint(query_u64(&card, "generation"), ==, gen + 1);
    qtest_quit(card.qts);
}

static void test_log(void)
{
    uint8_t in[24] = { 0 }, block[256];
    bool seen[5] = { false };
    Card card;
    size_t i;
    uint64_t gen;

    card_start(&card, MACHINE MEM0("256M", "physical-size=64M"));

    g_assert_cmpuint(mbox(&card, OP_GET_SUPPORTED_LOGS, NULL, 0), ==, 0);
    g_assert_cmpuint(card.out_len, ==, 8 + 2 * 20);
    g_assert_cmpuint(lduw_le_p(card.out), ==, 2);
    g_assert(!memcmp(card.out + 8, cel_uuid, 16));
    g_assert(!memcmp(card.out + 28, log_uuid, 16));
    g_assert_cmpuint(ldl_le_p(card.out + 44), ==, 256);

    /* The effects log names the commands; read it in two parts */
    memcpy(in, cel_uuid, 16);
    stl_le_p(in + 20, ldl_le_p(card.out + 24));
    g_assert_cmpuint(mbox(&card, OP_GET_LOG, in, 24), ==, RC_SUCCESS);
    for (i = 0; i < card.out_len; i += 4) {
        uint16_t opcode = lduw_le_p(card.out + i);

        if (opcode >> 8 == 0xc0) {
            seen[opcode & 0xff] = true;
        }
    }
    for (i = 0; i < ARRAY_SIZE(seen); i++) {
        g_assert(seen[i]);
    }
    memcpy(block, card.out, 8);
    stl_le_p(in + 16, 4);
    stl_le_p(in + 20, 4);
    g_assert_cmpuint(mbox(&card, OP_GET_LOG, in, 24), ==, RC_SUCCESS);
    g_assert(!memcmp(card.out, block + 4, 4));

    gen = report(&card, R_GENERATION);
    memcpy(block, card.out, 256);
    memcpy(in, log_uuid, 16);
    stl_le_p(in + 16, 0);
    stl_le_p(in + 20, 256);
    g_assert_cmpuint(mbox(&card, OP_GET_LOG, in, 24), ==, RC_SUCCESS);
    g_assert_cmpuint(card.out_len, ==, 256);
    g_assert_cmpuint(field(&card, R_GENERATION), ==, gen + 1);
    stq_le_p(block + R_GENERATION, gen + 1);
    g_assert(!memcmp(card.out, block, 256));

    /* A part of it is the beginning; read in pieces it would be torn */
    stl_le_p(in + 20, 16);
    g_assert_cmpuint(mbox(&card, OP_GET_LOG, in, 24), ==, RC_SUCCESS);
    g_assert_cmpuint(card.out_len, ==, 16);
    g_assert_cmpuint(field(&card, R_GENERATION), ==, gen + 2);
    stl_le_p(in + 16, 8);
    stl_le_p(in + 20, 8);
    g_assert_cmpuint(mbox(&card, OP_GET_LOG, in, 24), ==, RC_INVALID_INPUT);
    g_assert_cmpuint(query_u64(&card, "generation"), ==, gen + 2);
    stl_le_p(in + 16, 0xffffffff);
    g_assert_cmpuint(mbox(&card, OP_GET_LOG, in, 24), ==, RC_INVALID_INPUT);
    stl_le_p(in + 16, 0);
    stl_le_p(in + 20, 4096);
    g_assert_cmpuint(mbox(&card, OP_GET_LOG, in, 24), ==, RC_INVALID_INPUT);
    in[3] ^= 1;
    stl_le_p(in + 20, 256);
    g_assert_cmpuint(mbox(&card, OP_GET_LOG, in, 24), ==, RC_INVALID_LOG);
    g_assert_cmpuint(mbox(&card, OP_GET_LOG, in, 23), ==,
                     RC_INVALID_PAYLOAD_LENGTH);
    qtest_quit(card.qts);
}

/* 8 MiB of which 512 KiB are metadata: room for 1920 random pages */
#define SMALL_ROOM ((8 * MiB - METADATA) / PAGE)

/* Events are a second apart; the clock is ours */
static QDict *next_event(Card *card, const char *name)
{
    qtest_clock_step(card->qts, 1000 * 1000 * 1000);
    return qtest_qmp_eventwait_ref(card->qts, name);
}

static void test_overrun(void)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(1);
    uint8_t page[PAGE], seen[PAGE];
    uint64_t first_lost = SMALL_ROOM, i;
    QDict *event, *data;
    Card card;

    card_start(&card, MACHINE MEM0("256M", "physical-size=8M"));

    write_random(&card, 0, SMALL_ROOM, rand);
    g_assert_cmpuint(report(&card, R_STORED), ==, SMALL_ROOM * PAGE);
    g_assert_cmpuint(field(&card, R_OVER), ==, 0);
    g_assert_cmpuint(field(&card, R_PEAK), ==, SMALL_ROOM * PAGE);
    g_assert_cmpuint(field(&card, R_EXCESS), ==, 0);

    /* 37 more do not fit, a zero page among them does */
    write_random(&card, first_lost, 20, rand);
    memset(page, 0, PAGE);
    write_page(&card, first_lost + 20, page);
    write_random(&card, first_lost + 21, 17, rand);
    g_assert_cmpuint(report(&card, R_OVER), ==, 37);
    g_assert_cmpuint(field(&card, R_STORED), ==, SMALL_ROOM * PAGE);
    g_assert_cmpuint(field(&card, R_PEAK), ==, (SMALL_ROOM + 38) * PAGE);
    g_assert_cmpuint(field(&card, R_EXCESS), ==, 38 * PAGE);

    event = next_event(&card, "CXL_COMPRESSION_OVERRUN");
    data = qdict_get_qdict(event, "data");
    g_assert_cmpuint(qdict_get_int(data, "dpa"), ==, first_lost * PAGE);
    g_assert_cmpuint(qdict_get_int(data, "pages"), ==, 37);
    qobject_unref(event);

    /* A record in the failure log: general media event at that address */
    page[0] = 2;
    g_assert_cmpuint(mbox(&card, OP_GET_RECORDS, page, 1), ==, RC_SUCCESS);
    g_assert_cmpuint(lduw_le_p(card.out + 20), ==, 1);
    g_assert_cmpuint(ldq_le_p(card.out + 32 + 48), ==,
                     (first_lost * PAGE) | 1);

    /* The data are gone, and can be seen to be */
    for (i = 0; i < 20; i++) {
        qtest_memread(card.qts, card.hpa + (first_lost + i) * PAGE, seen, PAGE);
        g_assert(!memcmp(seen, "LOST TO ", 8));
    }

    /* Lost again counts once; lost anew after it was stored counts again */
    write_random(&card, first_lost, 1, rand);
    g_assert_cmpuint(report(&card, R_OVER), ==, 37);
    memset(page, 0, PAGE);
    write_page(&card, first_lost, page);
    g_assert_cmpuint(report(&card, R_OVER), ==, 37);
    write_random(&card, first_lost, 1, rand);
    g_assert_cmpuint(report(&card, R_OVER), ==, 38);

    /* Room again: what is written is kept */
    g_assert_cmpuint(release(&card, OP_TRIM, 0, PAGE), ==, RC_SUCCESS);
    make_page(page, rand, PAGE, 0);
    write_page(&card, first_lost, page);
    g_assert_cmpuint(report(&card, R_OVER), ==, 38);
    g_assert_cmpuint(field(&card, R_STORED), ==, SMALL_ROOM * PAGE);
    qtest_memread(card.qts, card.hpa + first_lost * PAGE, seen, PAGE);
    g_assert(!memcmp(seen, page, PAGE));
    qtest_quit(card.qts);
}

static void test_peak_exposure(void)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(2);
    uint8_t page[PAGE];
    uint64_t i, per_page;
    Card card;

    card_start(&card, MACHINE MEM0("256M", "physical-size=8M"));

    /*
     * Twice as many pages as there is room for while nobody looks, then
     * zeros in their place: a look at what is stored finds nothing.
     */
    write_random(&card, 0, 2 * SMALL_ROOM, rand);
    memset(page, 0, PAGE);
    for (i = 0; i < 2 * SMALL_ROOM; i++) {
        write_page(&card, i, page);
    }
    g_assert_cmpuint(report(&card, R_STORED), ==, 0);
    g_assert_cmpuint(field(&card, R_OVER), ==, 0);
    g_assert_cmpuint(field(&card, R_PEAK), ==, 2 * SMALL_ROOM * PAGE);
    g_assert_cmpuint(field(&card, R_EXCESS), ==, SMALL_ROOM * PAGE);

    /* The old copy of a page counts until the new one is settled */
    make_page(page, rand, 1024, 0);
    for (i = 0; i < SMALL_ROOM; i++) {
        write_page(&card, i, page);
    }
    per_page = report(&card, R_STORED) / SMALL_ROOM;
    g_assert_cmpuint(per_page, >, 0);
    for (i = 0; i < 2 * SMALL_ROOM; i++) {
        write_page(&card, i, page);
    }
    g_assert_cmpuint(report(&card, R_PEAK), ==,
                     SMALL_ROOM * per_page + 2 * SMALL_ROOM * PAGE);
    qtest_quit(card.qts);
}

/* What is written while nobody asks is looked at as one */
static void test_looks_when_asked(void)
{
    Card card;
    int i, j;

    card_start(&card, MACHINE MEM0("256M", "physical-size=8M"));
    for (i = 1; i <= 200; i++) {
        g_assert_cmpuint(query_u64(&card, "stored"), ==, 0);
        for (j = 0; j < i; j++) {
            qtest_memset(card.qts, card.hpa + j * PAGE, 0, 8);
        }
        g_assert_cmpuint(query_u64(&card, "peak-exposure"), ==, i * PAGE);
    }
    qtest_quit(card.qts);
}

/* The card's vector @n writes @data to RAM at @addr */
static void msix_arm(Card *card, unsigned n, uint64_t addr, uint32_t data)
{
    qtest_writel(card->qts, addr, 0);
    qtest_writel(card->qts, card->msix + 16 * n, addr);
    qtest_writel(card->qts, card->msix + 16 * n + 4, addr >> 32);
    qtest_writel(card->qts, card->msix + 16 * n + 8, data);
    qtest_writel(card->qts, card->msix + 16 * n + 12, 0);
}

static bool msix_fired(Card *card, uint64_t addr)
{
    bool fired = qtest_readl(card->qts, addr);

    qtest_writel(card->qts, addr, 0);
    return fired;
}

static void msix_on(Card *card)
{
    uint8_t cap = find_cap(card->qts, card->bus, 0, 0x11);
    uint32_t hdr = config_read(card->qts, card->bus, 0, cap);

    g_assert_cmpuint((hdr >> 16 & 0x7ff) + 1, ==, 14);
    config_write(card->qts, card->bus, 0, cap, hdr | 0x80000000);
}

static void test_watermarks(void)
{
    const uint64_t low_at = 0x100000, high_at = 0x100040;
    g_autoptr(GRand) rand = g_rand_new_with_seed(3);
    QDict *event, *data;
    uint8_t wm[16];
    Card card;

    /* Low below 400 free pages, high from 800 on; 1920 in all */
    card_start(&card, MACHINE MEM0("256M", "physical-size=8M,"
                                   "low-watermark=1600k,"
                                   "high-watermark=3200k"));
    msix_on(&card);
    msix_arm(&card, 12, low_at, 0x4c);
    msix_arm(&card, 13, high_at, 0x48);

    write_random(&card, 0, 1520, rand);
    report(&card, R_STORED);
    g_assert(!msix_fired(&card, low_at) && !msix_fired(&card, high_at));
    write_random(&card, 1520, 1, rand);
    g_assert_cmpuint(report(&card, R_FLAGS) & 1, ==, 1);
    g_assert(msix_fired(&card, low_at) && !msix_fired(&card, high_at));
    event = next_event(&card, "CXL_COMPRESSION_WATERMARK");
    data = qdict_get_qdict(event, "data");
    g_assert_cmpstr(qdict_get_str(data, "watermark"), ==, "low");
    g_assert_cmpuint(qdict_get_int(data, "stored"), ==, 1521 * PAGE);
    qobject_unref(event);

    /* Between the two nothing happens, in either direction */
    release(&card, OP_TRIM, 0, 400 * PAGE);
    g_assert(!msix_fired(&card, low_at) && !msix_fired(&card, high_at));
    write_random(&card, 0, 400, rand);
    report(&card, R_STORED);
    g_assert(!msix_fired(&card, low_at) && !msix_fired(&card, high_at));
    release(&card, OP_TRIM, 0, 401 * PAGE);
    g_assert(!msix_fired(&card, low_at) && msix_fired(&card, high_at));
    event = next_event(&card, "CXL_COMPRESSION_WATERMARK");
    data = qdict_get_qdict(event, "data");
    g_assert_cmpstr(qdict_get_str(data, "watermark"), ==, "high");
    qobject_unref(event);

    /* The watermark comes before the overrun it warns of */
    write_random(&card, 0, 401, rand);
    write_random(&card, 1521, 500, rand);
    report(&card, R_STORED);
    g_assert_cmpuint(field(&card, R_OVER), ==, 101);
    event = next_event(&card, "CXL_COMPRESSION_WATERMARK");
    qobject_unref(event);
    event = next_event(&card, "CXL_COMPRESSION_OVERRUN");
    qobject_unref(event);
    g_assert(msix_fired(&card, low_at));

    /* Set by the host; setting looks at once */
    stq_le_p(wm, 0);
    stq_le_p(wm + 8, 0);
    g_assert_cmpuint(mbox(&card, OP_SET_WM, wm, 16), ==, RC_SUCCESS);
    g_assert(msix_fired(&card, high_at));
    stq_le_p(wm, PAGE);
    stq_le_p(wm + 8, 2 * PAGE);
    g_assert_cmpuint(mbox(&card, OP_SET_WM, wm, 16), ==, RC_SUCCESS);
    g_assert(msix_fired(&card, low_at));
    g_assert_cmpuint(mbox(&card, OP_GET_WM, NULL, 0), ==, RC_SUCCESS);
    g_assert_cmpuint(card.out_len, ==, 16);
    g_assert(!memcmp(card.out, wm, 16));
    g_assert_cmpuint(query_u64(&card, "low-watermark-interrupts"), ==, 3);
    g_assert_cmpuint(query_u64(&card, "high-watermark-interrupts"), ==, 2);

    /* By hand */
    qtest_qmp_assert_success(card.qts,
        "{'execute': 'x-cxl-inject-watermark',"
        " 'arguments': {'path': 'mem0', 'watermark': 'high'}}");
    g_assert(!msix_fired(&card, low_at) && msix_fired(&card, high_at));
    qtest_qmp_assert_success(card.qts,
        "{'execute': 'x-cxl-inject-watermark',"
        " 'arguments': {'path': 'mem0', 'watermark': 'low'}}");
    g_assert(msix_fired(&card, low_at) && !msix_fired(&card, high_at));

    /* A reset brings the properties back */
    qtest_system_reset(card.qts);
    card_init(&card, card.qts, 0);
    g_assert_cmpuint(mbox(&card, OP_GET_WM, NULL, 0), ==, RC_SUCCESS);
    g_assert_cmpuint(ldq_le_p(card.out), ==, 1600 * KiB);
    qtest_quit(card.qts);
}

static void check_zero(Card *card, uint64_t first, uint64_t n)
{
    uint8_t page[PAGE];
    static const uint8_t zero[PAGE];
    uint64_t i;

    for (i = 0; i < n; i++) {
        qtest_memread(card->qts, card->hpa + (first + i) * PAGE, page, PAGE);
        g_assert(!memcmp(page, zero, PAGE));
    }
}

static void test_trim(void)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(4);
    uint8_t in[8 + 127 * 16] = { 0 };
    Card card;
    int i;

    card_start(&card, MACHINE MEM0("256M", "physical-size=64M"));

    /* Settled and not yet settled pages alike */
    write_random(&card, 0, 16, rand);
    g_assert_cmpuint(report(&card, R_STORED), ==, 16 * PAGE);
    write_random(&card, 16, 16, rand);
    g_assert_cmpuint(release(&card, OP_TRIM, 8 * PAGE, 16 * PAGE), ==, 0);
    g_assert_cmpuint(card.out_len, ==, 0);
    check_zero(&card, 8, 16);
    g_assert_cmpuint(report(&card, R_STORED), ==, 16 * PAGE);
    g_assert_cmpuint(field(&card, R_PEAK), ==, 32 * PAGE);

    /* The standard's command does the same; so does its first form */
    g_assert_cmpuint(release(&card, OP_MEDIA, 0, 4 * PAGE), ==, 0);
    check_zero(&card, 0, 4);
    g_assert_cmpuint(report(&card, R_STORED), ==, 12 * PAGE);
    in[0] = 1;
    stl_le_p(in + 4, 1);
    stq_le_p(in + 8, 4 * PAGE);
    stq_le_p(in + 16, 4 * PAGE);
    g_assert_cmpuint(mbox(&card, OP_MEDIA, in, 24), ==, RC_SUCCESS);
    check_zero(&card, 4, 4);
    g_assert_cmpuint(report(&card, R_STORED), ==, 8 * PAGE);

    /* As many ranges as fit, overlapping too */
    write_random(&card, 0, 256, rand);
    memset(in, 0, sizeof(in));
    stl_le_p(in, 127);
    for (i = 0; i < 127; i++) {
        stq_le_p(in + 8 + 16 * i, 2 * i * PAGE);
        stq_le_p(in + 16 + 16 * i, i == 5 ? 2 * PAGE : PAGE);
    }
    stq_le_p(in + 8 + 16 * 6, 11 * PAGE);
    g_assert_cmpuint(mbox(&card, OP_TRIM, in, sizeof(in)), ==, RC_SUCCESS);
    g_assert_cmpuint(report(&card, R_STORED), ==, (256 - 127) * PAGE);
    check_zero(&card, 10, 2);

    /* All of it */
    g_assert_cmpuint(release(&card, OP_TRIM, 0, LOGICAL), ==, RC_SUCCESS);
    g_assert_cmpuint(report(&card, R_STORED), ==, 0);
    check_zero(&card, 0, 256);

    /* Written after a trim: there to stay */
    write_random(&card, 3, 1, rand);
    g_assert_cmpuint(report(&card, R_STORED), ==, PAGE);
    qtest_quit(card.qts);
}

static void test_media_discovery(void)
{
    static const uint8_t ops[] = { 0, 0, 1, 0, 1, 1 };
    uint8_t in[12] = { 0 };
    Card card;

    card_start(&card, MACHINE MEM0("256M", "physical-size=64M"));
    stw_le_p(in + 10, 16);
    g_assert_cmpuint(mbox(&card, OP_MEDIA, in, 12), ==, RC_SUCCESS);
    g_assert_cmpuint(card.out_len, ==, 12 + 6);
    g_assert_cmpuint(ldq_le_p(card.out), ==, PAGE);
    g_assert_cmpuint(lduw_le_p(card.out + 8), ==, 3);
    g_assert_cmpuint(lduw_le_p(card.out + 10), ==, 3);
    g_assert(!memcmp(card.out + 12, ops, 6));
    stw_le_p(in + 8, 2);
    g_assert_cmpuint(mbox(&card, OP_MEDIA, in, 12), ==, RC_SUCCESS);
    g_assert_cmpuint(lduw_le_p(card.out + 10), ==, 1);
    g_assert(!memcmp(card.out + 12, ops + 4, 2));

    /* Zero ranges: a probe, successful and without effect */
    memset(in, 0, sizeof(in));
    in[0] = 1;
    in[1] = 1;
    g_assert_cmpuint(mbox(&card, OP_MEDIA, in, 8), ==, RC_SUCCESS);
    qtest_quit(card.qts);
}

static void test_malformed(void)
{
    static const struct {
        uint16_t op;
        unsigned rc;
        size_t len;
        uint64_t q[5];
    } bad[] = {
        /* Length */
        { OP_CAPACITY, RC_INVALID_PAYLOAD_LENGTH, 1 },
        { OP_GET_WM, RC_INVALID_PAYLOAD_LENGTH, 8 },
        { OP_SET_WM, RC_INVALID_PAYLOAD_LENGTH, 0 },
        { OP_SET_WM, RC_INVALID_PAYLOAD_LENGTH, 15 },
        { OP_SET_WM, RC_INVALID_PAYLOAD_LENGTH, 17 },
        { OP_USAGE, RC_INVALID_PAYLOAD_LENGTH, 8 },
        { OP_USAGE, RC_INVALID_PAYLOAD_LENGTH, 24, { 0, PAGE } },
        { OP_TRIM, RC_INVALID_PAYLOAD_LENGTH, 0 },
        { OP_TRIM, RC_INVALID_PAYLOAD_LENGTH, 7 },
        { OP_TRIM, RC_INVALID_PAYLOAD_LENGTH, 8, { 1 } },
        { OP_TRIM, RC_INVALID_PAYLOAD_LENGTH, 24, { 2, 0, PAGE } },
        { OP_TRIM, RC_INVALID_PAYLOAD_LENGTH, 24, { 0, 0, PAGE } },
        { OP_TRIM, RC_INVALID_PAYLOAD_LENGTH, 23, { 1, 0, PAGE } },
        { OP_TRIM, RC_INVALID_PAYLOAD_LENGTH, 4096, { 1, 0, PAGE } },
        { OP_TRIM, RC_INVALID_PAYLOAD_LENGTH, 0xfffff, { 1, 0, PAGE } },
        { OP_MEDIA, RC_INVALID_PAYLOAD_LENGTH, 0 },
        { OP_MEDIA, RC_INVALID_PAYLOAD_LENGTH, 7 },
        { OP_MEDIA, RC_INVALID_PAYLOAD_LENGTH, 8 },
        { OP_MEDIA, RC_INVALID_PAYLOAD_LENGTH, 8, { 0x100000101 } },
        { OP_MEDIA, RC_INVALID_PAYLOAD_LENGTH, 40,
          { 0x100000101, 0, PAGE, PAGE, PAGE } },
        /* Fields */
        { OP_SET_WM, RC_INVALID_INPUT, 16, { 2 * PAGE, PAGE } },
        { OP_SET_WM, RC_INVALID_INPUT, 16, { 0, 64 * MiB - METADATA + 1 } },
        { OP_SET_WM, RC_INVALID_INPUT, 16, { -1ull, -1ull } },
        { OP_USAGE, RC_INVALID_INPUT, 16, { 0, 0 } },
        { OP_USAGE, RC_INVALID_INPUT, 16, { 1, PAGE } },
        { OP_USAGE, RC_INVALID_INPUT, 16, { 0, PAGE + 1 } },
        { OP_TRIM, RC_INVALID_INPUT, 8, { 128 } },
        { OP_TRIM, RC_INVALID_INPUT, 8, { 0xffffffff } },
        { OP_TRIM, RC_INVALID_INPUT, 24, { 0x100000001, 0, PAGE } },
        { OP_TRIM, RC_INVALID_INPUT, 24, { 1, 0, 0 } },
        { OP_TRIM, RC_INVALID_INPUT, 24, { 1, 64, PAGE } },
        { OP_TRIM, RC_INVALID_INPUT, 24, { 1, 0, 64 } },
        { OP_MEDIA, RC_INVALID_INPUT, 24, { 0x100000101, 0, 0 } },
        { OP_MEDIA, RC_INVALID_INPUT, 12, { 0x100000000 } },
        { OP_MEDIA, RC_INVALID_INPUT, 12, { 0, 3 } },
        { OP_MEDIA, RC_UNSUPPORTED, 12, { 0x100 } },
        { OP_MEDIA, RC_UNSUPPORTED, 24, { 0x100000201, 0, PAGE } },
        { OP_MEDIA, RC_UNSUPPORTED, 24, { 0x100000102, 0, PAGE } },
        { OP_MEDIA, RC_UNSUPPORTED, 24, { 0x1000000ff, 0, PAGE } },
        /* Addresses */
        { OP_USAGE, RC_INVALID_PA, 16, { LOGICAL, PAGE } },
        { OP_USAGE, RC_INVALID_PA, 16, { LOGICAL - PAGE, 2 * PAGE } },
        { OP_USAGE, RC_INVALID_PA, 16, { PAGE, -PAGE } },
        { OP_TRIM, RC_INVALID_PA, 24, { 1, LOGICAL, PAGE } },
        { OP_TRIM, RC_INVALID_PA, 24, { 1, 0, LOGICAL + PAGE } },
        { OP_TRIM, RC_INVALID_PA, 24, { 1, -PAGE, 2 * PAGE } },
        { OP_TRIM, RC_INVALID_PA, 40, { 2, 0, PAGE, -PAGE, PAGE } },
        { OP_MEDIA, RC_INVALID_PA, 24, { 0x100000101, LOGICAL, PAGE } },
        /* No such command */
        { 0xc005, RC_UNSUPPORTED, 0 },
        { 0xc0ff, RC_UNSUPPORTED, 16 },
        { 0x4403, RC_UNSUPPORTED, 0 },
    };
    g_autoptr(GRand) rand = g_rand_new_with_seed(5);
    uint8_t in[2048];
    unsigned i, j;
    Card card;

    card_start(&card, MACHINE MEM0("256M", "physical-size=64M"));
    write_random(&card, 0, 4, rand);
    g_assert_cmpuint(report(&card, R_STORED), ==, 4 * PAGE);
    for (i = 0; i < ARRAY_SIZE(bad); i++) {
        memset(in, 0, sizeof(in));
        for (j = 0; j < 5; j++) {
            stq_le_p(in + 8 * j, bad[i].q[j]);
        }
        g_test_message("%u: %04xh, %zu bytes", i, bad[i].op, bad[i].len);
        g_assert_cmpuint(mbox(&card, bad[i].op, in, bad[i].len), ==, bad[i].rc);
        g_assert_cmpuint(card.out_len, ==, 0);
    }
    /* A bad range spoils the command: none of it is carried out */
    g_assert_cmpuint(report(&card, R_STORED), ==, 4 * PAGE);

    /* Chance finds what the table forgot: any answer, but an answer */
    for (i = 0; i < 3000; i++) {
        static const uint16_t ops[] = {
            OP_GET_LOG, OP_MEDIA, OP_CAPACITY, OP_GET_WM, OP_SET_WM, OP_TRIM,
            OP_USAGE,
        };
        size_t len = g_rand_int_range(rand, 0, 4) ?
                     8 + 16 * g_rand_int_range(rand, 0, 4) :
                     g_rand_int_range(rand, 0, 2049);

        for (j = 0; j < len; j++) {
            in[j] = g_rand_int_range(rand, 0, 3) ? 0 : g_rand_int(rand);
        }
        if (len >= 8 && g_rand_boolean(rand)) {
            stl_le_p(in + (g_rand_boolean(rand) ? 0 : 4), (len - 8) / 16);
        }
        mbox(&card, ops[g_rand_int_range(rand, 0, ARRAY_SIZE(ops))], in, len);
    }
    report(&card, R_STORED);
    qtest_quit(card.qts);
}

static void test_range_usage(void)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(6);
    uint8_t in[16];
    Card card;

    card_start(&card, MACHINE MEM0("256M", "physical-size=8M"));
    write_random(&card, 100, 10, rand);
    stq_le_p(in, 96 * PAGE);
    stq_le_p(in + 8, 8 * PAGE);
    g_assert_cmpuint(mbox(&card, OP_USAGE, in, 16), ==, RC_SUCCESS);
    g_assert_cmpuint(card.out_len, ==, 32);
    g_assert_cmpuint(ldq_le_p(card.out), ==, 4 * PAGE);
    g_assert_cmpuint(ldq_le_p(card.out + 8), ==, 4);
    g_assert_cmpuint(ldq_le_p(card.out + 16), ==, 0);
    g_assert_cmpuint(ldq_le_p(card.out + 24), ==, 0);
    write_random(&card, 200, SMALL_ROOM, rand);
    stq_le_p(in, 0);
    stq_le_p(in + 8, LOGICAL);
    g_assert_cmpuint(mbox(&card, OP_USAGE, in, 16), ==, RC_SUCCESS);
    g_assert_cmpuint(ldq_le_p(card.out), ==, SMALL_ROOM * PAGE);
    g_assert_cmpuint(ldq_le_p(card.out + 8), ==, SMALL_ROOM);
    g_assert_cmpuint(ldq_le_p(card.out + 16), ==, 10);
    qtest_quit(card.qts);
}

static void test_fault_reports(void)
{
    Card card;
    uint64_t gen;
    int64_t start;

    card_start(&card, MACHINE MEM0("256M", "physical-size=64M"));
    gen = report(&card, R_GENERATION);

    set_fault(&card, "reports-fail", true);
    g_assert_cmpuint(mbox(&card, OP_CAPACITY, NULL, 0), ==, RC_INTERNAL_ERROR);
    set_fault(&card, "reports-fail", false);
    g_assert_cmpuint(report(&card, R_GENERATION), ==, ++gen);

    set_fault(&card, "reports-stop", true);
    mbox_begin(&card, OP_CAPACITY, NULL, 0);
    g_usleep(300 * 1000);
    g_assert(mbox_busy(&card));
    /* The registers are the device's, the monitor is not affected */
    qtest_writel(card.qts, card.dev + MBOX_CTRL, 0);
    qtest_writeq(card.qts, card.dev + MBOX_CMD, OP_GET_WM);
    g_assert(mbox_busy(&card));
    g_assert_cmpuint(query_u64(&card, "generation"), ==, gen);
    set_fault(&card, "reports-stop", false);
    g_assert_cmpuint(mbox_end(&card), ==, RC_SUCCESS);
    g_assert_cmpuint(card.out_len, ==, 256);
    g_assert_cmpuint(field(&card, R_GENERATION), ==, ++gen);

    /* A reset ends the wait, and the late answer goes nowhere */
    set_fault(&card, "reports-stop", true);
    mbox_begin(&card, OP_CAPACITY, NULL, 0);
    qtest_system_reset(card.qts);
    card_init(&card, card.qts, 0);
    g_assert(!mbox_busy(&card));
    set_fault(&card, "reports-stop", false);
    g_assert_cmpuint(report(&card, R_GENERATION), ==, ++gen);

    set_fault_delay(&card, "reports-slow", 400);
    start = g_get_monotonic_time();
    g_assert_cmpuint(report(&card, R_GENERATION), ==, ++gen);
    g_assert_cmpint(g_get_monotonic_time() - start, >=, 400 * 1000);
    set_fault(&card, "reports-slow", false);

    set_fault(&card, "generation-stale", true);
    g_assert_cmpuint(report(&card, R_GENERATION), ==, gen);
    g_assert_cmpuint(report(&card, R_GENERATION), ==, gen);
    set_fault(&card, "generation-stale", false);
    g_assert_cmpuint(report(&card, R_GENERATION), ==, ++gen);

    set_fault(&card, "generation-reordered", true);
    g_assert_cmpuint(report(&card, R_GENERATION), ==, gen + 2);
    g_assert_cmpuint(report(&card, R_GENERATION), ==, gen + 1);
    g_assert_cmpuint(report(&card, R_GENERATION), ==, gen + 4);
    g_assert_cmpuint(report(&card, R_GENERATION), ==, gen + 3);
    set_fault(&card, "generation-reordered", false);
    g_assert_cmpuint(report(&card, R_GENERATION), ==, gen + 5);
    qtest_quit(card.qts);
}

static void test_fault_trim(void)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(7);
    uint8_t page[PAGE], seen[PAGE];
    uint8_t in[24] = { 1 }, none[12] = { 0 };
    int64_t start;
    Card card;

    card_start(&card, MACHINE MEM0("256M", "physical-size=64M"));
    write_random(&card, 0, 8, rand);

    set_fault(&card, "trim-refused", true);
    g_assert_cmpuint(release(&card, OP_TRIM, 0, 8 * PAGE), ==,
                     RC_INTERNAL_ERROR);
    g_assert_cmpuint(release(&card, OP_MEDIA, 0, 8 * PAGE), ==,
                     RC_INTERNAL_ERROR);
    g_assert_cmpuint(report(&card, R_STORED), ==, 8 * PAGE);
    set_fault(&card, "trim-refused", false);

    /* One page at 64 KiB of 2 MiB: with others or alone; all others are not */
    write_random(&card, 2 * MiB / PAGE + 15, 3, rand);
    set_fault(&card, "trim-bad-page", true);
    g_assert_cmpuint(release(&card, OP_TRIM, 0, 3 * MiB), ==,
                     RC_INTERNAL_ERROR);
    g_assert_cmpuint(release(&card, OP_MEDIA, 2 * MiB + 16 * PAGE, PAGE), ==,
                     RC_INTERNAL_ERROR);
    g_assert_cmpuint(report(&card, R_STORED), ==, 11 * PAGE);
    g_assert_cmpuint(release(&card, OP_TRIM, 2 * MiB + 15 * PAGE, PAGE), ==,
                     RC_SUCCESS);
    g_assert_cmpuint(release(&card, OP_MEDIA, 2 * MiB + 17 * PAGE, MiB), ==,
                     RC_SUCCESS);
    g_assert_cmpuint(report(&card, R_STORED), ==, 9 * PAGE);
    set_fault(&card, "trim-bad-page", false);
    g_assert_cmpuint(release(&card, OP_TRIM, 2 * MiB + 16 * PAGE, PAGE), ==,
                     RC_SUCCESS);
    g_assert_cmpuint(report(&card, R_STORED), ==, 8 * PAGE);

    /* Not even known, whoever asks, and for nothing at all */
    set_fault(&card, "trim-unsupported", true);
    g_assert_cmpuint(release(&card, OP_TRIM, 0, 8 * PAGE), ==, RC_UNSUPPORTED);
    g_assert_cmpuint(release(&card, OP_MEDIA, 0, 8 * PAGE), ==, RC_UNSUPPORTED);
    g_assert_cmpuint(mbox(&card, OP_TRIM, none, 8), ==, RC_UNSUPPORTED);
    g_assert_cmpuint(mbox(&card, OP_MEDIA, none, 12), ==, RC_UNSUPPORTED);
    g_assert_cmpuint(report(&card, R_STORED), ==, 8 * PAGE);
    set_fault(&card, "trim-unsupported", false);

    /* Late, and then it hits what was written meanwhile */
    set_fault_delay(&card, "trim-late", 500);
    stq_le_p(in + 8, 0);
    stq_le_p(in + 16, 4 * PAGE);
    start = g_get_monotonic_time();
    mbox_begin(&card, OP_TRIM, in, sizeof(in));
    make_page(page, rand, PAGE, 0);
    write_page(&card, 0, page);
    qtest_memread(card.qts, card.hpa, seen, PAGE);
    g_assert(!memcmp(seen, page, PAGE));
    g_assert_cmpuint(mbox_end(&card), ==, RC_SUCCESS);
    g_assert_cmpint(g_get_monotonic_time() - start, >=, 500 * 1000);
    check_zero(&card, 0, 4);
    g_assert_cmpuint(report(&card, R_STORED), ==, 4 * PAGE);

    /* A reset in time saves it */
    mbox_begin(&card, OP_TRIM, in, sizeof(in));
    qtest_system_reset(card.qts);
    card_init(&card, card.qts, 0);
    card_map(&card);
    write_page(&card, 0, page);
    g_usleep(800 * 1000);
    g_assert_cmpuint(report(&card, R_STORED), ==, 5 * PAGE);
    qtest_quit(card.qts);
}

static void test_fault_watermarks(void)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(8);
    QDict *info;
    QList *faults;
    uint64_t low, high;
    Card card;

    card_start(&card, MACHINE MEM0("256M", "physical-size=8M"));
    msix_on(&card);
    msix_arm(&card, 12, 0x100000, 1);
    msix_arm(&card, 13, 0x100040, 1);
    set_fault(&card, "watermark-lost", true);
    write_random(&card, 0, SMALL_ROOM, rand);
    g_assert_cmpuint(report(&card, R_FLAGS) & 1, ==, 1);
    info = query(&card);
    g_assert_cmpuint(qdict_get_int(info, "low-watermark-interrupts"), ==, 0);
    g_assert(qdict_get_bool(info, "below-low-watermark"));
    faults = qdict_get_qlist(info, "faults");
    g_assert_cmpuint(qlist_size(faults), ==, 1);
    g_assert_cmpstr(qstring_get_str(qobject_to(QString, qlist_peek(faults))),
                    ==, "watermark-lost");
    qobject_unref(info);
    /* The event is for whoever watches the device, not for the guest */
    qobject_unref(next_event(&card, "CXL_COMPRESSION_WATERMARK"));
    /* By hand it is sent all the same */
    qtest_qmp_assert_success(card.qts,
        "{'execute': 'x-cxl-inject-watermark',"
        " 'arguments': {'path': 'mem0', 'watermark': 'low'}}");
    g_assert(msix_fired(&card, 0x100000));
    set_fault(&card, "watermark-lost", false);

    low = query_u64(&card, "low-watermark-interrupts");
    high = query_u64(&card, "high-watermark-interrupts");
    set_fault(&card, "watermark-spurious", true);
    report(&card, R_STORED);
    while (query_u64(&card, "high-watermark-interrupts") == high) {
        g_usleep(1000);
    }
    g_assert_cmpuint(query_u64(&card, "low-watermark-interrupts"), >, low);

    expect_error(card.qts, qtest_qmp(card.qts,
        "{'execute': 'x-cxl-set-compression-fault',"
        " 'arguments': {'path': 'mem0', 'fault': 'reports-stop',"
        " 'enable': true, 'delay-ms': 5}}"), "takes no delay-ms");
    qtest_quit(card.qts);
}

static QDict *set_physical(Card *card, uint64_t size, bool force)
{
    return qtest_qmp(card->qts, "{'execute': 'x-cxl-set-physical-size',"
                     " 'arguments': {'path': %s, 'size': %" PRIu64
                     ", 'force': %i}}", card->id, size, force);
}

static void set_physical_ok(Card *card, uint64_t size, bool force)
{
    QDict *rsp = set_physical(card, size, force);

    g_assert(qdict_haskey(rsp, "return"));
    qobject_unref(rsp);
}

static void test_physical_size(void)
{
    const uint64_t low_at = 0x100000;
    g_autoptr(GRand) rand = g_rand_new_with_seed(9);
    uint64_t gen;
    Card card;

    card_start(&card, MACHINE MEM0("256M", "physical-size=16M,"
                                   "low-watermark=0,high-watermark=0"));
    msix_on(&card);
    msix_arm(&card, 12, low_at, 1);

    /* Announced, reported, accepted: then it is there */
    write_random(&card, 0, 1000, rand);
    report(&card, R_STORED);
    set_physical_ok(&card, 12 * MiB, false);
    g_assert(msix_fired(&card, low_at));
    g_assert_cmpuint(query_u64(&card, "physical-size"), ==, 16 * MiB);
    g_assert_cmpuint(report(&card, R_PHYSICAL), ==, 16 * MiB);
    g_assert_cmpuint(field(&card, R_TARGET), ==, 12 * MiB);
    g_assert_cmpuint(ldl_le_p(card.out + R_FLAGS) & 4, ==, 4);
    g_assert_cmpuint(query_u64(&card, "physical-size"), ==, 16 * MiB);
    gen = field(&card, R_GENERATION);
    g_assert_cmpuint(accept_report(&card, gen, R_PHYSICAL), ==, 12 * MiB);
    g_assert_cmpuint(ldl_le_p(card.out + R_FLAGS) & 4, ==, 0);

    /* More is stored: it waits for that, too */
    set_physical_ok(&card, 3 * MiB + METADATA, false);
    g_assert(msix_fired(&card, low_at));
    gen = report(&card, R_GENERATION);
    g_assert_cmpuint(accept_report(&card, gen, R_PHYSICAL), ==, 12 * MiB);
    g_assert_cmpuint(field(&card, R_TARGET), ==, 3 * MiB + METADATA);
    release(&card, OP_TRIM, 0, 231 * PAGE);
    g_assert_cmpuint(report(&card, R_PHYSICAL), ==, 12 * MiB);
    release(&card, OP_TRIM, 0, 232 * PAGE);
    g_assert_cmpuint(report(&card, R_PHYSICAL), ==, 3 * MiB + METADATA);
    g_assert_cmpuint(ldl_le_p(card.out + R_FLAGS) & 4, ==, 0);
    g_assert_cmpuint(field(&card, R_OVER), ==, 0);
    g_assert_cmpuint(field(&card, R_EXCESS), ==, 0);

    /* More: at once */
    set_physical_ok(&card, 16 * MiB, false);
    g_assert_cmpuint(report(&card, R_PHYSICAL), ==, 16 * MiB);

    /* By force: at once; what is stored is not held against the host */
    set_physical_ok(&card, MiB + METADATA, true);
    g_assert_cmpuint(report(&card, R_PHYSICAL), ==, MiB + METADATA);
    g_assert_cmpuint(field(&card, R_STORED), ==, 768 * PAGE);
    g_assert_cmpuint(field(&card, R_EXCESS), ==, 0);
    g_assert_cmpuint(field(&card, R_OVER), ==, 0);
    /*
     * What is written from now on is. A page with less in it fits in its old
     * place, a new one does not.
     */
    write_random(&card, 0, 1, rand);
    qtest_memset(card.qts, card.hpa + 500 * PAGE, 1, PAGE);
    g_assert_cmpuint(report(&card, R_OVER), ==, 1);
    g_assert_cmpuint(field(&card, R_EXCUSED), ==, 0);
    g_assert_cmpuint(field(&card, R_STORED), ==, 767 * PAGE + 64);
    g_assert_cmpuint(field(&card, R_EXCESS), ==, 2 * PAGE);
    /* Nothing is forgiven that fitted once */
    release(&card, OP_TRIM, 0, LOGICAL);
    write_random(&card, 0, 259, rand);
    g_assert_cmpuint(report(&card, R_EXCESS), ==, 3 * PAGE);
    g_assert_cmpuint(field(&card, R_OVER), ==, 1 + 3);

    expect_error(card.qts, set_physical(&card, METADATA, false), "no room");
    expect_error(card.qts, set_physical(&card, 2 * LOGICAL, true), "more than");
    qtest_quit(card.qts);
}

/* What the host writes on credit before it can know is no fault of its own */
static void test_shrink_announced(void)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(15);
    uint8_t in[24] = { };
    uint64_t gen;
    Card card;

    card_start(&card, MACHINE MEM0("256M", "physical-size=16M"));
    report(&card, R_STORED);
    set_physical_ok(&card, 2 * MiB, false);
    write_random(&card, 0, 600, rand);
    g_assert_cmpuint(query_u64(&card, "over-capacity-pages"), ==, 0);
    g_assert_cmpuint(report(&card, R_OVER), ==, 0);
    g_assert_cmpuint(field(&card, R_EXCESS), ==, 0);
    g_assert_cmpuint(field(&card, R_PHYSICAL), ==, 16 * MiB);
    g_assert_cmpuint(field(&card, R_TARGET), ==, 2 * MiB);
    g_assert_cmpuint(field(&card, R_STORED), ==, 600 * PAGE);

    /* To read it is not to accept it, by whichever command */
    release(&card, OP_TRIM, 0, LOGICAL);
    gen = report(&card, R_GENERATION);
    memcpy(in, log_uuid, 16);
    stl_le_p(in + 20, 256);
    g_assert_cmpuint(mbox(&card, OP_GET_LOG, in, 24), ==, RC_SUCCESS);
    g_assert_cmpuint(report(&card, R_PHYSICAL), ==, 16 * MiB);

    /* Nor is a report from before, though it was accepted then */
    set_physical_ok(&card, 4 * MiB, false);
    gen = field(&card, R_GENERATION);
    g_assert_cmpuint(accept_report(&card, gen, R_PHYSICAL), ==, 16 * MiB);
    gen = field(&card, R_GENERATION);

    /* Who gets an error has accepted nothing */
    set_fault(&card, "reports-fail", true);
    stq_le_p(in + 8, gen);
    g_assert_cmpuint(mbox(&card, OP_CAPACITY, in, 16), ==, RC_INTERNAL_ERROR);
    set_fault(&card, "reports-fail", false);
    g_assert_cmpuint(report(&card, R_PHYSICAL), ==, 16 * MiB);

    /* A host that was reset has to say so again */
    write_random(&card, 0, 1000, rand);
    accept_report(&card, gen, R_PHYSICAL);
    qtest_system_reset(card.qts);
    card_init(&card, card.qts, 0);
    card_map(&card);
    release(&card, OP_TRIM, 0, LOGICAL);
    g_assert_cmpuint(report(&card, R_PHYSICAL), ==, 16 * MiB);
    gen = field(&card, R_GENERATION);
    g_assert_cmpuint(accept_report(&card, gen, R_PHYSICAL), ==, 4 * MiB);
    qtest_quit(card.qts);
}

static void test_grow_forgives_nothing(void)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(16);
    Card card;

    card_start(&card, MACHINE MEM0("256M", "physical-size=8M"));
    write_random(&card, 0, SMALL_ROOM + 38, rand);
    set_physical_ok(&card, 16 * MiB, false);
    g_assert_cmpuint(report(&card, R_EXCESS), ==, 38 * PAGE);
    g_assert_cmpuint(field(&card, R_OVER), ==, 38);
    g_assert_cmpuint(field(&card, R_EXCUSED), ==, 0);

    /* Nor does force, in the other direction */
    set_physical_ok(&card, MiB + METADATA, true);
    g_assert_cmpuint(report(&card, R_EXCESS), ==, 38 * PAGE);
    set_physical_ok(&card, 8 * MiB, true);
    release(&card, OP_TRIM, 0, LOGICAL);
    write_random(&card, 0, SMALL_ROOM + 40, rand);
    set_physical_ok(&card, MiB + METADATA, true);
    g_assert_cmpuint(report(&card, R_EXCESS), ==, 40 * PAGE);
    g_assert_cmpuint(field(&card, R_OVER), ==, 38 + 40);
    qtest_quit(card.qts);
}

/* Space that a Trim gives back is the host's when that is acknowledged */
static void test_trim_counts_when_answered(void)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(17);
    g_autofree uint8_t *in = g_malloc0(8 + 127 * 16);
    uint64_t old = 0, meanwhile = 0;
    uint8_t page[PAGE];
    Card card;
    int i;

    card_start(&card, MACHINE MEM0("4G", "physical-size=80M"));
    make_page(page, rand, PAGE, 0);
    stl_le_p(in, 127);
    for (i = 0; i < 127; i++) {
        stq_le_p(in + 8 + 16 * i, i * 32 * MiB);
        stq_le_p(in + 16 + 16 * i, 32 * MiB);
    }
    /* Until there is one that the test is quick enough for */
    for (i = 0; !meanwhile; i++) {
        g_assert_cmpint(i, <, 100);
        write_random(&card, 0, 16000, rand);
        old = report(&card, R_STORED);
        mbox_begin(&card, OP_TRIM, in, 8 + 127 * 16);
        /* The first pages of what is trimmed: a store is a store */
        while (mbox_busy(&card)) {
            write_page(&card, 20000 + meanwhile, page);
            if (mbox_busy(&card)) {
                meanwhile++;
            }
        }
        g_assert_cmpuint(mbox_end(&card), ==, RC_SUCCESS);
    }
    g_test_message("%" PRIu64 " pages written meanwhile", meanwhile);
    g_assert_cmpuint(report(&card, R_PEAK), >=, old + meanwhile * PAGE);
    g_assert_cmpuint(field(&card, R_STORED), <=, (meanwhile + 1) * PAGE);
    qtest_quit(card.qts);
}

/* A card that shrank can still say that there is space again */
static void test_shrink_watermarks(void)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(13);
    Card card;

    card_start(&card, MACHINE MEM0("256M", "physical-size=16M,"
                                   "low-watermark=1M,high-watermark=8M"));
    msix_on(&card);
    msix_arm(&card, 12, 0x100000, 1);
    msix_arm(&card, 13, 0x100040, 1);
    set_physical_ok(&card, 4 * MiB + METADATA, false);
    accept_report(&card, report(&card, R_GENERATION), R_PHYSICAL);
    g_assert_cmpuint(field(&card, R_PHYSICAL), ==, 4 * MiB + METADATA);
    g_assert_cmpuint(field(&card, R_LOW), ==, MiB);
    g_assert_cmpuint(field(&card, R_HIGH), ==, 4 * MiB);
    write_random(&card, 0, 800, rand);
    g_assert_cmpuint(report(&card, R_FLAGS) & 1, ==, 1);
    g_assert_cmpuint(release(&card, OP_TRIM, 0, 800 * PAGE), ==, RC_SUCCESS);
    g_assert_cmpuint(report(&card, R_FLAGS) & 1, ==, 0);
    g_assert_cmpuint(query_u64(&card, "high-watermark-interrupts"), ==, 1);

    /* Those that were set are in force again when there is room for them */
    set_physical_ok(&card, 16 * MiB, false);
    g_assert_cmpuint(report(&card, R_HIGH), ==, 8 * MiB);
    qtest_quit(card.qts);
}

/* Whatever was before, the flag says where the card stands */
static void test_watermark_flag(void)
{
    const uint64_t low_at = 0x100000, high_at = 0x100040;
    g_autoptr(GRand) rand = g_rand_new_with_seed(18);
    uint8_t wm[16];
    Card card;

    card_start(&card, MACHINE MEM0("256M", "physical-size=8M,"
                                   "low-watermark=400k,high-watermark=6M"));
    write_random(&card, 0, 1000, rand);
    g_assert_cmpuint(report(&card, R_FLAGS) & 1, ==, 0);

    /* Counted is what is sent, and nothing is while MSI-X is off */
    stq_le_p(wm, 4 * MiB);
    stq_le_p(wm + 8, 7 * MiB);
    g_assert_cmpuint(mbox(&card, OP_SET_WM, wm, 16), ==, RC_SUCCESS);
    g_assert_cmpuint(report(&card, R_FLAGS) & 1, ==, 1);
    g_assert_cmpuint(query_u64(&card, "low-watermark-interrupts"), ==, 0);

    /* Armed when it is below already: told at once */
    msix_on(&card);
    msix_arm(&card, 12, low_at, 1);
    msix_arm(&card, 13, high_at, 1);
    g_assert_cmpuint(mbox(&card, OP_SET_WM, wm, 16), ==, RC_SUCCESS);
    g_assert(msix_fired(&card, low_at) && !msix_fired(&card, high_at));

    /* 3.6 MiB are free: not below 1 MiB, though never above 7 */
    stq_le_p(wm, MiB);
    g_assert_cmpuint(mbox(&card, OP_SET_WM, wm, 16), ==, RC_SUCCESS);
    g_assert(!msix_fired(&card, low_at) && msix_fired(&card, high_at));
    g_assert_cmpuint(report(&card, R_FLAGS) & 1, ==, 0);

    /* A reset decides it by the properties */
    stq_le_p(wm, 4 * MiB);
    g_assert_cmpuint(mbox(&card, OP_SET_WM, wm, 16), ==, RC_SUCCESS);
    g_assert_cmpuint(report(&card, R_FLAGS) & 1, ==, 1);
    qtest_system_reset(card.qts);
    card_init(&card, card.qts, 0);
    card_map(&card);
    g_assert_cmpuint(report(&card, R_FLAGS) & 1, ==, 0);

    /* And then both interrupts come again */
    msix_on(&card);
    msix_arm(&card, 12, low_at, 1);
    msix_arm(&card, 13, high_at, 1);
    write_random(&card, 1000, 900, rand);
    g_assert_cmpuint(report(&card, R_FLAGS) & 1, ==, 1);
    g_assert(msix_fired(&card, low_at));
    release(&card, OP_TRIM, 0, LOGICAL);
    g_assert(msix_fired(&card, high_at));

    set_fault(&card, "watermarks-refused", true);
    g_assert_cmpuint(mbox(&card, OP_SET_WM, wm, 16), ==, RC_INTERNAL_ERROR);
    g_assert_cmpuint(mbox(&card, OP_GET_WM, NULL, 0), ==, RC_SUCCESS);
    g_assert_cmpuint(ldq_le_p(card.out), ==, 400 * KiB);
    qtest_quit(card.qts);
}

/* A host that toggles its watermarks does not flood who watches the device */
static void test_watermark_events(void)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(24);
    uint8_t wm[16];
    int i, events = 0;
    QDict *event;
    Card card;

    card_start(&card, MACHINE MEM0("256M", "physical-size=8M,"
                                   "low-watermark=400k,high-watermark=6M"));
    write_random(&card, 0, 1000, rand);
    report(&card, R_STORED);
    stq_le_p(wm + 8, 7 * MiB);
    for (i = 0; i < 100; i++) {
        stq_le_p(wm, i % 2 ? MiB : 4 * MiB);
        g_assert_cmpuint(mbox(&card, OP_SET_WM, wm, 16), ==, RC_SUCCESS);
        g_assert_cmpuint(report(&card, R_FLAGS) & 1, ==, !(i % 2));
    }
    /* The first at once, the last when a second is over */
    qobject_unref(next_event(&card, "CXL_COMPRESSION_WATERMARK"));
    event = next_event(&card, "CXL_COMPRESSION_WATERMARK");
    g_assert_cmpstr(qdict_get_str(qdict_get_qdict(event, "data"),
                                  "watermark"), ==, "high");
    qobject_unref(event);
    qtest_clock_step(card.qts, 1000 * 1000 * 1000);
    query_u64(&card, "generation");
    while ((event = qtest_qmp_event_ref(card.qts,
                                        "CXL_COMPRESSION_WATERMARK"))) {
        qobject_unref(event);
        events++;
    }
    g_assert_cmpint(events, ==, 0);
    qtest_quit(card.qts);
}

/* Pages written again and again do not keep others from being compressed */
static void test_settle_is_fair(void)
{
    uint64_t unsettled = 0;
    Card card;
    int i;

    /* No time at all: a report compresses 16 pages */
    card_start(&card, MACHINE MEM0("256M", "physical-size=64M,report-ms=0"));
    qtest_memset(card.qts, card.hpa, 1, 256 * PAGE);
    g_assert_cmpuint(report(&card, R_UNSETTLED), ==, 240 * PAGE);
    g_assert_cmpuint(field(&card, R_STORED), ==, 16 * 64 + 240 * PAGE);
    g_assert_cmpuint(ldl_le_p(card.out + R_FLAGS) & 2, ==, 2);
    for (i = 0; i < 16; i++) {
        qtest_memset(card.qts, card.hpa, i + 2, 16 * PAGE);
        unsettled = report(&card, R_UNSETTLED);
    }
    /* All but, maybe, the 16 that were written again */
    g_assert_cmpuint(unsettled, <=, 16 * PAGE);
    g_assert_cmpuint(field(&card, R_STORED) - unsettled, >=, 240 * 64);
    qtest_quit(card.qts);
}

/* What a page takes at worst, what space is taken in, what a report omits */
static void test_worse_cards(void)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(19);
    QDict *info;
    Card card;

    card_start(&card, MACHINE MEM0("256M", "physical-size=8M,"
                                   "worst-page-size=4160,"
                                   "reservation-step=64k,reporting-lag=1M"));
    write_random(&card, 0, 100, rand);
    g_assert_cmpuint(report(&card, R_STORED), ==, 0);
    g_assert_cmpuint(ldl_le_p(card.out + R_WORST), ==, 4160);
    g_assert_cmpuint(field(&card, R_STEP), ==, 64 * KiB);
    g_assert_cmpuint(field(&card, R_LAG), ==, MiB);
    g_assert_cmpuint(field(&card, R_GENERATION), ==, 1);
    g_assert_cmpuint(field(&card, R_PEAK), ==, 100 * 4160);
    g_assert_cmpuint(query_u64(&card, "stored"), ==, 100 * 4160);
    write_random(&card, 100, 1000, rand);
    g_assert_cmpuint(report(&card, R_STORED), ==, 1100 * 4160 - MiB);

    /* 7.5 MiB are 120 steps; 1890 pages need 119.97, one more 120.03 */
    write_random(&card, 1100, 790, rand);
    g_assert_cmpuint(report(&card, R_OVER), ==, 0);
    g_assert_cmpuint(field(&card, R_EXCESS), ==, 0);
    write_random(&card, 1890, 1, rand);
    g_assert_cmpuint(report(&card, R_OVER), ==, 1);
    g_assert_cmpuint(field(&card, R_EXCESS), ==, 64 * KiB);
    info = query(&card);
    g_assert_cmpuint(qdict_get_int(info, "worst-page-size"), ==, 4160);
    g_assert_cmpuint(qdict_get_int(info, "reservation-step"), ==, 64 * KiB);
    g_assert_cmpuint(qdict_get_int(info, "reporting-lag"), ==, MiB);
    qobject_unref(info);
    qtest_quit(card.qts);
}

static void set_overhead(Card *card, uint64_t size)
{
    qtest_qmp_assert_success(card->qts,
        "{'execute': 'x-cxl-set-compression-overhead',"
        " 'arguments': {'path': %s, 'size': %" PRIu64 "}}", card->id, size);
}

/* More is stored, and nobody wrote */
static void test_overhead(void)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(20);
    Card card;

    card_start(&card, MACHINE MEM0("256M", "physical-size=8M"));
    write_random(&card, 0, 1000, rand);
    g_assert_cmpuint(report(&card, R_STORED), ==, 1000 * PAGE);
    set_overhead(&card, 900 * PAGE);
    g_assert_cmpuint(report(&card, R_STORED), ==, 1900 * PAGE);
    g_assert_cmpuint(field(&card, R_EXCESS), ==, 0);
    write_random(&card, 1000, 21, rand);
    g_assert_cmpuint(report(&card, R_OVER), ==, 1);
    g_assert_cmpuint(field(&card, R_EXCESS), ==, PAGE);
    set_overhead(&card, 0);
    g_assert_cmpuint(report(&card, R_STORED), ==, 1020 * PAGE);
    set_overhead(&card, SMALL_ROOM * PAGE);
    g_assert_cmpuint(report(&card, R_EXCESS), ==, 1020 * PAGE);
    expect_error(card.qts, qtest_qmp(card.qts,
        "{'execute': 'x-cxl-set-compression-overhead',"
        " 'arguments': {'path': 'mem0', 'size': 268435457}}"), "more than");
    qtest_quit(card.qts);
}

/* A report says which request it is as old as */
static void test_tag(void)
{
    uint8_t in[24] = { 0 }, tag[8];
    Card card;

    card_start(&card, MACHINE MEM0("256M", "physical-size=64M"));
    g_assert_cmpuint(report(&card, R_TAG), ==, 0);
    stq_le_p(tag, 0x1122334455667788);
    g_assert_cmpuint(mbox(&card, OP_CAPACITY, tag, 8), ==, RC_SUCCESS);
    g_assert_cmpuint(field(&card, R_TAG), ==, 0x1122334455667788);
    g_assert_cmpuint(mbox(&card, OP_CAPACITY, tag, 4), ==,
                     RC_INVALID_PAYLOAD_LENGTH);
    g_assert_cmpuint(mbox(&card, OP_CAPACITY, tag, 9), ==,
                     RC_INVALID_PAYLOAD_LENGTH);
    memcpy(in, log_uuid, 16);
    stl_le_p(in + 20, 256);
    g_assert_cmpuint(mbox(&card, OP_GET_LOG, in, 24), ==, RC_SUCCESS);
    g_assert_cmpuint(field(&card, R_TAG), ==, 0x1122334455667788);

    /* Repeated, it is the old one's */
    set_fault(&card, "generation-stale", true);
    stq_le_p(tag, 2);
    g_assert_cmpuint(mbox(&card, OP_CAPACITY, tag, 8), ==, RC_SUCCESS);
    g_assert_cmpuint(field(&card, R_TAG), ==, 0x1122334455667788);
    set_fault(&card, "generation-stale", false);

    /* Overtaken as well: the second answer was made with the first */
    set_fault(&card, "generation-reordered", true);
    stq_le_p(tag, 3);
    g_assert_cmpuint(mbox(&card, OP_CAPACITY, tag, 8), ==, RC_SUCCESS);
    g_assert_cmpuint(field(&card, R_TAG), ==, 3);
    stq_le_p(tag, 4);
    g_assert_cmpuint(mbox(&card, OP_CAPACITY, tag, 8), ==, RC_SUCCESS);
    g_assert_cmpuint(field(&card, R_TAG), ==, 3);
    set_fault(&card, "generation-reordered", false);

    /* A reset forgets it */
    qtest_system_reset(card.qts);
    card_init(&card, card.qts, 0);
    g_assert_cmpuint(mbox(&card, OP_GET_LOG, in, 24), ==, RC_SUCCESS);
    g_assert_cmpuint(field(&card, R_TAG), ==, 0);
    qtest_quit(card.qts);
}

static void test_fault_implausible(void)
{
    static const uint16_t ops[] = {
        OP_CAPACITY, OP_GET_WM, OP_SET_WM, OP_TRIM, OP_USAGE, OP_MEDIA,
    };
    uint8_t in[24] = { 0 };
    Card card;
    unsigned i;

    card_start(&card, MACHINE MEM0("256M", "physical-size=64M"));
    set_fault(&card, "report-overfull", true);
    g_assert_cmpuint(report(&card, R_STORED), ==, 64 * MiB + 1);
    g_assert_cmpuint(query_u64(&card, "stored"), ==, 0);
    set_fault(&card, "report-overfull", false);

    set_fault(&card, "report-worst-zero", true);
    report(&card, R_STORED);
    g_assert_cmpuint(ldl_le_p(card.out + R_WORST), ==, 0);
    set_fault(&card, "report-worst-zero", false);

    set_fault(&card, "report-version", true);
    g_assert_cmpuint(mbox(&card, OP_CAPACITY, NULL, 0), ==, RC_SUCCESS);
    g_assert_cmpuint(lduw_le_p(card.out), ==, 2);
    set_fault(&card, "report-version", false);

    set_fault(&card, "report-all-ones", true);
    g_assert_cmpuint(mbox(&card, OP_CAPACITY, NULL, 0), ==, RC_SUCCESS);
    for (i = 0; i < 256; i++) {
        g_assert_cmpuint(card.out[i], ==, 0xff);
    }
    set_fault(&card, "report-all-ones", false);
    g_assert_cmpuint(report(&card, R_STORED), ==, 0);

    set_fault(&card, "mailbox-retry", true);
    for (i = 0; i < ARRAY_SIZE(ops); i++) {
        g_assert_cmpuint(mbox(&card, ops[i], NULL, 0), ==, 5);
    }
    set_fault(&card, "mailbox-busy", true);
    for (i = 0; i < ARRAY_SIZE(ops); i++) {
        g_assert_cmpuint(mbox(&card, ops[i], NULL, 0), ==, 6);
    }
    memcpy(in, log_uuid, 16);
    stl_le_p(in + 20, 256);
    g_assert_cmpuint(mbox(&card, OP_GET_LOG, in, 24), ==, 6);
    set_fault(&card, "mailbox-busy", false);
    set_fault(&card, "mailbox-retry", false);
    g_assert_cmpuint(report(&card, R_GENERATION), ==, 6);
    qtest_quit(card.qts);
}

static void wait_stored(Card *card, uint64_t want)
{
    int64_t give_up = g_get_monotonic_time() + 60 * G_TIME_SPAN_SECOND;

    while (report(card, R_STORED) != want) {
        g_assert_cmpint(g_get_monotonic_time(), <, give_up);
        g_usleep(1000);
    }
}

static void test_fault_trim_space(void)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(21);
    uint8_t page[PAGE], seen[PAGE];
    int64_t start;
    Card card;

    card_start(&card, MACHINE MEM0("256M", "physical-size=64M"));

    /* Half-way: the first half is gone, the rest is there */
    write_random(&card, 0, 8, rand);
    set_fault(&card, "trim-half", true);
    g_assert_cmpuint(release(&card, OP_TRIM, 0, 8 * PAGE), ==,
                     RC_INTERNAL_ERROR);
    set_fault(&card, "trim-half", false);
    check_zero(&card, 0, 4);
    g_assert_cmpuint(report(&card, R_STORED), ==, 4 * PAGE);
    g_assert_cmpuint(release(&card, OP_TRIM, 0, 8 * PAGE), ==, RC_SUCCESS);

    /* The data are gone at once, their space comes back later */
    write_random(&card, 0, 8, rand);
    g_assert_cmpuint(report(&card, R_STORED), ==, 8 * PAGE);
    set_fault_delay(&card, "trim-space-late", 300);
    start = g_get_monotonic_time();
    g_assert_cmpuint(release(&card, OP_TRIM, 0, 8 * PAGE), ==, RC_SUCCESS);
    check_zero(&card, 0, 8);
    if (report(&card, R_STORED) != 8 * PAGE) {
        g_assert_cmpint(g_get_monotonic_time() - start, >=, 300 * 1000);
    }
    wait_stored(&card, 0);
    g_assert_cmpint(g_get_monotonic_time() - start, >=, 300 * 1000);
    set_fault(&card, "trim-space-late", false);

    /* In part: the rest when the fault goes */
    write_random(&card, 0, 8, rand);
    g_assert_cmpuint(report(&card, R_STORED), ==, 8 * PAGE);
    set_fault(&card, "trim-space-partial", true);
    g_assert_cmpuint(release(&card, OP_TRIM, 0, 8 * PAGE), ==, RC_SUCCESS);
    check_zero(&card, 0, 8);
    g_assert_cmpuint(report(&card, R_STORED), ==, 4 * PAGE);
    set_fault(&card, "trim-space-partial", false);
    wait_stored(&card, 0);

    /* What the host did not flush comes back, and takes space again */
    make_page(page, rand, PAGE, 0);
    write_page(&card, 3, page);
    set_fault_delay(&card, "trim-written-back", 200);
    g_assert_cmpuint(release(&card, OP_TRIM, 0, 8 * PAGE), ==, RC_SUCCESS);
    wait_stored(&card, PAGE);
    qtest_memread(card.qts, card.hpa + 3 * PAGE, seen, PAGE);
    g_assert(!memcmp(seen, page, PAGE));
    qtest_quit(card.qts);
}

static void test_two_cards(void)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(10);
    QTestState *qts = qtest_init(MACHINE
        MEM0("256M", "physical-size=64M,algorithm=zstd")
        MEM1("256M", "physical-size=32M"));
    Card a, b;
    int i;

    card_init(&a, qts, 0);
    card_init(&b, qts, 1);
    card_map(&a);
    card_map(&b);
    g_assert_cmpint(aliases(qts), ==, 2);

    for (i = 0; i < 50; i++) {
        write_random(&a, 0, 20, rand);
        write_random(&b, 50, 10, rand);
        mbox_begin(&a, OP_CAPACITY, NULL, 0);
        mbox_begin(&b, OP_CAPACITY, NULL, 0);
        g_assert_cmpuint(mbox_end(&b), ==, RC_SUCCESS);
        g_assert_cmpuint(mbox_end(&a), ==, RC_SUCCESS);
        g_assert_cmpuint(field(&a, R_STORED), ==, 20 * PAGE);
        g_assert_cmpuint(field(&b, R_STORED), ==, 10 * PAGE);
        g_assert_cmpuint(field(&a, R_PHYSICAL), ==, 64 * MiB);
        g_assert_cmpuint(field(&b, R_PHYSICAL), ==, 32 * MiB);
    }
    qtest_quit(qts);
}

static void test_sanitize(void)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(11);
    uint8_t in[16] = { 0 };
    Card card;

    card_start(&card, MACHINE MEM0("256M", "physical-size=64M"));
    write_random(&card, 0, 32, rand);
    g_assert_cmpuint(mbox(&card, OP_SANITIZE, NULL, 0), ==, RC_BG_STARTED);
    g_assert_cmpint(aliases(card.qts), ==, 0);
    /* Writes have no effect, and commands on the media are refused */
    write_random(&card, 0, 1, rand);
    g_assert_cmpuint(release(&card, OP_TRIM, 0, PAGE), ==, RC_MEDIA_DISABLED);
    while (aliases(card.qts) == 0) {
        qtest_clock_step(card.qts, 1000 * 1000 * 1000);
        g_usleep(1000);
    }
    check_zero(&card, 0, 32);
    g_assert_cmpuint(report(&card, R_STORED), ==, 0);
    stq_le_p(in + 8, LOGICAL);
    g_assert_cmpuint(mbox(&card, OP_USAGE, in, 16), ==, RC_SUCCESS);
    g_assert_cmpuint(ldq_le_p(card.out), ==, 0);
    qtest_quit(card.qts);
}

/* The guest resets the machine, or the device goes, in the middle of it */
static void test_sanitize_ended(void)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(14);
    Card card;

    card_start(&card, MACHINE MEM0("256M", "physical-size=64M"));
    g_assert_cmpuint(mbox(&card, OP_SANITIZE, NULL, 0), ==, RC_BG_STARTED);
    qtest_system_reset(card.qts);
    card_init(&card, card.qts, 0);
    card_map(&card);
    g_assert_cmpint(aliases(card.qts), ==, 1);
    /* If it had begun, it is over when the next command is answered */
    g_assert_cmpuint(report(&card, R_STORED), ==, 0);
    write_random(&card, 0, 4, rand);
    qtest_clock_step(card.qts, 10ull * 1000 * 1000 * 1000);
    g_assert_cmpuint(report(&card, R_STORED), ==, 4 * PAGE);

    g_assert_cmpuint(mbox(&card, OP_SANITIZE, NULL, 0), ==, RC_BG_STARTED);
    qtest_qmp_assert_success(card.qts, "{'execute': 'device_del',"
                             " 'arguments': {'id': 'mem0'}}");
    slot_power(card.qts, 0, false);
    qtest_qmp_eventwait(card.qts, "DEVICE_DELETED");
    qtest_clock_step(card.qts, 10ull * 1000 * 1000 * 1000);
    g_assert_cmpint(aliases(card.qts), ==, 0);
    qtest_quit(card.qts);
}

static void test_unplug(void)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(12);
    QDict *rsp;
    Card card;
    int i;

    for (i = 0; i < 3; i++) {
        card_start(&card, MACHINE MEM0("256M", "physical-size=64M"));
        write_random(&card, 0, 32, rand);
        if (i == 1) {
            /* In the middle of a command that will never be answered */
            set_fault(&card, "reports-stop", true);
            mbox_begin(&card, OP_CAPACITY, NULL, 0);
        } else if (i == 2) {
            mbox_begin(&card, OP_CAPACITY, NULL, 0);
        }
        /* Press the attention button, and answer as the guest would */
        qtest_qmp_assert_success(card.qts, "{'execute': 'device_del',"
                                 " 'arguments': {'id': 'mem0'}}");
        slot_power(card.qts, 0, false);
        qtest_qmp_eventwait(card.qts, "DEVICE_DELETED");
        g_assert_cmpint(aliases(card.qts), ==, 0);
        expect_error(card.qts, qtest_qmp(card.qts,
            "{'execute': 'x-cxl-query-compression',"
            " 'arguments': {'path': 'mem0'}}"), "no CXL type 3 device");
        /* Nothing holds on to the memory: it serves again, and is empty */
        rsp = plug(card.qts, "{'driver': 'cxl-type3-compressed',"
                   " 'bus': 'rp1', 'id': 'mem1', 'volatile-memdev': 'ram0',"
                   " 'physical-size': 67108864}");
        g_assert(qdict_haskey(rsp, "return"));
        qobject_unref(rsp);
        slot_power(card.qts, 1, true);
        card_init(&card, card.qts, 1);
        card_map(&card);
        check_zero(&card, 0, 32);
        g_assert_cmpuint(report(&card, R_STORED), ==, 0);
        qtest_qmp_assert_success(card.qts, "{'execute': 'device_del',"
                                 " 'arguments': {'id': 'mem1'}}");
        slot_power(card.qts, 1, false);
        qtest_qmp_eventwait(card.qts, "DEVICE_DELETED");
        qtest_qmp_assert_success(card.qts, "{'execute': 'object-del',"
                                 " 'arguments': {'id': 'ram0'}}");
        qtest_quit(card.qts);
    }
}

/* Taking the card away does not take away what it has to say */
static void test_unplug_verdict(void)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(22);
    QDict *event, *data;
    Card card;

    card_start(&card, MACHINE MEM0("256M", "physical-size=8M"));
    write_random(&card, 0, SMALL_ROOM + 5, rand);
    qtest_qmp_assert_success(card.qts, "{'execute': 'device_del',"
                             " 'arguments': {'id': 'mem0'}}");
    slot_power(card.qts, 0, false);
    event = qtest_qmp_eventwait_ref(card.qts, "CXL_COMPRESSION_REMOVED");
    data = qdict_get_qdict(event, "data");
    g_assert_cmpstr(qdict_get_str(data, "path"), ==,
                    "/machine/peripheral/mem0");
    g_assert_cmpuint(qdict_get_int(data, "usable-size"), ==,
                     SMALL_ROOM * PAGE);
    g_assert_cmpuint(qdict_get_int(data, "stored"), ==, SMALL_ROOM * PAGE);
    g_assert_cmpuint(qdict_get_int(data, "peak-exposure"), ==,
                     (SMALL_ROOM + 5) * PAGE);
    g_assert_cmpuint(qdict_get_int(data, "peak-excess"), ==, 5 * PAGE);
    g_assert_cmpuint(qdict_get_int(data, "over-capacity-pages"), ==, 5);
    g_assert_cmpuint(qdict_get_int(data, "excused-pages"), ==, 0);
    qobject_unref(event);
    qtest_qmp_eventwait(card.qts, "DEVICE_DELETED");
    qtest_quit(card.qts);
}

static void check_poison(Card *card, uint64_t at, bool poisoned)
{
    if (poisoned) {
        g_assert_cmphex(qtest_readq(card->qts, card->hpa + at), ==, -1ull);
    } else {
        g_assert_cmphex(qtest_readq(card->qts, card->hpa + at), !=, -1ull);
    }
}

/* It is delivered byte by byte, and all around it nothing changes */
static void test_poison(void)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(32);
    uint8_t page[PAGE], seen[PAGE], in[72] = { 0 };
    Card card;
    int i;

    card_start(&card, MACHINE MEM0("256M", "physical-size=64M"));
    make_page(page, rand, PAGE, 0);
    for (i = 0; i < 8; i++) {
        write_page(&card, i, page);
    }
    g_assert_cmpuint(report(&card, R_STORED), ==, 8 * PAGE);
    qtest_qmp_assert_success(card.qts, "{'execute': 'cxl-inject-poison',"
        " 'arguments': {'path': '/machine/peripheral/mem0', 'start': 12352,"
        " 'length': 128}}");
    g_assert_cmpint(aliases(card.qts), ==, 2);
    check_poison(&card, 3 * PAGE + 56, false);
    check_poison(&card, 3 * PAGE + 57, true);
    check_poison(&card, 3 * PAGE + 64, true);
    check_poison(&card, 3 * PAGE + 191, true);
    check_poison(&card, 3 * PAGE + 192, false);
    for (i = 0; i < 8; i++) {
        qtest_memread(card.qts, card.hpa + i * PAGE, seen, PAGE);
        if (i == 3) {
            memcpy(seen + 64, page + 64, 128);
        }
        g_assert(!memcmp(seen, page, PAGE));
    }
    /* What is written to the rest of the page is stored, and accounted for */
    memset(page, 0, PAGE);
    write_page(&card, 3, page);
    check_poison(&card, 3 * PAGE + 64, true);
    g_assert_cmpuint(report(&card, R_STORED), ==, 7 * PAGE);
    /* By the host's order, too; and cleared line by line */
    stq_le_p(in, 5 * PAGE);
    g_assert_cmpuint(mbox(&card, OP_INJECT_POISON, in, 8), ==, RC_SUCCESS);
    check_poison(&card, 5 * PAGE, true);
    g_assert_cmpint(aliases(card.qts), ==, 3);
    memset(in + 8, 7, 64);
    g_assert_cmpuint(mbox(&card, OP_CLEAR_POISON, in, 72), ==, RC_SUCCESS);
    g_assert_cmphex(qtest_readq(card.qts, card.hpa + 5 * PAGE), ==,
                    0x0707070707070707);
    g_assert_cmpint(aliases(card.qts), ==, 2);
    stq_le_p(in, 3 * PAGE + 64);
    g_assert_cmpuint(mbox(&card, OP_CLEAR_POISON, in, 72), ==, RC_SUCCESS);
    check_poison(&card, 3 * PAGE + 64, false);
    check_poison(&card, 3 * PAGE + 128, true);
    stq_le_p(in, 3 * PAGE + 128);
    g_assert_cmpuint(mbox(&card, OP_CLEAR_POISON, in, 72), ==, RC_SUCCESS);
    g_assert_cmpint(aliases(card.qts), ==, 1);
    qtest_quit(card.qts);
}

/* A lost page is poison, if it is to be; one that is not lost is not */
static void test_lost_poisoned(void)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(33);
    Card card;

    card_start(&card, MACHINE MEM0("256M", "physical-size=8M"));
    set_fault(&card, "lost-poisoned", true);
    write_random(&card, 0, SMALL_ROOM + 2, rand);
    g_assert_cmpuint(report(&card, R_OVER), ==, 2);
    check_poison(&card, (SMALL_ROOM - 1) * PAGE, false);
    check_poison(&card, SMALL_ROOM * PAGE, true);
    check_poison(&card, (SMALL_ROOM + 2) * PAGE - 8, true);
    check_poison(&card, (SMALL_ROOM + 2) * PAGE, false);
    qtest_quit(card.qts);
}

/* Of the port that the card is below */
static uint16_t port_word(Card *card, unsigned off)
{
    uint8_t rp = (card->bus - HB_BUS(0) - 1) << 3;
    uint8_t cap = find_cap(card->qts, HB_BUS(0), rp, 0x10);

    qtest_outl(card->qts, 0xcf8, config_addr(HB_BUS(0), rp, cap + off));
    return qtest_inw(card->qts, 0xcfc + (off & 2));
}

static void port_set_word(Card *card, unsigned off, uint16_t val)
{
    uint8_t rp = (card->bus - HB_BUS(0) - 1) << 3;
    uint8_t cap = find_cap(card->qts, HB_BUS(0), rp, 0x10);

    qtest_outl(card->qts, 0xcf8, config_addr(HB_BUS(0), rp, cap + off));
    qtest_outw(card->qts, 0xcfc + (off & 2), val);
}

enum { LNKSTA = 0x12, SLTCTL = 0x18, SLTSTA = 0x1a };
#define LNKSTA_ACTIVE 0x2000
#define SLTCTL_DLLSCE 0x1000
#define SLTSTA_DLLSC 0x0100
#define SLTSTA_PRESENT 0x0040

/* Nobody reaches the card, and the port tells; then it is back, as reset */
static void test_fault_link_down(void)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(31);
    uint8_t page[PAGE];
    QDict *event;
    Card card;

    card_start(&card, MACHINE MEM0("256M", "physical-size=64M"));
    make_page(page, rand, PAGE, 0);
    write_page(&card, 3, page);
    g_assert_cmpuint(report(&card, R_STORED), ==, PAGE);
    port_set_word(&card, SLTCTL, port_word(&card, SLTCTL) | SLTCTL_DLLSCE);
    g_assert(port_word(&card, SLTCTL) & SLTCTL_DLLSCE);
    g_assert(port_word(&card, LNKSTA) & LNKSTA_ACTIVE);
    g_assert(!(port_word(&card, SLTSTA) & SLTSTA_DLLSC));

    /* In the middle of a command */
    set_fault(&card, "reports-stop", true);
    mbox_begin(&card, OP_CAPACITY, NULL, 0);
    set_fault(&card, "link-down", true);
    g_assert(!(port_word(&card, LNKSTA) & LNKSTA_ACTIVE));
    g_assert(port_word(&card, SLTSTA) & SLTSTA_DLLSC);
    g_assert(port_word(&card, SLTSTA) & SLTSTA_PRESENT);
    port_set_word(&card, SLTSTA, SLTSTA_DLLSC);
    g_assert(!(port_word(&card, SLTSTA) & SLTSTA_DLLSC));
    g_assert_cmphex(config_read(card.qts, card.bus, 0, 0), ==, 0xffffffff);
    g_assert_cmpint(aliases(card.qts), ==, 0);
    check_zero(&card, 3, 1);
    memset(page, 1, PAGE);
    write_page(&card, 3, page);
    /* The guest's word on power does not bring it back */
    port_set_word(&card, SLTCTL, port_word(&card, SLTCTL));
    g_assert_cmphex(config_read(card.qts, card.bus, 0, 0), ==, 0xffffffff);
    /* The monitor still knows what is on it */
    g_assert_cmpuint(query_u64(&card, "stored"), ==, PAGE);

    set_fault(&card, "link-down", false);
    set_fault(&card, "reports-stop", false);
    g_assert(port_word(&card, LNKSTA) & LNKSTA_ACTIVE);
    g_assert(port_word(&card, SLTSTA) & SLTSTA_DLLSC);
    card_init(&card, card.qts, 0);
    g_assert_cmpint(aliases(card.qts), ==, 0);
    card_map(&card);
    g_assert_cmpuint(report(&card, R_STORED), ==, PAGE);
    qtest_bufread(card.qts, card.hpa + 3 * PAGE, page, PAGE);
    g_assert_cmpuint(expected_bytes("zstd", 64, page), ==, PAGE);

    /* A reset of the machine brings it back, too */
    set_fault(&card, "link-down", true);
    qtest_system_reset(card.qts);
    card_init(&card, card.qts, 0);
    card_map(&card);
    g_assert_cmpuint(report(&card, R_STORED), ==, PAGE);

    /* A host that found the link down switches the slot off */
    set_fault(&card, "link-down", true);
    slot_power(card.qts, 0, false);
    event = qtest_qmp_eventwait_ref(card.qts, "CXL_COMPRESSION_REMOVED");
    g_assert_cmpuint(qdict_get_int(qdict_get_qdict(event, "data"), "stored"),
                     ==, PAGE);
    qobject_unref(event);
    qtest_qmp_eventwait(card.qts, "DEVICE_DELETED");
    qtest_quit(card.qts);
}

static void test_properties(void)
{
    static const struct {
        const char *props;
        const char *error;
    } bad[] = {
        { "'sn': 1", "needs physical-size" },
        { "'physical-size': 524288", "metadata" },
        { "'physical-size': 268959745", "at most" },
        { "'physical-size': 67108864,"
          " 'algorithm': 'snappy'", "snappy" },
        { "'physical-size': 67108864, 'unit': 48",
          "power of two" },
        { "'physical-size': 67108864, 'unit': 8192",
          "power of two" },
        { "'physical-size': 67108864, 'settle-ms': 0",
          "settle-ms" },
        { "'physical-size': 67108864,"
          " 'worst-page-size': 4095", "worst-page-size" },
        { "'physical-size': 67108864,"
          " 'worst-page-size': 16385", "worst-page-size" },
        { "'physical-size': 67108864,"
          " 'reservation-step': 12288", "reservation-step" },
        { "'physical-size': 67108864,"
          " 'report-ms': 1001", "report-ms" },
        { "'physical-size': 67108864,"
          " 'low-watermark': 2097152, 'high-watermark': 1048576",
          "low-watermark" },
        { "'physical-size': 67108864,"
          " 'high-watermark': 67108864", "high-watermark" },
    };
    QTestState *qts = qtest_init(MACHINE
        "-object memory-backend-ram,id=ram0,size=256M ");
    QDict *rsp;
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(bad); i++) {
        g_autofree char *json = g_strdup_printf(
            "{'driver': 'cxl-type3-compressed', 'bus': 'rp0', 'id': 'mem0',"
            " 'volatile-memdev': 'ram0', %s}", bad[i].props);
        expect_error(qts, plug(qts, json), bad[i].error);
    }
    expect_error(qts, plug(qts, "{'driver': 'cxl-type3-compressed',"
        " 'bus': 'rp0', 'physical-size': 67108864,"
        " 'num-dc-regions': 1, 'volatile-dc-memdev': 'ram0'}"),
        "needs volatile-memdev");

    /* After all these the memory is still good for a device that is right */
    rsp = plug(qts, "{'driver': 'cxl-type3-compressed', 'bus': 'rp0',"
               " 'id': 'mem0', 'volatile-memdev': 'ram0',"
               " 'physical-size': 67108864}");
    g_assert(qdict_haskey(rsp, "return"));
    qobject_unref(rsp);
    qtest_quit(qts);
}

static void test_no_migration(void)
{
    QTestState *qts = qtest_init(MACHINE MEM0("256M", "physical-size=64M"));
    QDict *rsp;

    expect_error(qts, qtest_qmp(qts, "{'execute': 'migrate',"
                                " 'arguments': {'uri': 'exec:cat'}}"),
                 "cannot be migrated");
    /* Without the card it may */
    qtest_qmp_assert_success(qts, "{'execute': 'device_del',"
                             " 'arguments': {'id': 'mem0'}}");
    slot_power(qts, 0, false);
    qtest_qmp_eventwait(qts, "DEVICE_DELETED");
    rsp = qtest_qmp(qts, "{'execute': 'query-migrate'}");
    g_assert(!qdict_haskey(qdict_get_qdict(rsp, "return"), "blocked-reasons"));
    qobject_unref(rsp);
    qtest_quit(qts);
}

static void test_not_compressed(void)
{
    QTestState *qts = qtest_init(MACHINE
        "-object memory-backend-ram,id=ram0,size=256M "
        "-device cxl-type3,bus=rp0,volatile-memdev=ram0,id=mem0");
    static const char *const commands[] = {
        "{'execute': 'x-cxl-query-compression',"
        " 'arguments': {'path': 'mem0'}}",
        "{'execute': 'x-cxl-inject-watermark',"
        " 'arguments': {'path': 'mem0', 'watermark': 'low'}}",
        "{'execute': 'x-cxl-set-physical-size',"
        " 'arguments': {'path': 'mem0', 'size': 1}}",
        "{'execute': 'x-cxl-set-compression-fault',"
        " 'arguments': {'path': 'mem0', 'fault': 'reports-stop',"
        " 'enable': true}}",
    };
    Card card;
    QDict *rsp;
    unsigned i;

    /* Nor does it have any of the properties */
    rsp = plug(qts, "{'driver': 'cxl-type3', 'bus': 'rp1',"
               " 'physical-size': 67108864}");
    expect_error(qts, rsp, "physical-size");
    card_init(&card, qts, 0);
    card_map(&card);
    /* It has the alias like any other device, and nothing else */
    g_assert_cmpint(aliases(qts), ==, 1);
    g_assert_cmpuint(mbox(&card, OP_CAPACITY, NULL, 0), ==, RC_UNSUPPORTED);
    g_assert_cmpuint(mbox(&card, OP_MEDIA, NULL, 0), ==, RC_UNSUPPORTED);
    g_assert_cmpuint(mbox(&card, OP_GET_SUPPORTED_LOGS, NULL, 0), ==, 0);
    g_assert_cmpuint(lduw_le_p(card.out), ==, 1);
    g_assert_cmpuint(card.out_len, ==, 28);
    for (i = 0; i < ARRAY_SIZE(commands); i++) {
        expect_error(qts, qtest_qmp(qts, "%p",
                                    qobject_from_json(commands[i],
                                                      &error_abort)),
                     "does not compress");
    }
    expect_error(qts, qtest_qmp(qts, "{'execute': 'x-cxl-query-compression',"
                                " 'arguments': {'path': 'rp0'}}"),
                 "no CXL type 3 device");
    qtest_quit(qts);
}

static void test_backend_policy(void)
{
    QTestState *qts = qtest_init("-machine none "
                                 "-object memory-backend-ram,id=ram0,size=1M");
    QDict *rsp;

    expect_error(qts, qtest_qmp(qts, "{'execute': 'qom-set', 'arguments':"
        " {'path': 'ram0', 'property': 'policy', 'value': 'bind'}}"),
        "would not be applied");
    rsp = qtest_qmp(qts, "{'execute': 'qom-get', 'arguments':"
                    " {'path': 'ram0', 'property': 'policy'}}");
    g_assert_cmpstr(qdict_get_str(rsp, "return"), ==, "default");
    qobject_unref(rsp);
#ifdef CONFIG_NUMA
    expect_error(qts, qtest_qmp(qts, "{'execute': 'qom-set', 'arguments':"
        " {'path': 'ram0', 'property': 'host-nodes', 'value': [0]}}"),
        "would not be applied");
#endif
    qtest_quit(qts);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

#ifdef CONFIG_ZSTD
    qtest_add_data_func("/cxl/compressed/exact-bytes/zstd", "zstd",
                        test_exact_bytes);
    qtest_add_func("/cxl/compressed/report-fields", test_report_fields);
    qtest_add_func("/cxl/compressed/log", test_log);
    qtest_add_func("/cxl/compressed/overrun", test_overrun);
    qtest_add_func("/cxl/compressed/peak-exposure", test_peak_exposure);
    qtest_add_func("/cxl/compressed/looks-when-asked", test_looks_when_asked);
    qtest_add_func("/cxl/compressed/watermarks", test_watermarks);
    qtest_add_func("/cxl/compressed/trim", test_trim);
    qtest_add_func("/cxl/compressed/media-discovery", test_media_discovery);
    qtest_add_func("/cxl/compressed/malformed", test_malformed);
    qtest_add_func("/cxl/compressed/range-usage", test_range_usage);
    qtest_add_func("/cxl/compressed/fault/reports", test_fault_reports);
    qtest_add_func("/cxl/compressed/fault/trim", test_fault_trim);
    qtest_add_func("/cxl/compressed/fault/watermarks", test_fault_watermarks);
    qtest_add_func("/cxl/compressed/physical-size", test_physical_size);
    qtest_add_func("/cxl/compressed/shrink-watermarks",
                   test_shrink_watermarks);
    qtest_add_func("/cxl/compressed/shrink-announced", test_shrink_announced);
    qtest_add_func("/cxl/compressed/grow-forgives-nothing",
                   test_grow_forgives_nothing);
    qtest_add_func("/cxl/compressed/trim-counts-when-answered",
                   test_trim_counts_when_answered);
    qtest_add_func("/cxl/compressed/watermark-flag", test_watermark_flag);
    qtest_add_func("/cxl/compressed/watermark-events", test_watermark_events);
    qtest_add_func("/cxl/compressed/settle-is-fair", test_settle_is_fair);
    qtest_add_func("/cxl/compressed/worse-cards", test_worse_cards);
    qtest_add_func("/cxl/compressed/overhead", test_overhead);
    qtest_add_func("/cxl/compressed/tag", test_tag);
    qtest_add_func("/cxl/compressed/fault/implausible",
                   test_fault_implausible);
    qtest_add_func("/cxl/compressed/fault/trim-space", test_fault_trim_space);
    qtest_add_func("/cxl/compressed/unplug-verdict", test_unplug_verdict);
    qtest_add_func("/cxl/compressed/two-cards", test_two_cards);
    qtest_add_func("/cxl/compressed/sanitize", test_sanitize);
    qtest_add_func("/cxl/compressed/sanitize-ended", test_sanitize_ended);
    qtest_add_func("/cxl/compressed/poison", test_poison);
    qtest_add_func("/cxl/compressed/fault/lost-poisoned", test_lost_poisoned);
    qtest_add_func("/cxl/compressed/fault/link-down", test_fault_link_down);
    qtest_add_func("/cxl/compressed/unplug", test_unplug);
    qtest_add_func("/cxl/compressed/properties", test_properties);
    qtest_add_func("/cxl/compressed/no-migration", test_no_migration);
#endif
#ifdef CONFIG_LZ4
    qtest_add_data_func("/cxl/compressed/exact-bytes/lz4", "lz4",
                        test_exact_bytes);
#endif
    qtest_add_func("/cxl/compressed/off", test_not_compressed);
    qtest_add_func("/hostmem/policy-is-fixed", test_backend_policy);
    return g_test_run();
}
