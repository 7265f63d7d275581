/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What has happened and somebody may want to be told: a queue from those who do things to the one
 * who talks to people (server/), emptied after each turn of the loop. Loop only.
 */
#pragma once

#include <sys/types.h>

#include "protocol/model.h"
#include "util/array.h"
#include "util/error.h"
#include "vm.h"

enum event_kind {
	EVENT_NEWS,	/* for everyone who monitors */
	EVENT_EXAMINED, /* for who asked for a process to be added */
};

struct event {
	enum event_kind kind;
	union {
		struct cram_event_report news;
		struct {
			pid_t pid;
			struct vm *vm; /* a reference; NULL: it is none, and why */
			struct cram_error err;
		} examined;
	};
};

struct events {
	CRAM_ARRAY(struct event) queue; /* oldest first */
	uint64_t lost;			/* for want of memory */
};

/* Forgets what has been told. */
void events_clear(struct events *events);
void events_free(struct events *events);

/* @type: as in model.h; @vm NULL: it is about the host. */
void events_say(struct events *events, const char *type, const struct vm *vm, uint64_t bytes,
		const char *fmt, ...) __attribute__((format(printf, 5, 6)));
/* The same of a VM that does not run here, or not yet. */
void events_say_of(struct events *events, const char *type, const char *uuid, const char *name,
		   uint64_t bytes, const char *text);
void events_examined(struct events *events, pid_t pid, struct vm *vm, const struct cram_error *err);
