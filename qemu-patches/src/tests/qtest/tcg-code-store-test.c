/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * QTest testcase for multi-threaded TCG: code that a vCPU stores to while
 * others run it. Who knows that the store is done does not run the code from
 * before it.
 *
 * What can go wrong takes a vCPU that the host interrupts between two places
 * of a slow store. So there are more vCPUs than host processors, on any host.
 *
 * Copyright (c) 2026 The cram authors
 */

#include "qemu/osdep.h"
#ifdef CONFIG_LINUX
#include <sched.h>
#endif
#include "qemu/units.h"
#include "libqtest.h"
#include "tcg-code-store-guest.h"

/* Of tcg-code-store-guest.S */
#define RUN 0x8000
#define PUBLISHED 0x8040
#define STALE 0x80c0
#define VCPUS 0x8100

static void make_firmware(const char *path)
{
    /* ljmp $0xf000, $0 */
    static const uint8_t start[] = { 0xea, 0x00, 0x00, 0x00, 0xf0 };
    g_autofree uint8_t *rom = g_malloc0(64 * KiB);

    memcpy(rom, guest, sizeof(guest));
    memcpy(rom + 0xf000, start, sizeof(start));
    memcpy(rom + 0xfff0, start, sizeof(start));
    g_assert(g_file_set_contents(path, (char *)rom, 64 * KiB, NULL));
}

/* Have what is started from here on use two processors at most */
static void use_two_processors(void)
{
#ifdef CONFIG_LINUX
    int i, n = 0;
    cpu_set_t set;

    g_assert_cmpint(sched_getaffinity(0, sizeof(set), &set), ==, 0);
    for (i = 0; i < CPU_SETSIZE; i++) {
        if (CPU_ISSET(i, &set) && ++n > 2) {
            CPU_CLR(i, &set);
        }
    }
    g_assert_cmpint(sched_setaffinity(0, sizeof(set), &set), ==, 0);
#endif
}

static void test_plain_and_atomic(void)
{
    const int seconds = g_test_slow() ? 600 : 10;
    g_autofree char *dir = g_dir_make_tmp("tcg-code-store-XXXXXX", NULL);
    g_autofree char *firmware = g_build_filename(dir, "firmware", NULL);
    int64_t give_up = g_get_monotonic_time() + 60 * G_TIME_SPAN_SECOND;
    uint32_t rounds, stale;
    QTestState *qts;

    make_firmware(firmware);
    use_two_processors();
    qts = qtest_initf("-accel tcg,thread=multi -smp 4 -bios %s", firmware);
    while (qtest_readl(qts, VCPUS) != 4) {
        g_assert_cmpint(g_get_monotonic_time(), <, give_up);
        g_usleep(1000);
    }
    qtest_writel(qts, RUN, 1);
    g_usleep(seconds * G_USEC_PER_SEC);
    qtest_writel(qts, RUN, 0);
    rounds = qtest_readl(qts, PUBLISHED);
    stale = qtest_readl(qts, STALE);
    g_test_message("%u rounds of stores, %u calls of what was there before",
                   rounds, stale);
    g_assert_cmpuint(rounds, >, 10);
    g_assert_cmpuint(stale, ==, 0);
    qtest_quit(qts);
    unlink(firmware);
    rmdir(dir);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    if (qtest_has_accel("tcg")) {
        qtest_add_func("/tcg/code-store/plain-and-atomic",
                       test_plain_and_atomic);
    }
    return g_test_run();
}
