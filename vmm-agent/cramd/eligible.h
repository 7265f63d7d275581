/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Why a VM is left alone: the reasons, their names and what to do about them. */
#pragma once

enum vm_ineligible {
	VM_ELIGIBLE,
	VM_NOT_LOOKED,	   /* not yet examined */
	VM_NOT_MAPPED,	   /* its QEMU has not made its RAM yet; looked for again */
	VM_LAYOUT_UNKNOWN, /* its RAM cannot be told from other memory of QEMU */
	VM_HUGETLB,
	VM_FILE,
	VM_SHM,
	VM_PRIVATE_MEMFD,
	VM_LOCKED,
	VM_PINNED, /* VFIO, vDPA, io_uring buffers */
	VM_CONFIDENTIAL,
	VM_REALTIME,
	VM_VHOST_USER,
	VM_USERFAULTFD, /* somebody fills its memory in on faults: postcopy, snapshot restore */
	VM_INCOMING,	/* migrating in */
	VM_CPUSET,	/* its cpuset does not include the tier's node */
	VM_CGROUP,	/* the kernel's limit on compressed memory holds for another VM with it */
	VM_NO_ACCESS,
};

/* Code, as in answers and metrics; "" for VM_ELIGIBLE. */
const char *vm_ineligible_name(enum vm_ineligible reason);
/* For a person, with what to change. */
const char *vm_ineligible_text(enum vm_ineligible reason);
