// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The blocking client used by cramctl, cram-exporter and the tests.
 */
#include "protocol/protocol.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include "util/cleanup.h"
#include "util/clock.h"

struct cram_client {
	int fd;
	int timeout_ms;
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	char interface[32];
	struct cram_frames in;
	struct json_object *error_message; /* owns the error name handed out */
};

static int wait_for(struct cram_client *c, short events, int64_t deadline)
{
	struct pollfd p = { .fd = c->fd, .events = events };

	for (;;) {
		int64_t left = c->timeout_ms < 0 ? -1 : deadline - (int64_t)monotonic_ms();
		int r;

		if (c->timeout_ms >= 0 && left < 0)
			left = 0;
		r = poll(&p, 1, (int)left);
		if (r > 0)
			return 0;
		if (r == 0)
			return -ETIMEDOUT;
		if (errno != EINTR)
			return -errno;
	}
}

static int fail(struct cram_client *c, struct cram_error *err, int code, const char *attempt)
{
	const char *advice = NULL, *why = strerror(-code);

	switch (code) {
	case -ENOENT:
	case -ECONNREFUSED:
		why = "the agent does not listen there";
		advice = "start cramd, or name the directory of its sockets";
		break;
	case -EACCES:
	case -EPERM:
		why = "permission denied";
		advice = "join the socket's group (cramd for control, cramd-read for status)";
		break;
	case -ETIMEDOUT:
		why = "no answer in time";
		advice = "see the journal of cramd";
		break;
	case -ENOTCONN:
		why = "the agent closed the connection";
		advice = "see the journal of cramd";
		break;
	case -EPROTO:
		why = "the answer is not of this protocol";
		advice = "check that the agent and this program are of the same release";
		break;
	}
	return cram_error_set(err, code, c->path, attempt, advice, "%s", why);
}

