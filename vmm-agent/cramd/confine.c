// SPDX-License-Identifier: GPL-2.0-or-later
/* Capabilities and seccomp; see confine.h. */
#include "confine.h"

#include <cap-ng.h>
#include <errno.h>
#include <seccomp.h>
#include <stddef.h>
#include <sys/socket.h>

#include "util/cleanup.h"

int confine_capabilities(void)
{
	static const unsigned int needed[] = {
		CAP_SYS_PTRACE,	     /* /proc/PID/{maps,fd,pagemap}, move_pages of another user */
		CAP_SYS_NICE,	     /* move_pages, placement of another process's memory */
		CAP_SYS_ADMIN,	     /* frame numbers in pagemap */
		CAP_DAC_READ_SEARCH, /* /proc/PID/fd of QEMU's user */
		CAP_DAC_OVERRIDE,    /* DAMON's and page_idle's files, memfds opened for mbind */
		CAP_CHOWN,	     /* the sockets' groups */
	};

	capng_clear(CAPNG_SELECT_BOTH);
	for (size_t i = 0; i < ARRAY_SIZE(needed); i++)
		if (capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED | CAPNG_BOUNDING_SET,
				 needed[i]) < 0)
			return -EINVAL;
	return capng_apply(CAPNG_SELECT_BOTH) < 0 ? -EPERM : 0;
}

int confine_system_calls(void)
{
	static const int refused[] = {
		SCMP_SYS(execve),
		SCMP_SYS(execveat),
		SCMP_SYS(fork),
		SCMP_SYS(vfork),
		SCMP_SYS(ptrace),
		SCMP_SYS(process_vm_readv),
		SCMP_SYS(process_vm_writev),
		SCMP_SYS(mount),
		SCMP_SYS(umount2),
		SCMP_SYS(pivot_root),
		SCMP_SYS(chroot),
		SCMP_SYS(setns),
		SCMP_SYS(unshare),
		SCMP_SYS(init_module),
		SCMP_SYS(finit_module),
		SCMP_SYS(delete_module),
		SCMP_SYS(kexec_load),
		SCMP_SYS(kexec_file_load),
		SCMP_SYS(reboot),
		SCMP_SYS(swapon),
		SCMP_SYS(swapoff),
		SCMP_SYS(bpf),
		SCMP_SYS(perf_event_open),
		SCMP_SYS(keyctl),
		SCMP_SYS(add_key),
		SCMP_SYS(request_key),
		SCMP_SYS(iopl),
		SCMP_SYS(ioperm),
		SCMP_SYS(settimeofday),
		SCMP_SYS(clock_settime),
		SCMP_SYS(sethostname),
		SCMP_SYS(setdomainname),
		SCMP_SYS(migrate_pages),
		SCMP_SYS(userfaultfd),
		/* What a ring is told to do passes no filter. */
		SCMP_SYS(io_uring_setup),
		SCMP_SYS(io_uring_register),
	};
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
	int r = 0;

	if (!filter)
		return -ENOMEM;
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(refused); i++)
		r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), refused[i], 0);
	/* Local sockets only: no address family but AF_UNIX. */
	if (r == 0)
		r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EAFNOSUPPORT), SCMP_SYS(socket), 1,
				     SCMP_A0(SCMP_CMP_NE, AF_UNIX));
	if (r == 0)
		r = seccomp_load(filter);
	seccomp_release(filter);
	return r;
}
