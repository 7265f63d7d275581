/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * QTest testcase for the memory of a compressing CXL device beside
 * multi-threaded TCG. Is every store in the dirty log? Two vCPUs store while
 * the device makes reports, then stop; what it says it stores is compared with
 * what is in the memory. Noise takes a whole page, zeros nothing; a page that
 * the device saw half filled takes neither. And is code forgotten with the
 * memory that it was in, or with what was in it?
 *
 * Copyright (c) 2026 The cram authors
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "cxl-decoders.h"
#include "cxl-dirty-log-guest.h"
#include "qobject/qdict.h"

#define PAGE 4096
/* The pages that vCPUs fill, and those that they touch */
#define FILLED 2
#define TOUCHED 128

/* Device registers: mailbox; the capacity report in it */
#define MBOX_CTRL 0x8c
#define MBOX_CMD 0x90
#define MBOX_STS 0x98
#define MBOX_PAYLOAD 0xa8
#define OP_CAPACITY 0xc000
#define OP_TRIM 0xc003
#define REPORT_STORED 0x30
#define REPORT_UNSETTLED 0x38

/* Where the guest is told to run, tells what it saw, and what code returned */
#define RUN 0x8000
#define SEEN 0x8004
#define RETURNED 0x800c
#define RUN_STORES 1
#define RUN_CODE 2

static void wait_for(QTestState *qts, uint64_t addr, uint32_t mask,
                     uint32_t value)
{
    int64_t give_up = g_get_monotonic_time() + 60 * G_TIME_SPAN_SECOND;

    while ((qtest_readl(qts, addr) & mask) != value) {
        g_assert_cmpint(g_get_monotonic_time(), <, give_up);
        g_usleep(20);
    }
}

static void run(QTestState *qts, uint32_t on)
{
    qtest_writel(qts, RUN, on);
    wait_for(qts, SEEN, -1, on);
    wait_for(qts, SEEN + 4, -1, on);
}

static void command_begin(QTestState *qts, uint64_t dev, uint16_t opcode,
                          const void *in, uint32_t len)
{
    qtest_memwrite(qts, dev + MBOX_PAYLOAD, in, len);
    qtest_writeq(qts, dev + MBOX_CMD, (uint64_t)len << 16 | opcode);
    qtest_writel(qts, dev + MBOX_CTRL, 1);
}

static void command_end(QTestState *qts, uint64_t dev)
{
    wait_for(qts, dev + MBOX_CTRL, 1, 0);
    g_assert_cmphex(qtest_readq(qts, dev + MBOX_STS) >> 32 & 0xffff, ==, 0);
}

static void command(QTestState *qts, uint64_t dev, uint16_t opcode,
                    const void *in, uint32_t len)
{
    command_begin(qts, dev, opcode, in, len);
    command_end(qts, dev);
}

/* Bytes stored; pages that there was no time for are in *@ret_unsettled */
static uint64_t report(QTestState *qts, uint64_t dev, uint64_t *ret_unsettled)
{
    command(qts, dev, OP_CAPACITY, NULL, 0);
    *ret_unsettled = qtest_readq(qts, dev + MBOX_PAYLOAD + REPORT_UNSETTLED);
    return qtest_readq(qts, dev + MBOX_PAYLOAD + REPORT_STORED);
}

static void make_firmware(const char *path)
{
    /* xorl %ebx, %ebx; ljmp $0xf000, $0 */
    static const uint8_t boot[] = {
        0x66, 0x31, 0xdb, 0xea, 0x00, 0x00, 0x00, 0xf0,
    };
    /* movl $1, %ebx; ljmp $0xf000, $0 */
    static const uint8_t other[] = {
        0x66, 0xbb, 0x01, 0x00, 0x00, 0x00, 0xea, 0x00, 0x00, 0x00, 0xf0,
    };
    g_autofree uint8_t *rom = g_malloc0(64 * KiB);

    memcpy(rom, guest, sizeof(guest));
    memcpy(rom + 0xf000, other, sizeof(other));
    memcpy(rom + 0xfff0, boot, sizeof(boot));
    g_assert(g_file_set_contents(path, (char *)rom, 64 * KiB, NULL));
}

typedef struct Machine {
    QTestState *qts;
    Regs card;
    char *dir, *firmware;
} Machine;

static void machine_start(Machine *m)
{
    m->dir = g_dir_make_tmp("cxl-dirty-log-XXXXXX", NULL);
    m->firmware = g_build_filename(m->dir, "firmware", NULL);
    make_firmware(m->firmware);
    m->qts = qtest_initf(
        "-accel tcg,thread=multi -smp 2 -bios %s "
        Q35_CXL("cxl-fmw.0.targets.0=cxl.0,cxl-fmw.0.size=4G")
        BRIDGE(0, 52, ",hdm_for_passthrough=on") PORT(rp0, 0, 0)
        RAM(ram0, "256M")
        "-device cxl-type3-compressed,bus=rp0,volatile-memdev=ram0,id=mem0,"
        "physical-size=256M,settle-ms=1", m->firmware);
    m->card = port_card_init(m->qts, 0, 0);
    program(m->qts, HB_REGS, 0, WINDOW, GRANULE, 0, 0);
    program(m->qts, m->card.comp, 0, WINDOW, GRANULE, 0, 0);
    commit(m->qts, m->card.comp, 0, true);
    commit(m->qts, HB_REGS, 0, true);
}

