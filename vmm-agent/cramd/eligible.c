// SPDX-License-Identifier: GPL-2.0-or-later
/* Reasons in words; see eligible.h. */
#include "eligible.h"

static const struct {
	const char *name, *text;
} ineligible[] = {
	[VM_ELIGIBLE] = { "", "" },
	[VM_NOT_LOOKED] = { "not-examined", "it has not been examined yet" },
	[VM_NOT_MAPPED] = { "not-mapped", "its QEMU has not made its RAM yet" },
	[VM_LAYOUT_UNKNOWN] = { "layout-unknown",
				"its RAM cannot be told from QEMU's other memory; use memfd backing" },
	[VM_HUGETLB] = { "hugepages",
			 "its RAM is hugetlb, which cannot be tiered; leave <hugepages> out" },
	[VM_FILE] = { "file", "its RAM is a file; use <source type='memfd'/>" },
	[VM_SHM] = { "shm",
		     "its RAM is shared memory without a memfd; use <source type='memfd'/>" },
	[VM_PRIVATE_MEMFD] = { "private-memfd",
			       "its RAM is a private copy of a memfd; use <access mode='shared'/>" },
	[VM_LOCKED] = { "locked", "its memory is locked; leave <locked> out" },
	[VM_PINNED] = { "pinned",
			"its memory is pinned, by a passed-through device (VFIO, vDPA) or io_uring" },
	[VM_CONFIDENTIAL] = { "confidential", "its memory is encrypted (SEV, SNP, TDX)" },
	[VM_REALTIME] = { "realtime", "it has real-time scheduling" },
	[VM_VHOST_USER] = { "vhost-user", "another process maps its memory (vhost-user)" },
	[VM_USERFAULTFD] = { "userfaultfd",
			     "its memory is being filled in on faults (postcopy, snapshot)" },
	[VM_INCOMING] = { "incoming", "it is migrating in; looked at again once it runs" },
	[VM_CPUSET] = { "cpuset", "its cpuset does not include the tier's node; allow that node" },
	[VM_CGROUP] = { "cgroup",
			"its cgroup is another VM's too, and has one limit on compressed memory; "
			"start it in one of its own (systemd-run --scope)" },
	[VM_NO_ACCESS] = { "no-access", "its process cannot be examined" },
};

const char *vm_ineligible_name(enum vm_ineligible reason)
{
	return ineligible[reason].name;
}

const char *vm_ineligible_text(enum vm_ineligible reason)
{
	return ineligible[reason].text;
}
