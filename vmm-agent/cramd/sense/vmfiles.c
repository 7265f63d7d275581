// SPDX-License-Identifier: GPL-2.0-or-later
/* Small files of a VM; see vmfiles.h. */
#include "vmfiles.h"

#include <errno.h>
#include <stdio.h>

#include "util/cleanup.h"

enum {
	STATUS,
	STAT,
	CURRENT,
	SWAP,
	ZSWAP
};

static void want(struct batch_read *read, char *buf, size_t size)
{
	read->buf = buf;
	read->size = size;
}

size_t vm_files_want(struct vm_files *files, pid_t pid, const char *cgroup,
		     struct batch_read *reads)
{
	static const char *const names[VM_FILES] = {
		[STAT] = "memory.stat",
		[CURRENT] = "memory.current",
		[SWAP] = "memory.swap.current",
		[ZSWAP] = "memory.zswap.current",
	};

	snprintf(reads[STATUS].path, sizeof(reads->path), "/proc/%d/status", (int)pid);
	want(&reads[STATUS], files->status, sizeof(files->status));
	if (!cgroup[0])
		return STAT;
	for (size_t i = STAT; i < VM_FILES; i++)
		if ((size_t)snprintf(reads[i].path, sizeof(reads->path), "/sys/fs/cgroup%s/%s",
				     cgroup, names[i]) >= sizeof(reads->path))
			return STAT;
	want(&reads[STAT], files->stat, sizeof(files->stat));
	want(&reads[CURRENT], files->current, sizeof(files->current));
	want(&reads[SWAP], files->swap, sizeof(files->swap));
	want(&reads[ZSWAP], files->zswap, sizeof(files->zswap));
	return VM_FILES;
}

int vm_files_status(const struct batch_read *reads, struct proc_status *ret_status)
{
	if (reads[STATUS].r < 0)
		return reads[STATUS].r == -ENOENT ? -ESRCH : reads[STATUS].r;
	return proc_parse_status(reads[STATUS].buf, ret_status);
}

/* Kernels without swap or zswap have no such file. */
static int counter(const struct batch_read *read, bool optional, uint64_t *ret_value)
{
	if (read->r == -ENOENT && optional) {
		*ret_value = 0;
		return 0;
	}
	return read->r < 0 ? read->r : parse_counter(read->buf, ret_value);
}

int vm_files_memcg(const struct batch_read *reads, size_t n, struct memcg *ret_memcg)
{
	struct memcg memcg;
	int r;

	if (n < VM_FILES)
		return -ENOENT;
	if (reads[STAT].r < 0)
		return reads[STAT].r;
	memcg_parse_stat(reads[STAT].buf, &memcg);
	r = counter(&reads[CURRENT], false, &memcg.current);
	if (r == 0)
		r = counter(&reads[SWAP], true, &memcg.swap);
	if (r == 0)
		r = counter(&reads[ZSWAP], true, &memcg.zswap);
	if (r < 0)
		return r;
	*ret_memcg = memcg;
	return 0;
}
