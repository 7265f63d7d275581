/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reports of VMs that do not exist, for tests and benchmarks of what carries and shows reports.
 */
#pragma once

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "protocol/model.h"
#include "util/size.h"

static inline void synthetic_vm(struct cram_vm_report *vm, unsigned int i)
{
	memset(vm, 0, sizeof(*vm));
	snprintf(vm->uuid, sizeof(vm->uuid), "00000000-0000-4000-8000-%012x", i);
	/* One name tries to break out of a label, a line and a terminal. */
	if (i == 1)
		strcpy(vm->name, "a\"b\\c\nd\033[31m");
	else
		snprintf(vm->name, sizeof(vm->name), "vm-%u", i);
	vm->pid = (int32_t)(1000 + i);
	strcpy(vm->mode, "auto");
	strcpy(vm->state, "steady");
	strcpy(vm->tier, "node");
	vm->nid = 1;
	vm->ram = vm->eligible = 8 * GiB;
	vm->tier_bytes = vm->device_bytes = vm->device_bytes_upper = 2 * GiB + i;
	vm->dram = vm->ram - vm->tier_bytes;
	vm->quota = i % 2 ? CRAM_UNLIMITED : 3 * GiB;
	vm->hard_limit = CRAM_UNLIMITED;
	vm->floor = vm->effective_floor = 4 * GiB;
	vm->weight = 100;
	vm->cold_age = 120;
	vm->cold_age_auto = true;
	vm->cold = GiB;
	vm->accessed = 3 * GiB;
	vm->demoted = 5 * GiB;
	vm->promoted = GiB;
	vm->worst_batch_us = 1500;
	vm->worst_look_us = 250;
	vm->worst_placement_us = 4750;
	vm->scan_age_ms = 2500;
}

static inline void synthetic_host(struct cram_host_report *host, struct cram_dram_report dram[2],
				  struct cram_node_report *node, unsigned int n_vms)
{
	memset(host, 0, sizeof(*host));
	strcpy(host->version, "0.1.0");
	strcpy(host->detector, "damon");
	host->vms = host->vms_auto = n_vms;
	host->libvirt_wanted = host->libvirt_connected = true;
	host->dram_total = 512 * GiB;
	host->dram_free = 64 * GiB;
	host->dram_available = 80 * GiB;
	host->dram_headroom = 56 * GiB;
	host->sold_known = true;
	host->sold = n_vms * 8 * GiB;
	host->dram_reserve = 12 * GiB;
	host->dram_usable = 500 * GiB;
	host->lasting = 756 * GiB;
	host->lasting_tiers = 256 * GiB;
	host->lasting_known = true;
	host->tier_capacity = 256 * GiB;
	host->swap_free = 8 * GiB + 1;
	host->guaranteed = 764 * GiB + 1;
	host->expected = 1020 * GiB + 1;
	strcpy(host->admission, "warn");
	strcpy(host->sell, "guaranteed");
	host->cpu_us = 1234567;
	for (int nid = 0; nid < 2; nid++)
		dram[nid] = (struct cram_dram_report){
			.nid = nid,
			.total = host->dram_total / 2,
			.free = host->dram_free / 2,
			.available = host->dram_available / 2,
			.headroom = nid == 0 ? 8 * GiB : 48 * GiB,
		};
	memset(node, 0, sizeof(*node));
	node->nid = 1;
	strcpy(node->tier, "node");
	strcpy(node->state, "online");
	node->capacity = node->budget = 256 * GiB;
	node->used = n_vms * 2 * GiB;
	node->vms = n_vms;
}
