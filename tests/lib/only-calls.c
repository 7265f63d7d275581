// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * only-calls LIST COMMAND…: becomes COMMAND with no system calls but those that LIST names, one a
 * line (allowed-calls makes it of a unit). Any other fails with EPERM, as SystemCallErrorNumber= of
 * our units has it.
 */
#include <errno.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static _Noreturn void die(const char *what, const char *why)
{
	fprintf(stderr, "only-calls: %s: %s\n", what, why);
	exit(125);
}

int main(int argc, char **argv)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	char name[64];
	FILE *list;
	int r;

	if (argc < 3)
		die("usage", "only-calls LIST COMMAND...");
	list = fopen(argv[1], "re");
	if (!list || !filter)
		die(argv[1], strerror(errno));
	while (fscanf(list, "%63s", name) == 1) {
		int call = seccomp_syscall_resolve_name(name);

		/* Not of this architecture, or newer than the library: systemd passes them over,
		 * too. */
		if (call < 0)
			continue;
		r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, call, 0);
		if (r < 0)
			die(name, strerror(-r));
	}
	fclose(list);
	r = seccomp_load(filter);
	if (r < 0)
		die("filter", strerror(-r));
	seccomp_release(filter);
	execvp(argv[2], argv + 2);
	die(argv[2], strerror(errno));
}
