// SPDX-License-Identifier: GPL-2.0-or-later
/* The two sockets, and who is connected; see server.h. */
#include "server.h"

#include <errno.h>
#include <grp.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "methods.h"
#include "util/cleanup.h"
#include "util/plural.h"

/* Who cannot be taken in for want of something is tried again after this. */
#define AGAIN_MS 500

struct listener {
	struct server *server;
	const char *name, *group;
	struct cram_service service;
	char path[108];
	int fd;
	struct loop_source *source;
	size_t n_clients;
	/* The last one could not be taken in: it waits, and so do all behind it. That was said. */
	bool deaf, said_deaf;
	struct cram_ratelimit lines;
};

struct server {
	struct daemon *d;
	struct listener control, status;
	struct client *clients;
	uint32_t patience_ms;
	int again; /* timerfd */
	struct loop_source *again_source;
};

static void drop_client(struct client *client)
{
	loop_remove(&client->listener->server->d->loop, client->source);
	close(client->fd);
	answer_drop(client);
	cram_peer_free(client->peer);
	*client->prev = client->next;
	if (client->next)
		client->next->prev = client->prev;
	client->listener->n_clients--;
	free(client);
}

/* It has gone, or is as good as gone. */
static void lose_client(struct client *client)
{
	if (client->refusing)
		admission_came_late(client->listener->server->d, &client->refusal);
	drop_client(client);
}

static uint32_t to_epoll(short events)
{
	return (events & POLLIN ? EPOLLIN : 0) | (events & POLLOUT ? EPOLLOUT : 0);
}

static int on_client(struct loop *loop, int fd, uint32_t events, void *userdata)
{
	struct client *client = userdata;
	short revents = 0, wanted = POLLIN;

	if (events & (EPOLLIN | EPOLLERR))
		revents |= POLLIN;
	if (events & EPOLLHUP)
		revents |= POLLHUP;
	if (events & EPOLLOUT)
		revents |= POLLOUT;
	if (cram_peer_io(client->peer, fd, revents, &wanted) < 0) {
		lose_client(client);
		return 0;
	}
	client->wants_room = wanted & POLLOUT;
	if (events & EPOLLOUT)
		client->full_since_ms = 0;
	loop_change(loop, client->source, to_epoll(wanted));
	return 0;
}

/*
 * Those that ask and do not read. Not who monitors: what is kept for it has a limit, and it is told
 * what it has lost.
 */
static void drop_slow(struct server *server, uint64_t now_ms)
{
	struct client *next;

	for (struct client *client = server->clients; client; client = next) {
		next = client->next;
		if (!client->wants_room || client->monitor)
			client->full_since_ms = 0;
		else if (!client->full_since_ms)
			client->full_since_ms = now_ms;
		else if (now_ms - client->full_since_ms > server->patience_ms)
			lose_client(client);
	}
}

/*
 * Nobody can be taken in: there are no descriptors, or there is no memory. Who waits stays where he
 * is, and the listener would be readable all the time, so it is left alone for a moment.
 */
static void turn_deaf(struct listener *listener, int error)
{
	struct daemon *d = listener->server->d;
	uint32_t missed;

	/* Without the timer: better busy than deaf for good. */
	if (loop_timer_set(listener->server->again, AGAIN_MS) < 0 ||
	    loop_change(&d->loop, listener->source, 0) < 0)
		return;
	if (!listener->deaf && cram_ratelimit_ok(&listener->lines, monotonic_ms(), &missed)) {
		cram_log_warn(&d->host.log, "%s: nobody new is heard for now: %s", listener->path,
			      strerror(error));
		listener->said_deaf = true;
	}
	listener->deaf = true;
}

static int on_again(struct loop *loop, int fd, uint32_t events, void *userdata)
{
	struct server *server = userdata;
	uint64_t n;

	(void)events;
	if (read(fd, &n, sizeof(n)) != sizeof(n))
		return 0;
	loop_timer_set(fd, 0);
	loop_change(loop, server->control.source, EPOLLIN);
	loop_change(loop, server->status.source, EPOLLIN);
	return 0;
}

