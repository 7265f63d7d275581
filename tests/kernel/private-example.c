/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The example of the request, statement by statement: a driver's own memory,
 * opened to memory policies and migration, reached by who asks and nobody else.
 */
#include "private-node.h"

#include <errno.h>
#include <numaif.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static void allocates_by_flag(void)
{
	struct npt_alloc alloc = { .nid = CARD, .how = NPT_PRIVATE, .count = 1 };
	long before = used_pages(CARD);

	ok(npt_alloc(&alloc) == 0 && alloc.ret_count == 1 && alloc.ret_on_node == 1 &&
		   alloc.ret_movable == 1,
	   "alloc_pages_node(nid, __GFP_PRIVATE, 0) gives a movable page of the node");
	ok(used_pages(CARD) == before + 1, "and that page is all that is used there");
	npt_free();
	ok(used_pages(CARD) == before, "freed, it is back");
}

static void mbind_faults_onto_it(const char *kind, uint32_t *buf, size_t length)
{
	long rc = bind_to(buf, length, MPOL_BIND, 1UL << CARD, 0);

	ok(rc == 0, "%s: mbind(buf, len, MPOL_BIND, private_node) succeeds: %s", kind,
	   strerror((int)-rc));
	buf[0] = 0xdeadbeef;
	ok(node_of(buf) == CARD, "%s: buf[0] = 0xdeadbeef faults onto the private node (%d)", kind,
	   node_of(buf));
	ok(buf[0] == 0xdeadbeef && buf[1] == 0, "%s: it reads back, the rest of the page is zero",
	   kind);
}

static void malloc_never_lands_there(void)
{
	enum {
		COUNT = 4096
	};
	size_t elsewhere = 0;
	char *memory[COUNT];
	long before = used_pages(CARD);

	for (int i = 0; i < COUNT; i++) {
		memory[i] = malloc(4096);
		need(memory[i] != NULL, "malloc");
		memory[i][0] = 1;
		elsewhere += node_of(memory[i]) != CARD;
	}
	ok(elsewhere == COUNT && used_pages(CARD) == before,
	   "malloc never lands on the private node");
	for (int i = 0; i < COUNT; i++)
		free(memory[i]);
}

static void move_pages_moves_it(const char *kind, char *buf, size_t length)
{
	struct npt_stats before = npt_stats(CARD), after;
	long rc;

	fill(buf, length, 1);
	need(pages_on(buf, length, CARD) == 0, "%s: ordinary memory is ordinary", kind);
	rc = move_to(buf, length, CARD);
	after = npt_stats(CARD);
	ok(rc == 0 && pages_on(buf, length, CARD) == length / PAGE,
	   "%s: move_pages moves it to the private node (%ld)", kind, rc);
	ok(after.migrate_to > before.migrate_to, "%s: through the driver's migrate_to", kind);
	ok(after.folio_migrate > before.folio_migrate,
	   "%s: the driver hears of each folio by folio_migrate", kind);
	ok(filled(buf, length, 1), "%s: nothing is lost on the way there", kind);
	fill(buf, length, 2);
	ok(pages_on(buf, length, CARD) == length / PAGE, "%s: written, it stays", kind);
	rc = move_to(buf, length, HOME);
	ok(rc == 0 && pages_on(buf, length, HOME) == length / PAGE, "%s: and back (%ld)", kind, rc);
	ok(filled(buf, length, 2), "%s: nothing is lost on the way back", kind);
}

int main(void)
{
	const size_t length = 64 * PAGE;
	long total = meminfo_kb("MemTotal:"), free_kb;
	char *memory;

	card_private();
	ok(node_in("has_private_memory", CARD) && !node_in("has_memory", CARD) &&
		   !node_in("has_normal_memory", CARD),
	   "the node is in has_private_memory and in no other memory state");
	ok(meminfo_kb("MemTotal:") == total, "its memory is not in MemTotal");
	free_kb = meminfo_kb("MemFree:");
	ok(free_kb < total, "nor in MemFree");
	ok(used_pages(CARD) == 0, "nothing of it is used");
	allocates_by_flag();

	memory = map_anonymous(length);
	ok(bind_to(memory, length, MPOL_BIND, 1UL << CARD, 0) == -EINVAL,
	   "without MEMPOLICY, mbind refuses it");
	memory[0] = 1;
	ok(move_to(memory, PAGE, CARD) == -ENODEV,
	   "without MIGRATION, move_pages does not know it");
	munmap(memory, length);

	need(npt_set_ops(CARD, NP_OPS_MIGRATION | NP_OPS_MEMPOLICY) == 0,
	     "set_ops(MIGRATION | MEMPOLICY)");

	memory = map_anonymous(length);
	mbind_faults_onto_it("anonymous", (void *)memory, length);
	munmap(memory, length);
	ok(used_pages(CARD) == 0, "unmapped, nothing is left there");
	memory = map_shared(length, NULL);
	mbind_faults_onto_it("memfd", (void *)memory, length);
	munmap(memory, length);
	ok(used_pages(CARD) == 0, "closed, nothing is left there");

	malloc_never_lands_there();

	memory = map_anonymous(length);
	move_pages_moves_it("anonymous", memory, length);
	munmap(memory, length);
	memory = map_shared(length, NULL);
	move_pages_moves_it("memfd", memory, length);
	munmap(memory, length);

	memory = map_huge(2 * HUGE);
	move_pages_moves_it("transparent huge page", memory, 2 * HUGE);
	munmap(memory, 2 * HUGE);

	ok(used_pages(CARD) == 0, "in the end nothing is left there (%ld)", used_pages(CARD));
	ok(npt_range(NPT_REMOVE, CARD, 0) == 0, "and the memory can be taken away again");
	return done();
}
