/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * QTest testcase for the compressing CXL memory device: a walk through its
 * states. Host, monitor, and whoever plugs and unplugs do what chance has them
 * do; again and again everything that can be computed from the memory's content
 * is compared with what the device says. Ten minutes with -m slow; the seed is
 * printed, --seed repeats it.
 *
 * Copyright (c) 2026 The cram authors
 */

#include "qemu/osdep.h"
#include "cxl-compressed-card.h"

/* Pages that are written, of a device of many more; how many fit, about */
#define PAGES 384
#define ROOM 200

#define MAX_LINES 8

typedef struct Walk {
    Card card;
    GRand *rand;
    /* What is plugged in */
    const char *algorithm;
    unsigned unit;
    uint64_t worst;
    uint64_t overhead;
    bool linked;
    bool forced;
    /* Faults that are on, a bit each */
    uint32_t faults;
    /* Something may come back late from a trim */
    bool late;
    /* Poisoned lines */
    uint64_t line[MAX_LINES];
    unsigned nr_lines;
    /* What was said before, and never becomes less */
    uint64_t peak, excess, over, generation;
    unsigned checks, lost;
} Walk;

enum {
    REPORTS_STOP, TRIM_SPACE_LATE, TRIM_SPACE_PARTIAL, TRIM_WRITTEN_BACK,
    MAILBOX_BUSY, MAILBOX_RETRY,
};

static const struct {
    const char *name;
    bool delay;
} faults[] = {
    [REPORTS_STOP] = { "reports-stop" },
    [TRIM_SPACE_LATE] = { "trim-space-late", true },
    [TRIM_SPACE_PARTIAL] = { "trim-space-partial" },
    [TRIM_WRITTEN_BACK] = { "trim-written-back", true },
    [MAILBOX_BUSY] = { "mailbox-busy" },
    [MAILBOX_RETRY] = { "mailbox-retry" },
    { "reports-fail" }, { "reports-slow", true }, { "generation-stale" },
    { "generation-reordered" }, { "report-overfull" }, { "report-worst-zero" },
    { "report-all-ones" }, { "report-version" }, { "watermarks-refused" },
    { "trim-refused" }, { "trim-bad-page" }, { "trim-unsupported" },
    { "trim-late", true }, { "trim-half" }, { "watermark-lost" },
    { "watermark-spurious" },
};

static unsigned any(Walk *w, unsigned end)
{
    return g_rand_int_range(w->rand, 0, end);
}

static void fault(Walk *w, unsigned n, bool on)
{
    if (on && faults[n].delay) {
        set_fault_delay(&w->card, faults[n].name, any(w, 3));
    } else {
        set_fault(&w->card, faults[n].name, on);
    }
    w->faults = on ? w->faults | 1u << n : w->faults & ~(1u << n);
}

static bool faulty(Walk *w, unsigned n)
{
    return w->faults & 1u << n;
}

/* What firmware and OS do after a reset */
static void bring_up(Walk *w)
{
    card_init(&w->card, w->card.qts, 0);
    card_map(&w->card);
}

static void reset(Walk *w)
{
    qtest_system_reset(w->card.qts);
    w->linked = true;
    bring_up(w);
}

static void set_link(Walk *w, bool up)
{
    if (w->linked != up) {
        set_fault(&w->card, "link-down", !up);
        w->linked = up;
        if (up) {
            bring_up(w);
        }
    }
}

/* A mailbox command; returns what it ended with, 0 if it was never answered */
static unsigned command(Walk *w, uint16_t op, const void *in, size_t len)
{
    unsigned rc;

    set_link(w, true);
    mbox_begin(&w->card, op, in, len);
    if ((op == OP_CAPACITY || op == OP_GET_LOG) && faulty(w, REPORTS_STOP) &&
        mbox_busy(&w->card)) {
        if (any(w, 2)) {
            reset(w);
            return 0;
        }
        fault(w, REPORTS_STOP, false);
    }
    rc = mbox_end(&w->card);
    if (rc == RC_BG_STARTED) {
        if (any(w, 2)) {
            reset(w);
        }
        while (!aliases(w->card.qts)) {
            qtest_clock_step(w->card.qts, 1000 * 1000 * 1000);
            g_usleep(100);
        }
    }
    return rc;
}

