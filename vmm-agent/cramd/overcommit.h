/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the host has of each kind of memory, and what of it VMs are promised: one sum, for status,
 * metrics, admission and floors. What follows from it is policy's. Loop only.
 */
#pragma once

#include "daemon.h"

/* What a VM is promised that libvirt is about to start, or runs and that has not been examined. */
struct cram_promise overcommit_promise(const struct daemon *d, const struct cram_domain *domain);
/* The same of one of @ram with the host's default settings. */
struct cram_promise overcommit_promise_default(const struct daemon *d, uint64_t ram);

/* Bytes of a huge page as @domain wants them. */
uint64_t overcommit_hugepage(const struct daemon *d, const struct cram_domain *domain);

/* Does the VM @uuid count among those that run? */
bool overcommit_counts(const struct daemon *d, const char *uuid);

/* Kinds of tiers that a VM may have by the configuration alone: a bit each. */
uint32_t overcommit_kinds(const struct daemon *d);

/* @except (may be NULL): the UUID of a VM that does not count. Reservations do not, either. */
void overcommit_input(const struct daemon *d, const char *except,
		      struct cram_overcommit_input *ret);
