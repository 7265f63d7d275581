/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the agent wants to know from a libvirt domain XML: identity, memory, what makes it
 * ineligible, and <cram:tiering>. Takes every form libvirt hands out; never fetches anything.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "settings/settings.h"

#define CRAM_DOMAIN_XML_MAX (4U << 20) /* bytes; larger is refused unread */

enum cram_memory_source {
	CRAM_MEMORY_ANONYMOUS,
	CRAM_MEMORY_MEMFD,
	CRAM_MEMORY_FILE,
};

#define CRAM_MAX_CELLS 64

struct cram_domain_cell {
	uint32_t id;
	uint64_t bytes;
	bool shared; /* memAccess='shared' */
};

struct cram_domain {
	char name[256];
	char uuid[CRAM_UUID_TEXT];
	char partition[256]; /* empty: libvirt's default */
	char flavour[128];   /* empty: none recorded */
	uint64_t ram;	     /* <memory>, bytes */
	uint64_t current;    /* <currentMemory>, bytes; = ram when absent */
	enum cram_memory_source source;
	bool shared;	     /* <access mode='shared'/> */
	bool access_private; /* <access mode='private'/>, also of a single cell */
	bool hugepages;
	uint64_t hugepage; /* bytes of one; 0: the host's default size */
	bool locked;
	bool realtime;	      /* <vcpusched>, <emulatorsched> fifo or rr */
	bool launch_security; /* SEV, SNP, TDX ... */
	bool iommu_pinned;    /* PCI or mdev <hostdev>, vDPA, <interface type='hostdev'> */
	bool vhost_user;      /* vhost-user net, virtiofs, vhostuser disk */
	bool free_page_reporting;
	uint32_t n_cells;
	struct cram_domain_cell cells[CRAM_MAX_CELLS];
	uint32_t n_memory_devices; /* <devices><memory>: DIMM, virtio-mem ... */
	char numatune_mode[16];	   /* "", "strict", "preferred", "interleave", "restrictive" */
	char numatune_nodeset[128];

	bool has_tiering;
	bool bad_tiering; /* there is one, and a value in it is bad */
	struct cram_vm_layer tiering;
	char warning[256]; /* unknown elements or attributes of ours, ignored; empty: none */
};

/*
 * Parse a whole domain XML (live, inactive, migratable or a <domstatus> file).
 * -EINVAL: not well-formed, too large, or no <domain>; @err says where. A bad <cram:tiering> gives
 * -EDOM with @err naming element, value and range and *ret_domain still filled in, has_tiering
 * false: the VM can run untiered with the reason shown.
 */
int cram_domain_parse(const char *xml, size_t size, struct cram_domain *ret_domain,
		      struct cram_error *err);

/*
 * Parse one <tiering> element, with our namespace under any prefix or (as virDomainGetMetadata
 * returns it) with none. -EINVAL as above, -EDOM: a bad setting; *ret_layer is not written.
 * @warning (size >= 1) receives what was ignored, or "".
 */
int cram_tiering_parse(const char *xml, size_t size, struct cram_vm_layer *ret_layer, char *warning,
		       size_t warning_size, struct cram_error *err);
