/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The agent's state as the structures that travel on the sockets. Reads only. */
#pragma once

#include "../daemon.h"

void report_host(struct daemon *d, struct cram_host_report *ret);
/* @home: of the snapshot's home nodes, the first is 0. */
void report_dram(const struct daemon *d, size_t home, struct cram_dram_report *ret);
/* What is kept of VMs, be they gone. @ret has room for all that there are. */
void report_overrides(struct daemon *d, struct cram_override_report *ret);
void report_node(struct daemon *d, size_t tier, struct cram_node_report *ret);
void report_vm(struct daemon *d, struct vm *vm, struct cram_vm_report *ret);

/* Why no tier takes memory of @vm now. */
void report_no_tier(const struct daemon *d, const struct vm *vm, char *buf, size_t size);

/* What could be gained, and what stands in the way; at most @max findings. */
void report_durations(struct daemon *d, struct cram_duration_counts ret[CRAM_N_DURATIONS]);
size_t report_check(struct daemon *d, struct cram_check_report *findings, size_t max);
