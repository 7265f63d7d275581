// SPDX-License-Identifier: GPL-2.0-or-later
/* epoll loop; see loop.h. */
#include "loop.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define EVENTS_AT_ONCE 64

int loop_init(struct loop *loop)
{
	int fd = epoll_create1(EPOLL_CLOEXEC);

	if (fd < 0)
		return -errno;
	*loop = (struct loop){ .epoll = fd };
	return 0;
}

static void bury(struct loop *loop)
{
	for (size_t i = 0; i < loop->n_dead; i++)
		free(loop->dead[i]);
	loop->cap_dead -= loop->n_dead;
	loop->n_dead = 0;
}

void loop_fini(struct loop *loop)
{
	bury(loop);
	free(loop->dead);
	if (loop->epoll >= 0)
		close(loop->epoll);
	loop->epoll = -1;
}

int loop_add(struct loop *loop, int fd, uint32_t events, loop_handler *handler, void *userdata,
	     struct loop_source **ret_source)
{
	struct loop_source *source;
	struct epoll_event event = { .events = events };
	/* Room for the funeral is made at birth, so that removing cannot fail. */
	size_t want = loop->cap_dead + 1;
	struct loop_source **dead = reallocarray(loop->dead, want, sizeof(struct loop_source *));

	if (!dead)
		return -ENOMEM;
	loop->dead = dead;
	source = malloc(sizeof(*source));
	if (!source)
		return -ENOMEM;
	*source = (struct loop_source){ .fd = fd, .handler = handler, .userdata = userdata };
	event.data.ptr = source;
	if (epoll_ctl(loop->epoll, EPOLL_CTL_ADD, fd, &event) < 0) {
		free(source);
		return -errno;
	}
	loop->cap_dead = want;
	*ret_source = source;
	return 0;
}

int loop_change(struct loop *loop, struct loop_source *source, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.ptr = source };

	return epoll_ctl(loop->epoll, EPOLL_CTL_MOD, source->fd, &event) < 0 ? -errno : 0;
}

void loop_remove(struct loop *loop, struct loop_source *source)
{
	if (!source)
		return;
	epoll_ctl(loop->epoll, EPOLL_CTL_DEL, source->fd, NULL);
	source->handler = NULL;
	loop->dead[loop->n_dead++] = source;
}

int loop_timer_set(int fd, uint32_t ms)
{
	struct timespec ts = { .tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000 };
	struct itimerspec spec = { .it_interval = ts, .it_value = ts };

	return timerfd_settime(fd, 0, &spec, NULL) < 0 ? -errno : 0;
}

int loop_timer_new(uint32_t ms, int *ret_fd)
{
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK), r;

	if (fd < 0)
		return -errno;
	r = loop_timer_set(fd, ms);
	if (r < 0) {
		close(fd);
		return r;
	}
	*ret_fd = fd;
	return 0;
}

int loop_run(struct loop *loop)
{
	while (!loop->stop) {
		struct epoll_event events[EVENTS_AT_ONCE];
		int n = epoll_wait(loop->epoll, events, EVENTS_AT_ONCE, -1);

		if (n < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		for (int i = 0; i < n; i++) {
			struct loop_source *source = events[i].data.ptr;
			int r;

			if (!source->handler)
				continue;
			r = source->handler(loop, source->fd, events[i].events, source->userdata);
			if (r < 0)
				return r;
		}
		bury(loop);
	}
	return 0;
}
