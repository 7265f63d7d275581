/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the methods and the sockets share: a connected client, and the two tables. */
#pragma once

#include <sys/socket.h>

#include "../daemon.h"
#include "protocol/protocol.h"

struct client {
	struct listener *listener;
	struct client *next, **prev;
	struct cram_peer *peer;
	struct loop_source *source;
	/* Kept calls, one of them at a time: of a stream, and of a VM to be added. NULL: none. */
	struct cram_call *monitor, *adding;
	pid_t adding_pid;
	struct ucred cred;
	int fd;
};

/* For handlers whose userdata is the struct daemon, and their peer's a struct client. */
extern const struct cram_method status_methods[], control_methods[];
