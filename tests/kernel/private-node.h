/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the tests of private memory nodes share: a hot-pluggable memory module
 * made into a private node by the kernel's test driver, what is used on it, and
 * where pages are. Judges use only the kernel's general interfaces.
 */
#ifndef TESTS_KERNEL_PRIVATE_NODE_H
#define TESTS_KERNEL_PRIVATE_NODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "test_node_private_uapi.h"

#define PAGE 4096UL
#define HUGE (2UL << 20)

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

#define KHUGEPAGED "/sys/kernel/mm/transparent_hugepage/khugepaged/"
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

/* include/linux/node_private.h, which is not for user space. */
#define NP_OPS_MIGRATION      (1U << 0)
#define NP_OPS_MEMPOLICY      (1U << 1)
#define NP_OPS_DEMOTION	      (1U << 2)
#define NP_OPS_PROTECT_WRITE  (1U << 3)
#define NP_OPS_RECLAIM	      (1U << 4)
#define NP_OPS_OOM	      (1U << 5)
#define NP_OPS_NUMA_BALANCING (1U << 6)
#define NP_OPS_COMPACTION     (1U << 7)

/* The machine as tests/kernel/run boots it. */
#define HOME  0 /* DRAM and the processors */
#define OTHER 1 /* ordinary memory, no processors */
#define CARD  2 /* the memory module */

/* TAP. Each returns the condition. A failed need() ends the program. */
bool ok(bool condition, const char *name, ...) __attribute__((format(printf, 2, 3)));
void need(bool condition, const char *name, ...) __attribute__((format(printf, 2, 3)));
void note(const char *text, ...) __attribute__((format(printf, 1, 2)));
int done(void);

/* The test driver. 0 or -errno. */
int npt_range(unsigned long request, int nid, unsigned int owner);
/* The same for any range, not all of the card. */
int npt_range_at(unsigned long request, struct npt_range *range);
extern unsigned int npt_timeout_ms; /* how long NPT_REMOVE tries; 0: the default */
int npt_set_ops(int nid, unsigned int flags);
int npt_ops(unsigned long request, struct npt_ops *ops);
int npt_alloc(struct npt_alloc *alloc);
int npt_free(void);
/* Gives so many blocks of those kept to the allocator; returns how many there were. */
unsigned int npt_give(int nid, unsigned int order, unsigned int count);
struct npt_stats npt_stats(int nid);
struct npt_frames npt_frames(int nid);
/* A shmem file made by the kernel, for itself unless movable; its descriptor or -errno. */
int npt_file(size_t length, bool movable);
int npt_open(void);

/* Where a node's memory is, which has no holes; ends the program if there is none. */
void node_range(int nid, uint64_t *ret_start, uint64_t *ret_size);
/* Where CARD's memory is. Found once; ends the program if there is none. */
uint64_t card_start(void);
uint64_t card_size(void);
/* What memory goes on- and offline by. */
uint64_t memory_block_bytes(void);

/* Takes CARD away from the system and adds it as a private node, online. */
void card_private(void);
/* The same, with operations from before its memory is there, as PROTECT_WRITE needs. */
void card_private_with(unsigned int flags);
/* The same, with an owner that keeps what is free, all of it to begin with. */
void card_keeping(unsigned int flags);
/* Free memory of the whole machine, also what processors keep for themselves. */
long free_kb(void);
/*
 * Pages that came by reclaim may be on their way to an LRU list still, in the hands of a processor
 * that has nothing else to do, and are not free there when they are freed: an end to that.
 */
void drain_lru_lists(int nid);
/*
 * What the calling thread has the kernel do between the two, by a trace event ("group/event"), as
 * text with a line for each time; by those that the filter lets through, if it is not NULL.
 */
void trace_begin(const char *event, const char *filter);
/* The same of all threads, the kernel's own too; also of a whole group of events ("group"). */
void trace_begin_all(const char *event);
char *trace_end(void);
/* Not every kernel has every event. */
bool has_trace_event(const char *event);
/* Pages in use on a node's movable zone, free lists of processors looked into. */
long used_pages(int nid);
/*
 * Allocations from a node since boot, also those that were freed again. Counted when
 * the allocator gives a block away, which is one whatever its order; each page of a bulk
 * allocation is one. A range isolated in place is none: alloc_contig_pages() is only
 * seen while the pages are held.
 */