static int on_listener(struct loop *loop, int fd, uint32_t events, void *userdata)
{
	struct listener *listener = userdata;
	struct server *server = listener->server;
	socklen_t len = sizeof(struct ucred);
	struct client *client;
	int r;

	(void)events;
	client = calloc(1, sizeof(*client));
	if (!client) {
		turn_deaf(listener, ENOMEM);
		return 0;
	}
	client->listener = listener;
	client->fd = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (client->fd < 0) {
		/* Not if who wanted in has gone. */
		if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
			turn_deaf(listener, errno);
		free(client);
		return 0;
	}
	if (listener->said_deaf)
		cram_log_info(&listener->server->d->host.log, "%s: who comes is heard again",
			      listener->path);
	listener->deaf = listener->said_deaf = false;
	if (listener->n_clients >= SERVER_CLIENTS_MAX ||
	    getsockopt(client->fd, SOL_SOCKET, SO_PEERCRED, &client->cred, &len) < 0 ||
	    cram_peer_new(&listener->service, &client->peer) < 0)
		goto refuse;
	cram_peer_set_userdata(client->peer, client);
	r = loop_add(loop, client->fd, EPOLLIN, on_client, client, &client->source);
	if (r < 0) {
		cram_peer_free(client->peer);
		goto refuse;
	}
	client->next = server->clients;
	client->prev = &server->clients;
	if (client->next)
		client->next->prev = &client->next;
	server->clients = client;
	listener->n_clients++;
	return 0;
refuse:
	close(client->fd);
	free(client);
	return 0;
}

/* Is somebody listening at @addr? Who hangs, with a backlog that is full, is not waited for. */
static bool answers(const struct sockaddr_un *addr)
{
	cleanup_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	return fd >= 0 &&
	       (connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) == 0 || errno == EAGAIN);
}

