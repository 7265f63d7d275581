/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The event loop: descriptors and timers, one thread, level-triggered. No policy here.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>

struct loop;

/* @events are epoll's. A negative return ends the loop with that error. */
typedef int loop_handler(struct loop *loop, int fd, uint32_t events, void *userdata);

struct loop_source {
	int fd;
	loop_handler *handler;
	void *userdata;
	struct loop_source *next, **prev; /* of the living, or of those to be freed */
};

struct loop {
	int epoll;
	bool stop;
	void (*after)(void *userdata);
	void *after_userdata;
	struct loop_source *sources;
	/* Removed while a batch of events is handled, which may still name them; freed after it. */
	struct loop_source *removed;
};

int loop_init(struct loop *loop);
/* Forgets what is still watched; the descriptors stay their owners'. */
void loop_fini(struct loop *loop);

/* Watches @fd, which stays the caller's. *ret_source is needed to change or end that. */
int loop_add(struct loop *loop, int fd, uint32_t events, loop_handler *handler, void *userdata,
	     struct loop_source **ret_source);
int loop_change(struct loop *loop, struct loop_source *source, uint32_t events);
/* Its handler is not called again, not even for events already fetched. */
void loop_remove(struct loop *loop, struct loop_source *source);

/* A timerfd that fires every @ms from now on; the caller closes it. The handler must read it. */
int loop_timer_new(uint32_t ms, int *ret_fd);
int loop_timer_set(int fd, uint32_t ms);
/* The same, with the first time in the next turn. */
int loop_timer_fire(int fd, uint32_t ms);

/* @handler is called at the end of each turn: when all that was ready has been handled. */
void loop_after(struct loop *loop, void (*handler)(void *userdata), void *userdata);

/* Runs until loop->stop or until a handler fails. */
int loop_run(struct loop *loop);