static void put_range(Walk *w, uint8_t *at)
{
    uint64_t first = any(w, PAGES);
    uint64_t nr = 1 + any(w, any(w, 4) ? 8 : PAGES);

    stq_le_p(at, first * PAGE);
    stq_le_p(at + 8, any(w, 20) ? nr * PAGE : LOGICAL - first * PAGE);
}

static void step_store(Walk *w)
{
    uint64_t first = any(w, PAGES);
    uint64_t nr = 1 + any(w, any(w, 4) ? 8 : 64);
    unsigned kind = any(w, 6);
    uint8_t page[PAGE];

    for (nr = MIN(nr, PAGES - first); nr; nr--, first++) {
        switch (kind) {
        case 0:
            qtest_memset(w->card.qts, w->card.hpa + first * PAGE, 0, PAGE);
            break;
        case 1:
            qtest_writeq(w->card.qts, w->card.hpa + first * PAGE +
                         8 * any(w, 512), g_rand_int(w->rand));
            break;
        case 2:
            make_page(page, w->rand, any(w, PAGE), 3);
            write_page(&w->card, first, page);
            break;
        default:
            make_page(page, w->rand, PAGE, 0);
            write_page(&w->card, first, page);
        }
    }
}

static void step_trim(Walk *w)
{
    uint8_t in[8 + 3 * 16] = { 0 };
    unsigned nr = any(w, 4), i;
    bool media = any(w, 2);

    if (media) {
        in[0] = 1;
        in[1] = any(w, 2);
    }
    stl_le_p(in + (media ? 4 : 0), nr);
    for (i = 0; i < nr; i++) {
        put_range(w, in + 8 + 16 * i);
    }
    w->late |= faulty(w, TRIM_SPACE_LATE) || faulty(w, TRIM_SPACE_PARTIAL) ||
               faulty(w, TRIM_WRITTEN_BACK);
    command(w, media ? OP_MEDIA : OP_TRIM, in, 8 + 16 * nr);
}

static void step_report(Walk *w)
{
    uint8_t in[16];

    stq_le_p(in, g_rand_int(w->rand));
    stq_le_p(in + 8, w->generation + any(w, 5));
    command(w, OP_CAPACITY, in, 8 * any(w, 3));
}

static void step_watermarks(Walk *w)
{
    uint8_t in[16];
    uint64_t low = any(w, ROOM);

    stq_le_p(in, low * PAGE);
    stq_le_p(in + 8, (low + any(w, ROOM - low + 8)) * PAGE);
    command(w, OP_SET_WM, in, 16);
}

/* Any command, valid or not; none that poisons */
static void step_anything(Walk *w)
{
    static const uint16_t ops[] = {
        0x1, 0x100, 0x101, 0x102, 0x103, 0x300, 0x301, 0x400, 0x401, 0x4000,
        0x4100, 0x4102, OP_SANITIZE, 0x4401, OP_MEDIA, OP_CAPACITY, OP_GET_WM,
        OP_SET_WM, OP_TRIM, OP_USAGE, 0xc005, 0xffff,
    };
    uint8_t in[256];
    size_t len = any(w, 3) ? 8 + 16 * any(w, 4) : any(w, sizeof(in) + 1);
    unsigned i;

    for (i = 0; i < len; i++) {
        in[i] = any(w, 3) ? 0 : g_rand_int(w->rand);
    }
    if (len >= 24 && any(w, 2)) {
        stl_le_p(in, (len - 8) / 16);
        put_range(w, in + 8);
    }
    w->late |= w->faults != 0;
    command(w, ops[any(w, ARRAY_SIZE(ops))], in, len);
}

/* Registers are written at random. Only a reset helps */
static void step_registers(Walk *w)
{
    unsigned nr = any(w, 100);

    set_link(w, true);
    w->late |= w->faults != 0;
    for (; nr; nr--) {
        uint32_t val = any(w, 2) ? g_rand_int(w->rand) : 1u << any(w, 32);
        uint64_t at = any(w, 0x300) * 4;

        if (any(w, 2)) {
            qtest_writel(w->card.qts, w->card.comp + CACHE_MEM + at, val);
        } else if (at != MBOX_CMD) {
            qtest_writel(w->card.qts, w->card.dev + at, val);
        }
    }
    reset(w);
}

static void step_fault(Walk *w)
{
    unsigned n = any(w, ARRAY_SIZE(faults));

    fault(w, n, !faulty(w, n));
}

