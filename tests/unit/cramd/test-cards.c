// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A card that compresses is recognised behind its node, on recorded hosts: by the answer it gives,
 * by the operator's list, and whatever cannot be told is not taken for ordinary memory.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <semaphore.h>

#include "cramd/round.h"
#include "recorded.h"
#include "util/cleanup.h"

/* What the played cards answer: two cards, mem0 and mem1. */
static struct {
	bool compresses;
	int error;
	int asked;
	bool stuck;
} cards[2];

static sem_t mailbox;

static const uint8_t other_log[20] = {
	0x0d, 0xa9, 0xc0, 0xb5, 0xbf, 0x41, 0x4b, 0x78, 0x8f, 0x79,
	0x96, 0xb1, 0x62, 0x3b, 0x3f, 0x17, 0x10, 0,	0,    0,
};
static const uint8_t compression_log[20] = {
	0xb3, 0x70, 0x2a, 0x51, 0x20, 0x82, 0x48, 0x05, 0xaa, 0x6a,
	0xd2, 0xde, 0xe4, 0x0e, 0x78, 0x95, 0,	  1,	0,    0,
};

static int ask(const struct sysroot *root, const char *memdev, uint8_t *buf, size_t size)
{
	int i = memdev[3] - '0';

	(void)root;
	assert_true(i == 0 || i == 1);
	assert_true(size >= 48);
	cards[i].asked++;
	if (cards[i].stuck)
		sem_wait(&mailbox);
	if (cards[i].error)
		return cards[i].error;
	memset(buf, 0, 8);
	buf[0] = cards[i].compresses ? 2 : 1;
	memcpy(buf + 8, other_log, 20);
	memcpy(buf + 28, compression_log, 20);
	return cards[i].compresses ? 48 : 28;
}

static void put_node(const char *dir, int nid, uint64_t kib)
{
	char path[96], text[128];

	snprintf(path, sizeof(path), "/sys/devices/system/node/node%d/meminfo", nid);
	snprintf(text, sizeof(text), "Node %d MemTotal: %llu kB\nNode %d MemFree: %llu kB\n", nid,
		 (unsigned long long)kib, nid, (unsigned long long)kib / 2);
	recorded_put(dir, path, text);
	snprintf(path, sizeof(path), "/sys/devices/system/node/node%d/distance", nid);
	recorded_put(dir, path, "10 20 20\n");
}

/* Region @i of 512 MiB, over the cards named, its memory node @nid's. */
static void put_region(const char *dir, int i, int nid, const char *const *targets, int ways)
{
	char path[160], text[64], full[256], link[64];

	snprintf(path, sizeof(path), "/sys/bus/cxl/devices/region%d/resource", i);
	snprintf(text, sizeof(text), "0x%x\n", 0x40000000 + i * 0x20000000);
	recorded_put(dir, path, text);
	snprintf(path, sizeof(path), "/sys/bus/cxl/devices/region%d/size", i);
	recorded_put(dir, path, "0x20000000\n");
	snprintf(path, sizeof(path), "/sys/bus/cxl/devices/region%d/interleave_ways", i);
	snprintf(text, sizeof(text), "%d\n", ways);
	recorded_put(dir, path, text);
	for (int t = 0; t < ways; t++) {
		snprintf(path, sizeof(path), "/sys/bus/cxl/devices/region%d/target%d", i, t);
		snprintf(text, sizeof(text), "decoder%d.0\n", 4 + targets[t][3] - '0');
		recorded_put(dir, path, text);
		snprintf(path, sizeof(path), "/sys/bus/cxl/devices/endpoint%d/",
			 4 + targets[t][3] - '0');
		recorded_put(dir, path, NULL);
		snprintf(full, sizeof(full), "%s%suport", dir, path);
		snprintf(link, sizeof(link), "../../../pci0000:20/%s", targets[t]);
		unlink(full);
		assert_int_equal(symlink(link, full), 0);
	}
	/* The first block of the region was not onlined and has no node. */
	snprintf(path, sizeof(path), "/sys/devices/system/memory/memory%d/node%d/", 8 + i * 4 + 1,
		 nid);
	recorded_put(dir, path, NULL);
}

struct fixture {
	char dir[64];
	struct daemon d;
};

