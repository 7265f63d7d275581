// SPDX-License-Identifier: GPL-2.0-or-later
/* RAM blocks from mappings; see ramblock.h. */
#include "ramblock.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "util/cleanup.h"
#include "util/size.h"
#include "util/sort.h"
#include "util/utf8.h"

/* Mappings that could be RAM. A guest has some dozens at most. */
#define CANDIDATES_MAX 128

/* What QEMU calls the memfd of a backend; the kernel adds the rest. */
#define MEMFD_NAME "/memfd:memory-backend-"

struct candidate {
	struct proc_map map;
	bool memfd, taken;
	int fd; /* its lowest descriptor in QEMU */
	bool has_policy;
	struct proc_policy policy; /* as numa_maps shows it */
};

struct search {
	const struct qemu_cmdline *cmdline;
	struct ram_layout layout;
	size_t n;
	struct candidate v[CANDIDATES_MAX];
	bool too_many;
};

static void say(struct ram_layout *layout, enum vm_ineligible reason, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* The first reason stands. */
static void say(struct ram_layout *layout, enum vm_ineligible reason, const char *fmt, ...)
{
	va_list ap;

	if (layout->reason != VM_ELIGIBLE)
		return;
	layout->reason = reason;
	va_start(ap, fmt);
	vsnprintf(layout->why, sizeof(layout->why), fmt, ap);
	va_end(ap);
	utf8_trim(layout->why);
}

/* What the command line says of a backend that cannot be tiered. */
static void judge_backend(struct ram_layout *layout, const struct qemu_backend *b)
{
	char part[81];

	if (b->hugetlb || strstr(b->path, "hugepages"))
		say(layout, VM_HUGETLB, "%s", "");
	else if (b->type == QEMU_BACKEND_FILE)
		say(layout, VM_FILE, "its RAM is a file on %s; use <source type='memfd'/>",
		    b->path[0] ? utf8_head(part, sizeof(part), b->path) : "a disk");
	else if (b->type == QEMU_BACKEND_SHM)
		say(layout, VM_SHM,
		    "its RAM is POSIX shared memory (memory-backend-shm); use "
		    "memory-backend-memfd");
	else if (b->type == QEMU_BACKEND_MEMFD && !b->share)
		say(layout, VM_PRIVATE_MEMFD, "%s", "");
	else if (b->type == QEMU_BACKEND_UNKNOWN)
		say(layout, VM_LAYOUT_UNKNOWN,
		    "its RAM %s is of a kind that is not known; use memory-backend-memfd",
		    utf8_head(part, 33, b->id));
}

static void judge_cmdline(struct ram_layout *layout, const struct qemu_cmdline *c)
{
	char part[101];

	if (c->unknown[0])
		say(layout, VM_LAYOUT_UNKNOWN, "this is not understood: %s",
		    utf8_head(part, sizeof(part), c->unknown));
	for (size_t i = 0; i < c->n_backends; i++) {
		const struct qemu_backend *b = &c->backends[i];

		if (!qemu_is_ram(b))
			continue;
		layout->ram += b->use == QEMU_USE_VIRTIO_MEM ? b->requested : b->size;
		layout->virtio_mem += b->use == QEMU_USE_VIRTIO_MEM ? b->requested : 0;
		judge_backend(layout, b);
	}
}

/*
 * What else it says that lets nothing be tiered, whatever its RAM is. Each reading says so again:
 * of vhost-user and of encrypted memory nothing else tells.
 */
static enum vm_ineligible judge_devices(const struct qemu_cmdline *c)
{
	if (c->confidential)
		return VM_CONFIDENTIAL;
	if (c->vfio || c->vdpa)
		return VM_PINNED;
	if (c->locked)
		return VM_LOCKED;
	if (c->vhost_user)
		return VM_VHOST_USER;
	return VM_ELIGIBLE;
}

/* Do mappings of a memfd make this backend? */
static bool wants_memfd(const struct qemu_backend *b)
{
	return b->type == QEMU_BACKEND_MEMFD || (b->type == QEMU_BACKEND_RAM && b->share);
}

static int collect(const struct proc_map *map, void *arg)
{
	struct search *s = arg;
	bool memfd =
		map->shared && map->inode && map->offset == 0 && !strncmp(map->name, "/memfd:", 7);
	bool wanted = false;

	if (!map->readable || !map->writable)
		return 0;
	if (!memfd && (map->shared || map->inode || map->name[0]))
		return 0;
	for (size_t i = 0; i < s->cmdline->n_backends && !wanted; i++)
		wanted = s->cmdline->backends[i].size == map->end - map->start &&
			 wants_memfd(&s->cmdline->backends[i]) == memfd;
	if (memfd && !strncmp(map->name, MEMFD_NAME, strlen(MEMFD_NAME)))
		wanted = true;
	if (!wanted)
		return 0;
	if (s->n == CANDIDATES_MAX) {
		s->too_many = true;
		return 0;
	}
	s->v[s->n++] = (struct candidate){ .map = *map, .memfd = memfd, .fd = INT32_MAX };
	return 0;
}

static void note_fd(int fd, unsigned int major, unsigned int minor, uint64_t inode, void *arg)
{
	struct search *s = arg;

	for (size_t i = 0; i < s->n; i++) {
		const struct proc_map *map = &s->v[i].map;

		if (s->v[i].memfd && map->inode == inode && map->dev_major == major &&
		    map->dev_minor == minor && fd < s->v[i].fd)
			s->v[i].fd = fd;
	}
}

static int note_policy(const struct proc_numa *numa, void *arg)
{
	struct search *s = arg;

	for (size_t i = 0; i < s->n; i++) {
		if (s->v[i].map.start != numa->start)
			continue;
		s->v[i].has_policy = true;
		s->v[i].policy = numa->policy;
	}
	return 0;
}

/*
 * QEMU makes backends in the order of its command line, so their descriptors ascend; where it maps
 * them is another matter (mostly downwards). Inodes come from per-processor batches, so their order
 * is a guess, taken where descriptors tell nothing.
 */
static bool older(const void *x, const void *y, const void *context)
{
	const struct candidate *a = x, *b = y;

	(void)context;
	if (a->fd != b->fd)
		return a->fd < b->fd;
	if (a->map.inode != b->map.inode)
		return a->map.inode < b->map.inode;
	return a->map.start < b->map.start;
}

static struct proc_policy told_policy(const struct qemu_backend *b)
{
	struct proc_policy p = { .nodes = b->host_nodes };

	if (!strcmp(b->policy, "bind"))
		p.mode = PROC_MPOL_BIND;
	else if (!strcmp(b->policy, "preferred"))
		p.mode = PROC_MPOL_PREFERRED_MANY;
	else if (!strcmp(b->policy, "interleave"))
		p.mode = PROC_MPOL_INTERLEAVE;
	else
		p.nodes = 0;
	return p;
}

/* "preferred" on one node is shown as "prefer", whichever of the two calls made it. */
static bool same_policy(const struct proc_policy *a, const struct proc_policy *b)
{
	bool a_prefers = a->mode == PROC_MPOL_PREFERRED || a->mode == PROC_MPOL_PREFERRED_MANY;
	bool b_prefers = b->mode == PROC_MPOL_PREFERRED || b->mode == PROC_MPOL_PREFERRED_MANY;

	return a->nodes == b->nodes && (a->mode == b->mode || (a_prefers && b_prefers));
}

static int add_block(struct search *s, const struct qemu_backend *b, struct candidate *c)
{
	struct ramblocks *blocks = &s->layout.blocks;
	struct ramblock *block;

	c->taken = true;
	if (b && !qemu_is_ram(b))
		return 0;
	if (blocks->n == RAMBLOCKS_MAX) {
		say(&s->layout, VM_LAYOUT_UNKNOWN, "it has more than %d RAM blocks", RAMBLOCKS_MAX);
		return 0;
	}
	block = &blocks->v[blocks->n++];
	*block = (struct ramblock){
		.start = c->map.start,
		.end = c->map.end,
		.memfd = c->memfd,
		.offset = c->map.offset,
		.dev_major = c->map.dev_major,
		.dev_minor = c->map.dev_minor,
		.inode = c->map.inode,
	};
	if (b) {
		memcpy(block->id, b->id, sizeof(block->id));
		block->policy = told_policy(b);
		block->virtio_mem = b->use == QEMU_USE_VIRTIO_MEM;
	} else {
		block->plugged = true;
		s->layout.ram += c->map.end - c->map.start;
	}
	return 0;
}

/* Backends that a mapping of backend @b could also be. */
struct alike {
	size_t n, candidates;
	bool policies_differ, uses_differ;
};

static struct alike count_alike(const struct search *s, const struct qemu_backend *b)
{
	struct proc_policy told = told_policy(b);
	struct alike a = {};

	for (size_t i = 0; i < s->cmdline->n_backends; i++) {
		const struct qemu_backend *o = &s->cmdline->backends[i];
		struct proc_policy other = told_policy(o);

		if (o->size != b->size || wants_memfd(o) != wants_memfd(b))
			continue;
		a.n++;
		a.policies_differ |= !same_policy(&told, &other);
		a.uses_differ |= o->use != b->use;
	}
	for (size_t i = 0; i < s->n; i++)
		a.candidates += s->v[i].memfd == wants_memfd(b) &&
				s->v[i].map.end - s->v[i].map.start == b->size;
	return a;
}

/* The mapping that backend @b is: by its policy where that tells, else the oldest left. */
static struct candidate *match(struct search *s, const struct qemu_backend *b, bool by_policy)
{
	struct proc_policy told = told_policy(b);

	for (size_t i = 0; i < s->n; i++) {
		struct candidate *c = &s->v[i];

		if (c->taken || c->memfd != wants_memfd(b) || c->map.end - c->map.start != b->size)
			continue;
		if (!by_policy || (c->has_policy && same_policy(&c->policy, &told)))
			return c;
	}
	return NULL;
}

static void place_backend(struct search *s, const struct qemu_backend *b)
{
	struct alike alike = count_alike(s, b);
	char size[32];
	struct candidate *c;

	if (!wants_memfd(b) && !qemu_is_ram(b) && alike.n == 1)
		return; /* a side backend that nothing of the guest's RAM could be taken for */
	/* A stranger of the same size is no RAM: anonymous mappings must be just as many. */
	if (!wants_memfd(b) && (alike.candidates > alike.n || alike.uses_differ)) {
		if (qemu_is_ram(b))
			say(&s->layout, VM_LAYOUT_UNKNOWN,
			    "%zu anonymous mappings of %s could be its RAM; use memfd backing",
			    alike.candidates, cram_size_format(b->size, size, sizeof(size)));
		return;
	}
	c = match(s, b, !wants_memfd(b) && alike.policies_differ);
	if (c) {
		add_block(s, b, c);
	} else if (qemu_is_ram(b) && b->share && b->type == QEMU_BACKEND_RAM) {
		say(&s->layout, VM_SHM,
		    "its RAM is shared anonymous memory; use memory-backend-memfd");
	} else if (qemu_is_ram(b) && alike.candidates >= alike.n) {
		say(&s->layout, VM_LAYOUT_UNKNOWN,
		    "its RAM blocks of %s cannot be told apart; use memfd backing",
		    cram_size_format(b->size, size, sizeof(size)));
	} else if (qemu_is_ram(b) && b->use == QEMU_USE_RAM) {
		say(&s->layout, VM_NOT_MAPPED, "no mapping of %s is its RAM; looked for again",
		    cram_size_format(b->size, size, sizeof(size)));
	} else if (qemu_is_ram(b)) {
		/* A DIMM may have been unplugged since. */
		s->layout.ram -= b->use == QEMU_USE_VIRTIO_MEM ? b->requested : b->size;
	}
}

/* Memory that was plugged in after the start is on no command line. */
static void place_plugged(struct search *s)
{
	for (size_t i = 0; i < s->n; i++)
		if (!s->v[i].taken && s->v[i].memfd &&
		    !strncmp(s->v[i].map.name, MEMFD_NAME, strlen(MEMFD_NAME)))
			add_block(s, NULL, &s->v[i]);
}

int ram_layout_read(const struct sysroot *root, pid_t pid, const struct qemu_cmdline *cmdline,
		    struct ram_layout *ret_layout)
{
	cleanup_free struct search *s = calloc(1, sizeof(*s));
	enum vm_ineligible devices;
	int r;

	if (!s)
		return -ENOMEM;
	s->cmdline = cmdline;
	judge_cmdline(&s->layout, cmdline);
	if (s->layout.reason == VM_ELIGIBLE) {
		r = proc_for_each_map(root, pid, collect, s);
		if (r == -EACCES || r == -EPERM)
			say(&s->layout, VM_NO_ACCESS, "%s", "");
		else if (r < 0)
			return r == -ENOENT ? -ESRCH : r;
		else if (s->too_many)
			say(&s->layout, VM_LAYOUT_UNKNOWN, "%d and more mappings could be its RAM",
			    CANDIDATES_MAX);
	}
	if (s->layout.reason == VM_ELIGIBLE && s->n > 1) {
		/* Without either, what is alike is told apart by inodes, or not at all. */
		proc_for_each_memfd(root, pid, note_fd, s);
		proc_for_each_numa(root, pid, note_policy, s);
		cram_sort(s->v, s->n, sizeof(*s->v), older, NULL);
	}
	if (s->layout.reason == VM_ELIGIBLE) {
		for (size_t i = 0; i < cmdline->n_backends; i++)
			place_backend(s, &cmdline->backends[i]);
		place_plugged(s);
	}
	/* After its RAM was looked for: what was plugged in has been sold all the same. */
	devices = judge_devices(cmdline);
	if (devices != VM_ELIGIBLE) {
		s->layout.reason = devices;
		s->layout.why[0] = '\0';
	}
	if (s->layout.reason != VM_ELIGIBLE)
		s->layout.blocks.n = 0;
	*ret_layout = s->layout;
	return 0;
}
