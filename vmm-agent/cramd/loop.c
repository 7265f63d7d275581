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

static void free_all(struct loop_source **list)
{
	while (*list) {
		struct loop_source *source = *list;

		*list = source->next;
		free(source);
	}
}

static void push(struct loop_source **list, struct loop_source *source)
{
	source->next = *list;
	source->prev = list;
	if (source->next)
		source->next->prev = &source->next;
	*list = source;
}

void loop_fini(struct loop *loop)
{
	free_all(&loop->removed);
	free_all(&loop->sources);
	if (loop->epoll >= 0)
		close(loop->epoll);
	loop->epoll = -1;
}

int loop_add(struct loop *loop, int fd, uint32_t events, loop_handler *handler, void *userdata,
	     struct loop_source **ret_source)
{
	struct loop_source *source = malloc(sizeof(*source));
	struct epoll_event event = { .events = events, .data.ptr = source };

	if (!source)
		return -ENOMEM;
	*source = (struct loop_source){ .fd = fd, .handler = handler, .userdata = userdata };
	if (epoll_ctl(loop->epoll, EPOLL_CTL_ADD, fd, &event) < 0) {
		free(source);
		return -errno;
	}
	push(&loop->sources, source);
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
	*source->prev = source->next;
	if (source->next)
		source->next->prev = source->prev;
	push(&loop->removed, source);
}

static struct timespec timespec_of(uint32_t ms)
{
	return (struct timespec){ .tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000 };
}

int loop_timer_set(int fd, uint32_t ms)
{
	struct itimerspec spec = { .it_interval = timespec_of(ms), .it_value = timespec_of(ms) };

	return timerfd_settime(fd, 0, &spec, NULL) < 0 ? -errno : 0;
}

int loop_timer_fire(int fd, uint32_t ms)
{
	/* None at all would stop it. */
	struct itimerspec spec = { .it_interval = timespec_of(ms), .it_value.tv_nsec = 1 };

	return timerfd_settime(fd, 0, &spec, NULL) < 0 ? -errno : 0;
}

void loop_after(struct loop *loop, void (*handler)(void *userdata), void *userdata)
{
	loop->after = handler;
	loop->after_userdata = userdata;
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
		free_all(&loop->removed);
		if (loop->after)
			loop->after(loop->after_userdata);
	}
	return 0;
}