static int make(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	memset(cards, 0, sizeof(cards));
	sem_init(&mailbox, 0, 0);
	recorded_make(f->dir, sizeof(f->dir));
	recorded_put(f->dir, "/sys/devices/system/node/online", "0-2\n");
	recorded_put(f->dir, "/sys/devices/system/node/has_memory", "0-2\n");
	recorded_put(f->dir, "/sys/devices/system/node/has_cpu", "0\n");
	recorded_put(f->dir, "/sys/devices/system/memory/block_size_bytes", "8000000\n");
	for (int nid = 0; nid < 3; nid++)
		put_node(f->dir, nid, nid ? 524288 : 4194304);
	assert_int_equal(host_init(&f->d.host, f->dir, "/run/cramd"), 0);
	f->d.host.log.level = LOG_EMERG;
	*state = f;
	return 0;
}

static int drop(void **state)
{
	struct fixture *f = *state;
	int r;

	host_fini(&f->d.host);
	r = recorded_drop(f->dir);
	free(f);
	return r;
}

/* Is node @nid unfit, and does the reason hold @word? */
static bool unfit(struct fixture *f, int nid, const char *list, const char *word)
{
	struct nodes nodes;
	char why[256] = "";

	assert_int_equal(nodes_read(&f->d.host.root, &nodes), 0);
	do
		unfit_refresh(&f->d.snapshot.unfit, &f->d.host.root, ask, &nodes, list);
	while (f->d.snapshot.unfit.asking);
	if (!unfit_node(&f->d.snapshot.unfit, nodes_find(&nodes, nid), why, sizeof(why)))
		return false;
	if (!strstr(why, word))
		print_error("\"%s\" is not in: %s\n", word, why);
	assert_non_null(strstr(why, word));
	return true;
}

static void a_card_that_compresses_makes_its_node_unfit(void **state)
{
	static const char *const mem1[] = { "mem1" };
	struct fixture *f = *state;

	put_region(f->dir, 0, 2, mem1, 1);
	cards[1].compresses = true;
	assert_true(unfit(f, 2, "none", "mem1, a card that compresses"));
	assert_false(unfit(f, 1, "none", ""));
	assert_false(unfit(f, 0, "none", ""));
}

static void an_ordinary_card_is_fit(void **state)
{
	static const char *const mem0[] = { "mem0" };
	struct fixture *f = *state;

	put_region(f->dir, 0, 1, mem0, 1);
	assert_false(unfit(f, 1, "none", ""));
	assert_int_equal(cards[0].asked, 1);
}

static void one_of_several_cards_is_enough(void **state)
{
	static const char *const both[] = { "mem0", "mem1" };
	struct fixture *f = *state;

	put_region(f->dir, 0, 1, both, 2);
	cards[1].compresses = true;
	assert_true(unfit(f, 1, "none", "mem1, a card that compresses"));
	/* Nor does one that says nothing hide it. */
	memset(&f->d.snapshot.unfit, 0, sizeof(f->d.snapshot.unfit));
	cards[1] = cards[0];
	cards[0].compresses = true;
	cards[1].error = -EBUSY;
	assert_true(unfit(f, 1, "none", "mem0, a card that compresses"));
}

static void a_card_that_cannot_be_asked_is_not_trusted(void **state)
{
	static const char *const mem0[] = { "mem0" };
	struct fixture *f = *state;

	put_region(f->dir, 0, 1, mem0, 1);
	cards[0].error = -EACCES;
	assert_true(
		unfit(f, 1, "none", "cannot be asked whether it compresses: Permission denied"));
}

/* Each of the files that say which node a card is behind, with something else in it than that. */
static void a_region_that_cannot_be_read_is_not_passed_over(void **state)
{
	static const char *const mem1[] = { "mem1" };
	static const char *const files[] = {
		"/sys/bus/cxl/devices/region0/resource",
		"/sys/bus/cxl/devices/region0/size",
		"/sys/bus/cxl/devices/region0/interleave_ways",
		"/sys/devices/system/memory/block_size_bytes",
	};
	struct fixture *f = *state;

	cards[1].compresses = true;
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		put_region(f->dir, 0, 2, mem1, 1);
		recorded_put(f->dir, "/sys/devices/system/memory/block_size_bytes", "8000000\n");
		recorded_put(f->dir, files[i], "what\n");
		assert_true(unfit(f, 2, "none", "CXL devices cannot be listed"));
		assert_false(unfit(f, 0, "none", ""));
	}
	put_region(f->dir, 0, 2, mem1, 1);
	recorded_put(f->dir, "/sys/devices/system/memory/block_size_bytes", "8000000\n");
	assert_true(unfit(f, 2, "none", "mem1, a card that compresses"));
}

static void an_operator_names_what_cannot_be_seen(void **state)
{
	struct fixture *f = *state;

	assert_false(unfit(f, 2, "none", ""));
	assert_true(unfit(f, 2, "2-3", "compressing_nodes"));
	assert_false(unfit(f, 1, "2-3", ""));
	assert_false(unfit(f, 2, "none", ""));
}