static void step_resize(Walk *w)
{
    bool force = !any(w, 3);
    QDict *rsp = qtest_qmp(w->card.qts,
        "{'execute': 'x-cxl-set-physical-size', 'arguments': {'path': 'mem0',"
        " 'size': %" PRIu64 ", 'force': %i}}",
        (uint64_t)(METADATA + (any(w, 2) ? 0 : PAGE) + any(w, 2 * ROOM) * PAGE),
        force);

    w->forced |= force;
    qobject_unref(rsp);
}

static void step_overhead(Walk *w)
{
    w->overhead = any(w, 2) ? 0 : any(w, ROOM / 2 * PAGE);
    qtest_qmp_assert_success(w->card.qts,
        "{'execute': 'x-cxl-set-compression-overhead',"
        " 'arguments': {'path': 'mem0', 'size': %" PRIu64 "}}", w->overhead);
}

static void step_inject(Walk *w)
{
    qtest_qmp_assert_success(w->card.qts,
        "{'execute': 'x-cxl-inject-watermark',"
        " 'arguments': {'path': 'mem0', 'watermark': %s}}",
        any(w, 2) ? "low" : "high");
}

static void step_link(Walk *w)
{
    set_link(w, !w->linked);
}

static void step_poison(Walk *w)
{
    uint64_t at = any(w, PAGES * 64) * 64;
    unsigned i;

    for (i = 0; i < w->nr_lines; i++) {
        if (w->line[i] == at) {
            return;
        }
    }
    if (w->nr_lines < MAX_LINES) {
        w->line[w->nr_lines++] = at;
        qtest_qmp_assert_success(w->card.qts, "{'execute': 'cxl-inject-poison',"
            " 'arguments': {'path': '/machine/peripheral/mem0',"
            " 'start': %" PRIu64 ", 'length': 64}}", at);
    }
}

static void clear_poison(Walk *w)
{
    uint8_t in[72];
    unsigned i;

    while (w->nr_lines) {
        stq_le_p(in, w->line[--w->nr_lines]);
        for (i = 8; i < sizeof(in); i++) {
            in[i] = g_rand_int(w->rand);
        }
        g_assert_cmpuint(command(w, OP_CLEAR_POISON, in, 72), ==, RC_SUCCESS);
    }
}

/* Is the page's content what the device leaves of a page that did not fit? */
static bool looks_lost(const uint8_t *page, uint64_t n)
{
    unsigned i;

    for (i = 0; i < PAGE; i += 16) {
        if (memcmp(page + i, "LOST TO ", 8) ||
            ldq_le_p(page + i + 8) != ~(n * PAGE + i)) {
            return false;
        }
    }
    return true;
}

/* Bytes stored, and lost pages, in [@first, @first + @nr) */
static uint64_t usage(Walk *w, uint64_t first, uint64_t nr, uint64_t *ret_lost)
{
    uint8_t in[16];

    stq_le_p(in, first * PAGE);
    stq_le_p(in + 8, nr * PAGE);
    do {
        g_assert_cmpuint(command(w, OP_USAGE, in, 16), ==, RC_SUCCESS);
    } while (ldq_le_p(w->card.out + 24));
    *ret_lost = ldq_le_p(w->card.out + 16);
    return ldq_le_p(w->card.out);
}

typedef struct Content {
    uint64_t stored;
    uint64_t lost;
    uint64_t histogram[9];
} Content;

/* What follows from what is there to be read */
static void read_content(Walk *w, Content *c)
{
    g_autofree uint8_t *mem = g_malloc(PAGES * PAGE);
    uint64_t i, bytes, lost;

    memset(c, 0, sizeof(*c));
    qtest_bufread(w->card.qts, w->card.hpa, mem, PAGES * PAGE);
    for (i = 0; i < PAGES; i++) {
        const uint8_t *page = mem + i * PAGE;

        bytes = expected_bytes(w->algorithm, w->unit, page);
        bytes = bytes < PAGE ? bytes : w->worst;
        if (looks_lost(page, i)) {
            usage(w, i, 1, &lost);
            if (lost) {
                bytes = 0;
                c->lost++;
            }
        }
        c->stored += bytes;
        c->histogram[MIN(DIV_ROUND_UP(bytes, 512), 8)]++;
    }
    c->histogram[0] += LOGICAL / PAGE - PAGES;
}

static uint64_t get(QDict *info, const char *key)
{
    return qdict_get_int(info, key);
}

