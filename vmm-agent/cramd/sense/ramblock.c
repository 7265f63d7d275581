// SPDX-License-Identifier: GPL-2.0-or-later
/* RAM blocks from mappings; see ramblock.h. */
#include "ramblock.h"

#include <errno.h>
#include <string.h>

#include "util/cleanup.h"

struct search {
	const struct qemu_cmdline *cmdline;
	struct ramblocks blocks;
	size_t found[RAMBLOCKS_MAX]; /* mappings that fit backend i */
	bool taken[RAMBLOCKS_MAX];
};

static bool is_memfd(const struct proc_map *map)
{
	/* QEMU names them after the backend type; the kernel adds the rest. */
	return map->shared && map->inode && !strncmp(map->name, "/memfd:", 7);
}

static bool fits(const struct qemu_backend *b, const struct proc_map *map)
{
	if (!map->readable || !map->writable || map->end - map->start != b->size)
		return false;
	if (b->type == QEMU_BACKEND_MEMFD || b->share)
		return is_memfd(map) && map->offset == 0;
	return !map->shared && map->inode == 0 && map->name[0] == '\0';
}

static void fill(struct ramblock *block, const struct qemu_backend *b, const struct proc_map *map)
{
	memcpy(block->id, b->id, sizeof(block->id));
	block->start = map->start;
	block->end = map->end;
	block->memfd = map->inode != 0;
	block->offset = map->offset;
	block->dev_major = map->dev_major;
	block->dev_minor = map->dev_minor;
	block->inode = map->inode;
	block->policy_nodes = b->host_nodes;
	if (!strcmp(b->policy, "bind"))
		block->policy = PROC_MPOL_BIND;
	else if (!strcmp(b->policy, "preferred"))
		block->policy = PROC_MPOL_PREFERRED_MANY;
	else if (!strcmp(b->policy, "interleave"))
		block->policy = PROC_MPOL_INTERLEAVE;
	else
		block->policy = PROC_MPOL_DEFAULT;
}

static int visit(const struct proc_map *map, void *arg)
{
	struct search *s = arg;

	/*
	 * Backends of one size (guest NUMA cells) take memfd mappings in the order QEMU created
	 * them, which is all the same to us: every mapping belongs to exactly one of them.
	 * Anonymous memory is different: a stranger of the same size is no RAM, so there count must
	 * match.
	 */
	for (size_t i = 0; i < s->cmdline->n_backends; i++) {
		const struct qemu_backend *b = &s->cmdline->backends[i];

		if (!fits(b, map))
			continue;
		s->found[i]++;
	}
	for (size_t i = 0; i < s->cmdline->n_backends; i++) {
		const struct qemu_backend *b = &s->cmdline->backends[i];

		if (s->taken[i] || !fits(b, map))
			continue;
		s->taken[i] = true;
		fill(&s->blocks.v[i], b, map);
		break;
	}
	return 0;
}

/* Backends that a mapping of backend @i could also be. */
static size_t alike(const struct qemu_cmdline *c, size_t i)
{
	const struct qemu_backend *b = &c->backends[i];
	bool memfd = b->type == QEMU_BACKEND_MEMFD || b->share;
	size_t n = 0;

	for (size_t j = 0; j < c->n_backends; j++) {
		const struct qemu_backend *o = &c->backends[j];

		if (o->size == b->size && (o->type == QEMU_BACKEND_MEMFD || o->share) == memfd)
			n++;
	}
	return n;
}

int ramblocks_find(const struct sysroot *root, pid_t pid, const struct qemu_cmdline *cmdline,
		   struct ramblocks *ret_blocks)
{
	cleanup_free struct search *s = calloc(1, sizeof(*s));
	cleanup_free struct qemu_cmdline *implicit = NULL;
	int r;

	if (!s)
		return -ENOMEM;
	s->cmdline = cmdline;
	if (cmdline->n_backends == 0) {
		/* Without a backend object QEMU makes one anonymous block as large as -m says. */
		if (cmdline->ram_size == 0)
			return -ENOENT;
		implicit = calloc(1, sizeof(*implicit));
		if (!implicit)
			return -ENOMEM;
		implicit->n_backends = 1;
		implicit->backends[0].size = cmdline->ram_size;
		s->cmdline = implicit;
	}
	for (size_t i = 0; i < s->cmdline->n_backends; i++)
		if (s->cmdline->backends[i].hugetlb ||
		    s->cmdline->backends[i].type == QEMU_BACKEND_FILE)
			return -EOPNOTSUPP;
	r = proc_for_each_map(root, pid, visit, s);
	if (r < 0)
		return r;
	for (size_t i = 0; i < s->cmdline->n_backends; i++) {
		if (!s->taken[i])
			return -ENOENT;
		if (s->found[i] != alike(s->cmdline, i))
			return -ENOTUNIQ;
	}
	s->blocks.n = s->cmdline->n_backends;
	*ret_blocks = s->blocks;
	return 0;
}