/* A card's answer takes a mailbox: only when memory came or went is it asked for again. */
static void cards_are_asked_when_memory_comes_or_goes(void **state)
{
	static const char *const mem0[] = { "mem0" }, *const mem1[] = { "mem1" };
	struct fixture *f = *state;

	put_region(f->dir, 0, 1, mem0, 1);
	for (int i = 0; i < 3; i++)
		assert_false(unfit(f, 1, "none", ""));
	assert_int_equal(cards[0].asked, 1);
	/* A second card joins the node of the first. */
	put_region(f->dir, 1, 1, mem1, 1);
	put_node(f->dir, 1, 2 * 524288);
	cards[1].compresses = true;
	assert_true(unfit(f, 1, "none", "mem1"));
	assert_int_equal(cards[0].asked, 2);
}

/* Its node is not used meanwhile, and those that were known before are as they were. */
static void a_card_that_does_not_answer_keeps_nobody_waiting(void **state)
{
	static const char *const mem0[] = { "mem0" }, *const mem1[] = { "mem1" };
	struct fixture *f = *state;
	struct unfit *u = &f->d.snapshot.unfit;
	struct nodes nodes;
	char why[256];

	put_region(f->dir, 0, 1, mem0, 1);
	put_node(f->dir, 2, 0);
	assert_false(unfit(f, 1, "none", ""));
	put_region(f->dir, 1, 2, mem1, 1);
	put_node(f->dir, 2, 524288);
	cards[1].stuck = true;
	assert_int_equal(nodes_read(&f->d.host.root, &nodes), 0);
	alarm(10);
	for (int i = 0; i < 3; i++) {
		unfit_refresh(u, &f->d.host.root, ask, &nodes, "none");
		assert_true(unfit_node(u, nodes_find(&nodes, 2), why, sizeof(why)));
		assert_non_null(strstr(why, "still being asked"));
		assert_false(unfit_node(u, nodes_find(&nodes, 1), NULL, 0));
	}
	alarm(0);
	assert_int_equal(cards[1].asked, 1);
	sem_post(&mailbox);
	assert_false(unfit(f, 2, "none", ""));
	unfit_free(u);
}

static void answers_are_read_within_their_length(void **state)
{
	uint8_t answer[48] = { 2 };

	(void)state;
	memcpy(answer + 8, other_log, 20);
	memcpy(answer + 28, compression_log, 20);
	assert_true(cxl_logs_compress(answer, 48));
	assert_false(cxl_logs_compress(answer, 47));
	answer[0] = 1;
	assert_false(cxl_logs_compress(answer, 48));
	answer[1] = 255;
	assert_true(cxl_logs_compress(answer, 48));
	assert_false(cxl_logs_compress(answer, 7));
	assert_false(cxl_logs_compress(answer, 0));
}

/* The round: neither tier nor DRAM, and what lies there counts as away from home. */
static void a_round_uses_no_unfit_node(void **state)
{
	struct fixture *f = *state;
	struct daemon *d = &f->d;

	cram_conf_init(&d->conf);
	assert_int_equal(relief_init(&d->relief, &d->host, &d->mover), 0);
	strcpy(d->conf.host.compressing_nodes, "2");
	round_run(d);
	assert_int_equal(d->snapshot.n_tiers, 1);
	assert_int_equal(d->snapshot.tiers[0].nid, 1);
	assert_int_equal(d->snapshot.n_dram, 1);
	assert_int_equal(d->snapshot.dram[0].nid, 0);
	assert_true(atomic_load(&d->host.tier_nodes) == 6);
	/* Also when the operator names it a tier. */
	strcpy(d->conf.host.tier_nodes, "1-2");
	round_run(d);
	assert_int_equal(d->snapshot.n_tiers, 1);
	relief_fini(&d->relief);
	daemon_fini(d);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, make, drop)
	const struct CMUnitTest tests[] = {
		TEST(a_card_that_compresses_makes_its_node_unfit),
		TEST(an_ordinary_card_is_fit),
		TEST(one_of_several_cards_is_enough),
		TEST(a_card_that_cannot_be_asked_is_not_trusted),
		TEST(a_region_that_cannot_be_read_is_not_passed_over),
		TEST(an_operator_names_what_cannot_be_seen),
		TEST(cards_are_asked_when_memory_comes_or_goes),
		TEST(a_card_that_does_not_answer_keeps_nobody_waiting),
		TEST(answers_are_read_within_their_length),
		TEST(a_round_uses_no_unfit_node),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
