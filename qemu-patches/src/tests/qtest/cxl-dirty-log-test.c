/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * QTest testcase for the dirty log under multi-threaded TCG: is every store in
 * it? Two vCPUs store to the memory of a compressing CXL device while it makes
 * reports, then stop; what the device says it stores is compared with what is
 * in the memory. Noise takes a whole page, zeros nothing; a page that the
 * device saw half filled takes neither.
 *
 * Copyright (c) 2026 The cram authors
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "cxl-decoders.h"
#include "cxl-dirty-log-guest.h"

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
#define REPORT_STORED 0x30
#define REPORT_UNSETTLED 0x38

/* Where the guest is told to run, and tells what it saw */
#define RUN 0x8000
#define SEEN 0x8004

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

/* Bytes stored; pages that there was no time for are in *@ret_unsettled */
static uint64_t report(QTestState *qts, uint64_t dev, uint64_t *ret_unsettled)
{
    qtest_writeq(qts, dev + MBOX_CMD, OP_CAPACITY);
    qtest_writel(qts, dev + MBOX_CTRL, 1);
    wait_for(qts, dev + MBOX_CTRL, 1, 0);
    g_assert_cmphex(qtest_readq(qts, dev + MBOX_STS) >> 32 & 0xffff, ==, 0);
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

/*
 * Whether a store is missing in the log shows only if none follows that is not,
 * before the next look of the device. So there is one page a vCPU, stored to
 * again and again, others that keep the device busy between two looks, and the
 * vCPUs stop soon after a report, behind which the device looks at once.
 */
static void test_every_store(void)
{
    const int rounds = g_test_slow() ? 1000 : 100;
    g_autofree char *dir = g_dir_make_tmp("cxl-dirty-log-XXXXXX", NULL);
    g_autofree char *firmware = g_build_filename(dir, "firmware", NULL);
    const size_t size = (FILLED + TOUCHED) * PAGE;
    g_autofree uint8_t *mem = g_malloc(size);
    g_autoptr(GRand) rand = g_rand_new_with_seed(23);
    QTestState *qts;
    Regs card;
    int round, i, wrong = 0;

    make_firmware(firmware);
    qts = qtest_initf(
        "-accel tcg,thread=multi -smp 2 -bios %s "
        Q35_CXL("cxl-fmw.0.targets.0=cxl.0,cxl-fmw.0.size=4G")
        BRIDGE(0, 52, ",hdm_for_passthrough=on") PORT(rp0, 0, 0)
        RAM(ram0, "256M")
        "-device cxl-type3-compressed,bus=rp0,volatile-memdev=ram0,"
        "physical-size=256M,settle-ms=1", firmware);
    card = port_card_init(qts, 0, 0);
    program(qts, HB_REGS, 0, WINDOW, GRANULE, 0, 0);
    program(qts, card.comp, 0, WINDOW, GRANULE, 0, 0);
    commit(qts, card.comp, 0, true);
    commit(qts, HB_REGS, 0, true);

    for (i = 0; i < size; i++) {
        mem[i] = g_rand_int(rand);
    }
    qtest_bufwrite(qts, WINDOW, mem, size);

    for (round = 0; round < rounds; round++) {
        uint64_t want = 0, stored, unsettled;

        run(qts, 1);
        report(qts, card.dev, &unsettled);
        g_usleep(round % 16 * 100);
        run(qts, 0);
        do {
            stored = report(qts, card.dev, &unsettled);
        } while (unsettled);
        qtest_bufread(qts, WINDOW, mem, size);
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
    qtest_quit(qts);
    unlink(firmware);
    rmdir(dir);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

#ifdef CONFIG_ZSTD
    if (qtest_has_accel("tcg")) {
        qtest_add_func("/cxl/dirty-log/every-store", test_every_store);
    }
#endif
    return g_test_run();
}