static void machine_end(Machine *m)
{
    qtest_quit(m->qts);
    unlink(m->firmware);
    rmdir(m->dir);
    g_free(m->firmware);
    g_free(m->dir);
}

/*
 * Whether a store is missing in the log shows only if none follows that is not,
 * before the next look of the device. So there is one page a vCPU, stored to
 * again and again, others that keep the device busy between two looks, and the
 * vCPUs stop while the device makes a report.
 */
static void test_every_store(void)
{
    const int rounds = g_test_slow() ? 1000 : 100;
    const size_t size = (FILLED + TOUCHED) * PAGE;
    g_autofree uint8_t *mem = g_malloc(size);
    g_autoptr(GRand) rand = g_rand_new_with_seed(23);
    Machine m;
    int round, i, wrong = 0;

    machine_start(&m);
    for (i = 0; i < size; i++) {
        mem[i] = g_rand_int(rand);
    }
    qtest_bufwrite(m.qts, WINDOW, mem, size);

    for (round = 0; round < rounds; round++) {
        uint64_t want = 0, stored, unsettled;

        run(m.qts, RUN_STORES);
        report(m.qts, m.card.dev, &unsettled);
        command_begin(m.qts, m.card.dev, OP_CAPACITY, NULL, 0);
        g_usleep(round % 16 * 100);
        run(m.qts, 0);
        command_end(m.qts, m.card.dev);
        do {
            stored = report(m.qts, m.card.dev, &unsettled);
        } while (unsettled);
        qtest_bufread(m.qts, WINDOW, mem, size);
        for (i = 0; i < size; i += PAGE) {
            want += ldl_le_p(mem + i) ? PAGE : 0;
        }
        if (stored != want) {
            g_test_message("round %d: %" PRIu64 " stored, %" PRIu64 " there",
                           round, stored, want);
            wrong++;
        }
    }
    g_assert_cmpint(wrong, ==, 0);
    machine_end(&m);
}

/* A page of code is discarded. What is there then, zeros, leads to the next */
static void test_discarded_code(void)
{
    /* movl $1, %eax; ret */
    uint8_t code[] = { 0xb8, 1, 0, 0, 0, 0xc3 };
    uint8_t trim[24] = { 0 };
    Machine m;
    int i;

    machine_start(&m);
    qtest_memwrite(m.qts, WINDOW, code, sizeof(code));
    code[1] = 2;
    qtest_memwrite(m.qts, WINDOW + PAGE, code, sizeof(code));
    run(m.qts, RUN_CODE);
    for (i = 0; i < 2; i++) {
        wait_for(m.qts, RETURNED + 4 * i, -1, 1);
    }
    stl_le_p(trim, 1);
    stq_le_p(trim + 16, PAGE);
    command(m.qts, m.card.dev, OP_TRIM, trim, sizeof(trim));
    for (i = 0; i < 2; i++) {
        wait_for(m.qts, RETURNED + 4 * i, -1, 2);
    }
    run(m.qts, 0);
    machine_end(&m);
}

/* A page of code is lost. What is there then leads to a triple fault */
static void test_lost_code(void)
{
    /* movl $1, %eax; ret */
    const uint8_t code[] = { 0xb8, 1, 0, 0, 0, 0xc3 };
    int64_t give_up = g_get_monotonic_time() + 60 * G_TIME_SPAN_SECOND;
    g_autoptr(GRand) rand = g_rand_new_with_seed(24);
    uint8_t noise[PAGE / 2];
    QDict *event;
    Machine m;
    int i;

    machine_start(&m);
    qtest_memwrite(m.qts, WINDOW, code, sizeof(code));
    run(m.qts, RUN_CODE);
    for (i = 0; i < 2; i++) {
        wait_for(m.qts, RETURNED + 4 * i, -1, 1);
    }
    /* There is room for the page as it is, and for no other */
    qtest_qmp_assert_success(m.qts,
        "{'execute': 'x-cxl-set-physical-size', 'arguments': {'path': 'mem0',"
        " 'size': %d, 'force': true}}", (int)(GRANULE / PAGE * 8 + 64));
    for (i = 0; i < sizeof(noise); i++) {
        noise[i] = g_rand_int(rand);
    }
    qtest_memwrite(m.qts, WINDOW + PAGE / 2, noise, sizeof(noise));
    while (!(event = qtest_qmp_event_ref(m.qts, "RESET"))) {
        g_assert_cmpint(g_get_monotonic_time(), <, give_up);
        g_usleep(1000);
        qtest_qmp_assert_success(m.qts, "{'execute': 'query-status'}");
    }
    qobject_unref(event);
    machine_end(&m);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

#ifdef CONFIG_ZSTD
    if (qtest_has_accel("tcg")) {
        qtest_add_func("/cxl/dirty-log/every-store", test_every_store);
        qtest_add_func("/cxl/dirty-log/discarded-code", test_discarded_code);
        qtest_add_func("/cxl/dirty-log/lost-code", test_lost_code);
    }
#endif
    return g_test_run();
}
