/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the daemon gives up once it has started: capabilities and system calls it never needs. */
#pragma once

/* Keeps only the capabilities that reading and moving other processes' memory takes. -errno. */
int confine_capabilities(void);

/*
 * Refuses, for this process and all its threads, system calls that it has no business making:
 * running programs, network sockets, reading or writing another process's memory, changing the
 * system. -errno; call before threads are started.
 */
int confine_system_calls(void);
