/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the methods and the sockets share: a connected client, and the two tables. */
#pragma once

#include <sys/socket.h>

#include "../admission.h"
#include "protocol/protocol.h"

/* What is answered to a call once a round that began after it has ended. */
struct answer {
	uint64_t rounds; /* how many had when it came */
	bool accepted;	 /* with what follows from it; else the message alone */
	struct vm *vm;	 /* a reference; NULL: the whole host */
	uint64_t missing;
	bool unkept;	     /* it is in force, and will not outlive the agent though it should */
	uint64_t generation; /* of the configuration that was read; 0: none was */
	char message[CRAM_ERROR_TEXT];
	char changed[320]; /* what was done */
};

struct client {
	struct listener *listener;
	struct client *next, **prev;
	struct cram_peer *peer;
	struct loop_source *source;
	/* Kept calls, one of them at a time: a stream, a VM to be added, a round to come. */
	struct cram_call *monitor, *adding, *waiting;
	pid_t adding_pid;
	struct answer answer; /* to the one that is waiting */
	/* It asked for a VM that was not admitted, and has yet to say that it refused it. */
	bool refusing;
	struct admission refusal;
	struct ucred cred;
	/* There is something to be written, and there has been no room since then (0: not seen). */
	bool wants_room;
	uint64_t full_since_ms;
	int fd;
};

/* Has @call answered with @answer after the next round, and that run at once. */
void answer_after_round(struct daemon *d, struct cram_call *call, const struct answer *answer);
/* @vm was taken in since @call asked for it. */
void answer_added(struct daemon *d, struct cram_call *call, struct vm *vm);
/* Says that, and why, what @call asks for is not done to @vm (NULL: the host), and answers so. */
int refuse_call(struct daemon *d, struct cram_call *call, const struct vm *vm, const char *error,
		const struct cram_error *err);
/* That round has ended. */
void answer_now(struct daemon *d, struct client *client);
/* Nobody is there to be answered. */
void answer_drop(struct client *client);

/* For handlers whose userdata is the struct daemon, and their peer's a struct client. */
extern const struct cram_method status_methods[], control_methods[];
