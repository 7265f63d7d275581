/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libvirt, kept at arm's length: one thread takes events, a few make calls, one call per domain at
 * a time. Answers arrive on a descriptor of the loop's; the loop never waits for libvirt, and what
 * libvirt said too long ago is dropped.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "settings/domain.h"
#include "util/log.h"

#define LIBVIRT_WORKERS	 4
#define LIBVIRT_STALE_MS 10000

struct libvirt; /* owns its threads */

/* One domain as it was at time @asked_ms. */
struct libvirt_domain {
	char uuid[CRAM_UUID_TEXT];
	char name[256];
	bool running;  /* false: not active, or gone */
	pid_t pid;     /* 0: libvirt has written none yet */
	bool incoming; /* migrating in: not running yet */
	bool busy;     /* migrating out, saving or dumping */
	bool has_domain;
	struct cram_domain domain;
	char note[256]; /* settings error; empty: none */
	uint64_t asked_ms;
};

/*
 * Starts the threads; connecting, and connecting again, happens in them. @pid_dir is where libvirt
 * keeps pid files ("/run/libvirt/qemu").
 */
int libvirt_start(const char *uri, const char *pid_dir, const struct cram_log *log,
		  struct libvirt **ret_libvirt);
/*
 * Waits a moment for the threads. False: one is inside a libvirt call that does not end, and what
 * it uses, the log included, must stay until the process ends.
 */
bool libvirt_stop(struct libvirt *libvirt);

/* Readable when there is something for libvirt_next(). */
int libvirt_fd(const struct libvirt *libvirt);
bool libvirt_connected(const struct libvirt *libvirt);
uint64_t libvirt_stale(const struct libvirt *libvirt);

/* Next answer, oldest first. 1, or 0 when there is none. Stale ones are counted and left out. */
int libvirt_next(struct libvirt *libvirt, struct libvirt_domain *ret_domain);

/* Has libvirt listed its domains, and libvirt_next() given an answer about each of them? */
bool libvirt_told_all(struct libvirt *libvirt);

/* Ask which domains there are and what has changed: one call for all (not all jobs are announced).
 */
void libvirt_refresh(struct libvirt *libvirt);