/* What the monitor is told when everything is settled, and makes sense */
static QDict *ask(Walk *w)
{
    QDict *info = query(&w->card);
    uint64_t usable, stored, room;

    while (get(info, "unsettled")) {
        qobject_unref(info);
        info = query(&w->card);
    }
    usable = get(info, "usable-size");
    stored = get(info, "stored");
    room = usable > stored ? usable - stored : 0;
    g_assert_cmpuint(get(info, "metadata-size"), ==, METADATA);
    g_assert_cmpuint(usable, ==, get(info, "physical-size") - METADATA);
    g_assert_cmpuint(get(info, "target-physical-size"), <=,
                     get(info, "physical-size"));
    g_assert_cmpuint(get(info, "low-watermark"), <=,
                     get(info, "high-watermark"));
    g_assert_cmpuint(get(info, "high-watermark"), <=, usable);
    if (qdict_get_bool(info, "below-low-watermark")) {
        g_assert_cmpuint(room, <, get(info, "high-watermark"));
    } else {
        g_assert_cmpuint(room, >=, get(info, "low-watermark"));
    }
    g_assert_cmpuint(get(info, "peak-exposure"), >=, stored);
    g_assert_cmpuint(get(info, "peak-exposure"), >=, w->peak);
    g_assert_cmpuint(get(info, "peak-excess"), >=, w->excess);
    g_assert_cmpuint(get(info, "over-capacity-pages"), >=, w->over);
    g_assert_cmpuint(get(info, "excused-pages"), <=,
                     get(info, "over-capacity-pages"));
    g_assert_cmpuint(get(info, "generation"), >=, w->generation);
    /* Only a shrink by force is an excuse */
    if (!w->forced) {
        g_assert_cmpuint(get(info, "excused-pages"), ==, 0);
        if (!get(info, "peak-excess")) {
            g_assert_cmpuint(get(info, "over-capacity-pages"), ==, 0);
        }
    }
    w->peak = get(info, "peak-exposure");
    w->excess = get(info, "peak-excess");
    w->over = get(info, "over-capacity-pages");
    w->generation = get(info, "generation");
    return info;
}

static bool is_right(Walk *w, QDict *info, const Content *c)
{
    const QListEntry *entry;
    unsigned i = 0;

    if (get(info, "stored") != c->stored + w->overhead) {
        return false;
    }
    QLIST_FOREACH_ENTRY(qdict_get_qlist(info, "histogram"), entry) {
        if (qnum_get_uint(qobject_to(QNum, qlist_entry_obj(entry))) !=
            c->histogram[i++]) {
            return false;
        }
    }
    return true;
}

/* Nothing is under way: the books say what is there */
static void check(Walk *w)
{
    int64_t give_up = g_get_monotonic_time() + 10 * G_TIME_SPAN_SECOND;
    QDict *info = ask(w);
    uint64_t lost;
    Content c;

    fault(w, MAILBOX_BUSY, false);
    fault(w, MAILBOX_RETRY, false);
    fault(w, TRIM_SPACE_PARTIAL, false);
    clear_poison(w);
    set_link(w, true);
    for (;;) {
        qobject_unref(info);
        info = ask(w);
        read_content(w, &c);
        if (is_right(w, info, &c) ||
            !w->late || g_get_monotonic_time() > give_up) {
            break;
        }
        g_usleep(1000);
    }
    w->late = faulty(w, TRIM_SPACE_LATE) || faulty(w, TRIM_WRITTEN_BACK);
    g_assert_cmpuint(get(info, "stored"), ==, c.stored + w->overhead);
    g_assert(is_right(w, info, &c));
    if (!w->late) {
        g_assert_cmpuint(usage(w, 0, LOGICAL / PAGE, &lost), ==, c.stored);
        g_assert_cmpuint(lost, ==, c.lost);
    }
    g_assert_cmpuint(c.lost, <=, w->over);
    w->checks++;
    w->lost += c.lost;
    qobject_unref(info);
}