static int send_all(struct cram_client *c, const char *data, size_t n)
{
	int64_t deadline = (int64_t)monotonic_ms() + c->timeout_ms;

	while (n > 0) {
		ssize_t r = send(c->fd, data, n, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (r < 0 && errno == EAGAIN) {
			int w = wait_for(c, POLLOUT, deadline);

			if (w < 0)
				return w;
			continue;
		}
		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return errno == EPIPE || errno == ECONNRESET ? -ENOTCONN : -errno;
		data += r;
		n -= (size_t)r;
	}
	return 0;
}

static int receive(struct cram_client *c, struct json_object **ret)
{
	int64_t deadline = (int64_t)monotonic_ms() + c->timeout_ms;
	char buf[65536];
	const char *msg;
	size_t size;
	int r;

	for (;;) {
		ssize_t n;

		r = cram_frames_next(&c->in, &msg, &size);
		if (r < 0)
			return -EPROTO;
		if (r > 0) {
			r = cram_json_parse(msg, size, ret);
			return r == -EBADMSG ? -EPROTO : r;
		}
		r = wait_for(c, POLLIN, deadline);
		if (r < 0)
			return r;
		n = recv(c->fd, buf, sizeof(buf), MSG_DONTWAIT);
		if (n == 0)
			return -ENOTCONN;
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (n < 0)
			return errno == ECONNRESET ? -ENOTCONN : -errno;
		r = cram_frames_add(&c->in, buf, (size_t)n);
		if (r < 0)
			return r == -EMSGSIZE ? -EPROTO : r;
	}
}

static int request(struct cram_client *c, const char *method, struct json_object *parameters,
		   const char *flag)
{
	struct json_object *m = json_object_new_object();
	char name[128];
	const char *text;
	size_t n;
	int r;

	if (!m) {
		json_object_put(parameters);
		return -ENOMEM;
	}
	snprintf(name, sizeof(name), "%s.%s", c->interface, method);
	json_object_object_add(m, "method", json_object_new_string(name));
	if (parameters)
		json_object_object_add(m, "parameters", parameters);
	if (flag)
		json_object_object_add(m, flag, json_object_new_boolean(true));
	text = json_object_to_json_string_length(
		m, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, &n);
	r = text ? send_all(c, text, n + 1) : -ENOMEM;
	json_object_put(m);
	return r;
}

/* An error reply's parameters as one sentence. */
static void remote_error(const char *name, struct json_object *parameters, struct cram_error *err)
{
	struct json_object *o;
	const char *detail = NULL;
	static const char *const keys[] = { "message", "parameter", "vm", "method", "interface" };

	for (size_t i = 0; i < ARRAY_SIZE(keys) && !detail; i++)
		if (json_object_object_get_ex(parameters, keys[i], &o) &&
		    json_object_is_type(o, json_type_string))
			detail = json_object_get_string(o);
	if (strcmp(name, CRAM_ERR_VM_NOT_FOUND) == 0)
		cram_error_set(err, -EREMOTEIO, NULL, NULL, "see cramctl vm list",
			       "the agent knows no VM \"%s\"", detail ? detail : "");
	else if (strcmp(name, CRAM_ERR_VM_AMBIGUOUS) == 0)
		cram_error_set(err, -EREMOTEIO, NULL, NULL, "name its UUID",
			       "more than one VM is called \"%s\"", detail ? detail : "");
	else if (json_object_object_get_ex(parameters, "message", &o) && detail)
		cram_error_set(err, -EREMOTEIO, NULL, NULL, NULL, "%s", detail);
	else
		cram_error_set(err, -EREMOTEIO, NULL, NULL, NULL, "the agent answered %s%s%s", name,
			       detail ? ": " : "", detail ? detail : "");
}

/* 1: more follow, 0: last, negative: error. */
static int take_reply(struct cram_client *c, struct json_object **ret_reply, const char **ret_error,
		      struct cram_error *err)
{
	struct json_object *m = NULL, *parameters = NULL, *o;
	bool continues = false;
	int r;

	r = receive(c, &m);
	if (r < 0)
		return fail(c, err, r, "read the answer");
	if (json_object_object_get_ex(m, "parameters", &parameters) &&
	    !json_object_is_type(parameters, json_type_object)) {
		json_object_put(m);
		return fail(c, err, -EPROTO, "read the answer");
	}
	if (json_object_object_get_ex(m, "error", &o)) {
		if (!json_object_is_type(o, json_type_string)) {
			json_object_put(m);
			return fail(c, err, -EPROTO, "read the answer");
		}
		remote_error(json_object_get_string(o), parameters, err);
		json_object_put(c->error_message);
		c->error_message = m;
		if (ret_error)
			*ret_error = json_object_get_string(o);
		return -EREMOTEIO;
	}
	if (json_object_object_get_ex(m, "continues", &o))
		continues = json_object_get_boolean(o);
	*ret_reply = parameters ? json_object_get(parameters) : json_object_new_object();
	json_object_put(m);
	return continues ? 1 : 0;
}

int cram_client_call(struct cram_client *c, const char *method, struct json_object *parameters,
		     struct json_object **ret_reply, const char **ret_error, struct cram_error *err)
{
	int r = request(c, method, parameters, NULL);

	if (r < 0)
		return fail(c, err, r, "send the request");
	r = take_reply(c, ret_reply, ret_error, err);
	if (r == 1) {
		json_object_put(*ret_reply);
		return fail(c, err, -EPROTO, "read the answer");
	}
	return r;
}

void cram_client_tell(struct cram_client *c, const char *method)
{
	c->timeout_ms = 0;
	request(c, method, NULL, "oneway");
}

int cram_client_call_more(struct cram_client *c, const char *method, struct json_object *parameters,
			  struct cram_error *err)
{
	int r = request(c, method, parameters, "more");

	return r < 0 ? fail(c, err, r, "send the request") : 0;
}

int cram_client_next(struct cram_client *c, struct json_object **ret_reply, const char **ret_error,
		     struct cram_error *err)
{
	return take_reply(c, ret_reply, ret_error, err);
}

void cram_client_free(struct cram_client *c)
{
	if (!c)
		return;
	if (c->fd >= 0)
		close(c->fd);
	cram_frames_free(&c->in);
	json_object_put(c->error_message);
	free(c);
}

static void client_freep(struct cram_client **c)
{
	cram_client_free(*c);
}

static int connect_path(struct cram_client *c)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int64_t deadline = (int64_t)monotonic_ms() + c->timeout_ms;

	memcpy(sa.sun_path, c->path, sizeof(sa.sun_path));
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (c->fd < 0)
		return -errno;
	while (connect(c->fd, (struct sockaddr *)&sa, sizeof(sa)) < 0) {
		struct timespec pause = { .tv_nsec = 10 * 1000 * 1000 };

		if (errno == EINTR)
			continue;
		/* A full backlog: the one case where a local connect would wait. */
		if (errno != EAGAIN)
			return -errno;
		if (c->timeout_ms >= 0 && (int64_t)monotonic_ms() >= deadline)
			return -ETIMEDOUT;
		nanosleep(&pause, NULL);
	}
	return 0;
}

int cram_client_connect(const char *path, const char *interface, int timeout_ms,
			struct cram_client **ret, struct cram_error *err)
{
	__attribute__((cleanup(client_freep))) struct cram_client *c = calloc(1, sizeof(*c));
	struct json_object *hello, *reply = NULL;
	int r;

	if (!c)
		return -ENOMEM;
	c->fd = -1;
	c->timeout_ms = timeout_ms;
	c->in.max = CRAM_REPLY_MAX;
	if (strlen(path) >= sizeof(c->path))
		return cram_error_set(err, -ENAMETOOLONG, path, "connect", NULL,
				      "a socket's path has at most %zu bytes", sizeof(c->path) - 1);
	strcpy(c->path, path);
	snprintf(c->interface, sizeof(c->interface), "%s", interface);
	r = connect_path(c);
	if (r < 0)
		return fail(c, err, r, "connect");
	hello = json_object_new_object();
	if (!hello)
		return -ENOMEM;
	json_object_object_add(hello, "version", json_object_new_int(CRAM_PROTOCOL_VERSION));
	r = cram_client_call(c, "Hello", hello, &reply, NULL, err);
	if (r < 0)
		return r == -EREMOTEIO ? -EPROTO : r;
	json_object_put(reply);
	*ret = TAKE_PTR(c);
	return 0;
}