long allocations(int nid);
/* Pages that are the page allocator's on a node's movable zone, in use or not. */
long managed_pages(int nid);
/* Another number of that zone in /proc/zoneinfo: "min", "low", "high". */
long zone_number(int nid, const char *word);

/* The node of the page at an address, or -errno, without touching it. */
int node_of(const void *address);
/* How many of the pages of a range are on a node. */
size_t pages_on(const void *address, size_t length, int nid);
/* Moves a range to a node; returns what move_pages(2) does, or -errno. */
long move_to(void *address, size_t length, int nid);
long bind_to(void *address, size_t length, int mode, unsigned long mask, unsigned int flags);

/* /proc/self/pagemap's entries for the process's own addresses. */
void page_map(const void *address, size_t length, uint64_t *ret_entries);
/* The page frames behind the process's own addresses; 0 where no page is mapped. */
void frames_of(const void *address, size_t length, uint64_t *ret_frames);
uint64_t frame_of(const void *address);
/* Has a page frame a flag, one of linux/kernel-page-flags.h? */
bool frame_is(uint64_t frame, unsigned int flag);
/* The memory of a page frame fails, as if the processor had said so. 0 or a negative errno. */
int corrupt_frame(uint64_t frame);

void *map_anonymous(size_t length);
/* Aligned to HUGE, of which the length is a multiple, for transparent huge pages. */
void *map_huge(size_t length);
void *map_shared(size_t length, int *ret_fd);
/* A memfd's, in huge pages as map_huge(), filled from seed 5. */
void *map_huge_file(size_t length, int *ret_fd);
void fill(void *address, size_t length, uint64_t seed);
bool filled(const void *address, size_t length, uint64_t seed);
/* Memory filled from seed 5, in small pages or huge ones, all of it on a node. */
char *small_on(int nid, size_t length);
char *huge_on(int nid, size_t length);

/*
 * Nothing is made huge any more, and nothing looked at for it. Who looks at a huge page of a file
 * holds it meanwhile, and if his processor is taken away, for longer than a move tries.
 */
void khugepaged_sleeps(void);
/* Reclaim of ordinary nodes moves cold pages to slower ones, or does not. */
void demotion(bool enabled);
/* A userfaultfd that has registered the range for UFFDIO_REGISTER_MODE_*, or -1. */
int userfaultfd_for(char *memory, size_t length, uint64_t mode, uint64_t features);

/*
 * Is this the debug kernel? It makes allocations fail on request, takes several times
 * as long, and holds memory back that was freed.
 */
bool debug_kernel(void);
/*
 * May a memory block's state be written to its file? Not on the debug kernel: a later
 * removal makes lockdep report a deadlock between that file, which takes the locks of
 * hotplug, and its own removal under them. It cannot happen, for writers never wait for
 * the first of the locks, see lock_device_hotplug_sysfs(); all of it is upstream's.
 */
bool blocks_by_sysfs(void);

/* Is there a kernel thread of that name? */
bool thread_runs(const char *name);

/*
 * Does a function return true before so many seconds have passed? It runs in a process
 * of its own, which is given up if it cannot even be killed.
 */
bool in_time(int seconds, bool (*function)(void *argument), void *argument);
/* A count in /proc/vmstat. */
long vmstat(const char *name);

/* Files in /proc and /sys. */
int write_file(const char *path, const char *text);
char *read_file(const char *path);
bool node_in(const char *state_file, int nid);
long meminfo_kb(const char *key);
/* A cgroup below the root, made if need be, and the calling process in it. */
void enter_cgroup(const char *name);
void leave_cgroup(void);
int write_cgroup(const char *name, const char *file, const char *text);
/* Pages of a cgroup on a node, by a key of memory.numa_stat ("anon", "active_anon"). */
long cgroup_pages(const char *name, const char *key, int nid);
/*
 * Swap, on the host's disk where it has one, else so much on compressed DRAM. A disk has taken a
 * page only a while after it was given it.
 */
void swap_on(const char *much);
/* Command for a shell: none any more. */
#define SWAP_OFF "swapoff $(swapon --noheadings --show=NAME)"

#endif /* TESTS_KERNEL_PRIVATE_NODE_H */