static void plug_in(Walk *w)
{
    static const char *const algorithms[] = {
#ifdef CONFIG_ZSTD
        "zstd",
#endif
#ifdef CONFIG_LZ4
        "lz4",
#endif
    };
    g_autofree char *json = NULL;
    QDict *rsp;

    w->algorithm = algorithms[any(w, ARRAY_SIZE(algorithms))];
    w->unit = 1u << any(w, 13);
    w->worst = any(w, 2) ? PAGE : PAGE + any(w, 3 * PAGE);
    w->overhead = w->peak = w->excess = w->over = w->generation = 0;
    w->faults = w->nr_lines = 0;
    w->forced = w->late = false;
    w->linked = true;
    json = g_strdup_printf(
        "{'driver': 'cxl-type3-compressed', 'bus': 'rp0', 'id': 'mem0',"
        " 'volatile-memdev': 'ram0', 'algorithm': '%s', 'unit': %u,"
        " 'physical-size': %" PRIu64 ", 'worst-page-size': %" PRIu64 ","
        " 'reservation-step': %u, 'reporting-lag': %u, 'report-ms': 1000,"
        " 'settle-ms': %u}", w->algorithm, w->unit,
        (uint64_t)(METADATA + ROOM * w->worst), w->worst, 1u << any(w, 17),
        any(w, 2) * 65536, any(w, 2) ? 1 : 3600000);
    g_test_message("%s", json);
    rsp = plug(w->card.qts, json);
    g_assert(qdict_haskey(rsp, "return"));
    qobject_unref(rsp);
    slot_power(w->card.qts, 0, true);
    bring_up(w);
}

/* The last word of a card that goes is that of one that was asked before */
static void unplug(Walk *w)
{
    bool quiet = any(w, 2);
    QDict *event, *data;

    if (quiet) {
        unsigned n;

        for (n = 0; n < ARRAY_SIZE(faults); n++) {
            fault(w, n, false);
        }
        check(w);
        w->late = false;
        check(w);
    }
    set_link(w, true);
    commit(w->card.qts, HB_REGS, 0, false);
    qtest_qmp_assert_success(w->card.qts, "{'execute': 'device_del',"
                             " 'arguments': {'id': 'mem0'}}");
    slot_power(w->card.qts, 0, false);
    event = qtest_qmp_eventwait_ref(w->card.qts, "CXL_COMPRESSION_REMOVED");
    data = qdict_get_qdict(event, "data");
    g_assert_cmpuint(get(data, "peak-exposure"), >=, w->peak);
    if (quiet) {
        g_assert_cmpuint(get(data, "peak-exposure"), ==, w->peak);
        g_assert_cmpuint(get(data, "peak-excess"), ==, w->excess);
        g_assert_cmpuint(get(data, "over-capacity-pages"), ==, w->over);
    }
    qobject_unref(event);
    qtest_qmp_eventwait(w->card.qts, "DEVICE_DELETED");
}

static void step_replug(Walk *w)
{
    unplug(w);
    plug_in(w);
}

static void step_reset(Walk *w)
{
    reset(w);
}

static void test_walk(void)
{
    static const struct {
        const char *name;
        void (*go)(Walk *w);
        unsigned often;
    } steps[] = {
        { "store", step_store, 40 },
        { "trim", step_trim, 12 },
        { "report", step_report, 12 },
        { "watermarks", step_watermarks, 6 },
        { "anything", step_anything, 10 },
        { "registers", step_registers, 1 },
        { "fault", step_fault, 10 },
        { "resize", step_resize, 8 },
        { "overhead", step_overhead, 3 },
        { "inject", step_inject, 2 },
        { "link", step_link, 2 },
        { "poison", step_poison, 3 },
        { "reset", step_reset, 2 },
        { "replug", step_replug, 2 },
        { "check", check, 8 },
    };
    int64_t end = g_get_monotonic_time() +
                  (g_test_slow() ? 600 : 10) * G_TIME_SPAN_SECOND;
    uint32_t seed = g_test_rand_int();
    unsigned total = 0, i, n, done = 0;
    Walk w = { .rand = g_rand_new_with_seed(seed) };

    for (i = 0; i < ARRAY_SIZE(steps); i++) {
        total += steps[i].often;
    }
    w.card.qts = qtest_init(MACHINE
        "-object memory-backend-ram,id=ram0,size=256M ");
    plug_in(&w);
    while (g_get_monotonic_time() < end) {
        n = any(&w, total);
        for (i = 0; n >= steps[i].often; i++) {
            n -= steps[i].often;
        }
        if (g_test_verbose()) {
            g_test_message("%u: %s", done, steps[i].name);
        }
        steps[i].go(&w);
        done++;
    }
    check(&w);
    g_test_message("%u steps, %u checks, %u lost pages seen", done, w.checks,
                   w.lost);
    qtest_quit(w.card.qts);
    g_rand_free(w.rand);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

#if defined(CONFIG_ZSTD) || defined(CONFIG_LZ4)
    qtest_add_func("/cxl/compressed-walk", test_walk);
#endif
    return g_test_run();
}