static int listen_at(struct listener *listener, struct cram_error *err)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct daemon *d = listener->server->d;
	struct group *group;
	int r;

	snprintf(listener->path, sizeof(listener->path), "%s/%s", d->host.run_dir, listener->name);
	memcpy(addr.sun_path, listener->path, sizeof(addr.sun_path));
	if (answers(&addr))
		return cram_error_set(err, -EADDRINUSE, listener->path, "listen",
				      "stop the other agent first", "another agent answers there");
	unlink(listener->path);
	listener->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (listener->fd < 0)
		return cram_error_set(err, -errno, listener->path, "make a socket", NULL, "%s",
				      strerror(errno));
	/* Born closed to everyone: opened up only when its group is right. */
	if (fchmod(listener->fd, 0600) < 0 ||
	    bind(listener->fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		goto fail;
	group = getgrnam(listener->group);
	if (group) {
		if (chown(listener->path, (uid_t)-1, group->gr_gid) < 0)
			goto fail;
	} else {
		cram_log_info(&d->host.log, "no group \"%s\": only root can use %s",
			      listener->group, listener->path);
	}
	if (chmod(listener->path, 0660) < 0 || listen(listener->fd, 64) < 0)
		goto fail;
	r = loop_add(&d->loop, listener->fd, EPOLLIN, on_listener, listener, &listener->source);
	if (r < 0)
		return cram_error_set(err, r, listener->path, "watch it", NULL, "%s", strerror(-r));
	return 0;
fail:
	return cram_error_set(err, -errno, listener->path, "listen", NULL, "%s", strerror(errno));
}

/* On its next turn output is written, and requests that waited behind a kept call are read. */
static void wake(struct client *client)
{
	client->wants_room = true;
	loop_change(&client->listener->server->d->loop, client->source, EPOLLIN | EPOLLOUT);
}

static void tell_news(struct server *server, const struct cram_event_report *news)
{
	for (struct client *client = server->clients; client; client = client->next) {
		struct json_object *o;

		if (!client->monitor)
			continue;
		o = json_object_new_object();
		if (!o)
			continue;
		json_object_object_add(o, "event", cram_encode_as(event, news));
		cram_call_notify(client->monitor, o);
		wake(client);
	}
}

/* Answers those who asked for it to be added: that it is a VM when the round has seen it. */
static void tell_examined(struct server *server, const struct event *event)
{
	for (struct client *client = server->clients; client; client = client->next) {
		struct cram_call *call = client->adding;

		if (!call || client->adding_pid != event->examined.pid)
			continue;
		client->adding = NULL;
		if (event->examined.vm)
			answer_added(server->d, call, event->examined.vm);
		else
			refuse_call(server->d, call, NULL, CRAM_ERR_REFUSED, &event->examined.err);
		if (event->examined.vm)
			continue;
		wake(client);
	}
}

/* At the end of each turn of the loop. */
static void tell(void *userdata)
{
	struct server *server = userdata;
	struct daemon *d = server->d;

	for (size_t i = 0; i < d->events.queue.n; i++) {
		/* A copy: who is answered may be news, and the queue grows meanwhile. */
		const struct event event = d->events.queue.v[i];

		if (event.kind == EVENT_NEWS)
			tell_news(server, &event.news);
		else
			tell_examined(server, &event);
	}
	if (d->events.lost)
		cram_log_warn(&d->host.log, "%" PRIu64 " event%s not told: out of memory",
			      d->events.lost, plural(d->events.lost));
	events_clear(&d->events);
	for (struct client *client = server->clients; client; client = client->next) {
		if (!client->waiting || d->rounds == client->answer.rounds)
			continue;
		answer_now(d, client);
		wake(client);
	}
	drop_slow(server, monotonic_ms());
}

int server_start(struct daemon *d, struct cram_error *err, struct server **ret_server)
{
	struct server *server = calloc(1, sizeof(*server));
	int r;

	if (!server)
		return -ENOMEM;
	server->d = d;
	server->again = -1;
	server->patience_ms = 60000;
	server->control = (struct listener){
		.server = server,
		.name = "control",
		.group = "cramd",
		.service = { CRAM_IFACE_CONTROL, control_methods, d, CRAM_CONTROL_MAX },
		.fd = -1,
		.lines = { .interval_ms = 60000, .burst = 1 },
	};
	server->status = (struct listener){
		.server = server,
		.name = "status",
		.group = "cramd-read",
		.service = { CRAM_IFACE_STATUS, status_methods, d, 0 },
		.fd = -1,
		.lines = { .interval_ms = 60000, .burst = 1 },
	};
	r = listen_at(&server->control, err);
	if (r == 0)
		r = listen_at(&server->status, err);
	if (r == 0)
		r = loop_timer_new(0, &server->again);
	if (r == 0)
		r = loop_add(&d->loop, server->again, EPOLLIN, on_again, server,
			     &server->again_source);
	if (r < 0) {
		if (err->code == 0)
			cram_error_set(err, r, server->status.path, "listen", NULL, "%s",
				       strerror(-r));
		server_stop(server);
		return r;
	}
	loop_after(&d->loop, tell, server);
	*ret_server = server;
	return 0;
}

void server_set_patience(struct server *server, uint32_t ms)
{
	server->patience_ms = ms;
}

static void stop_listener(struct listener *listener)
{
	if (listener->fd < 0)
		return;
	loop_remove(&listener->server->d->loop, listener->source);
	close(listener->fd);
	/* Only when it got as far as being ours. */
	if (listener->source)
		unlink(listener->path);
}

void server_stop(struct server *server)
{
	loop_after(&server->d->loop, NULL, NULL);
	while (server->clients)
		drop_client(server->clients);
	stop_listener(&server->control);
	stop_listener(&server->status);
	loop_remove(&server->d->loop, server->again_source);
	if (server->again >= 0)
		close(server->again);
	free(server);
}
