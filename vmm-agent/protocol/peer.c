// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The server's side of one connection: requests in, handlers called, replies queued. It owns no
 * descriptor and no event loop; cram_peer_io() is a convenience over the caller's descriptor.
 */
#include "protocol/protocol.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "protocol/idl.h"
#include "util/cleanup.h"
#include "util/utf8.h"

struct cram_call {
	struct cram_peer *peer;
	struct json_object *request;
	const char *method; /* inside request */
	bool more, oneway;
	bool kept, answered;
	uint64_t lost; /* events dropped since the last one delivered */
};

struct cram_peer {
	const struct cram_service *service;
	void *userdata;
	struct cram_frames in;
	struct cram_bytes out;
	struct cram_call *kept; /* answers are in order, so at most one is open */
	bool failed;		/* malformed input seen: nothing more is read */
	bool ended;		/* nothing more will come; what was asked is still answered */
};

int cram_peer_new(const struct cram_service *service, struct cram_peer **ret)
{
	struct cram_peer *p = calloc(1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	p->service = service;
	p->in.max = service->request_max ? service->request_max : CRAM_REQUEST_MAX;
	*ret = p;
	return 0;
}

static void call_free(struct cram_call *call)
{
	json_object_put(call->request);
	free(call);
}

void cram_peer_free(struct cram_peer *peer)
{
	if (!peer)
		return;
	if (peer->kept)
		call_free(peer->kept);
	cram_frames_free(&peer->in);
	cram_bytes_free(&peer->out);
	free(peer);
}

void cram_peer_set_userdata(struct cram_peer *peer, void *userdata)
{
	peer->userdata = userdata;
}

void *cram_peer_userdata(const struct cram_peer *peer)
{
	return peer->userdata;
}

struct cram_peer *cram_call_peer(const struct cram_call *call)
{
	return call->peer;
}

const char *cram_call_method(const struct cram_call *call)
{
	return call->method;
}

const char *cram_peer_output(const struct cram_peer *peer, size_t *ret_n)
{
	*ret_n = peer->out.used;
	return peer->out.used ? peer->out.buf + peer->out.start : "";
}

void cram_peer_consume(struct cram_peer *peer, size_t n)
{
	cram_bytes_consume(&peer->out, n);
	/* One huge reply must not pin its buffer for the life of an idle client. */
	if (peer->out.used == 0 && peer->out.cap > CRAM_QUEUE_MAX)
		cram_bytes_free(&peer->out);
}

/*
 * Text is made valid where it enters. Should some ever not be, it must not make the whole message
 * one that every reader refuses: a byte that is no UTF-8 is replaced by one that is.
 */
static void repair(char *text, size_t n)
{
	for (size_t i = 0; i < n;) {
		size_t length = (unsigned char)text[i] < 0x80 ? 1 : utf8_length(text + i, n - i);

		if (length == 0)
			text[i++] = '?';
		else
			i += length;
	}
}

/* Consumes @parameters. 1: the message would overflow @limit and was not queued. */
static int send_message(struct cram_peer *peer, const char *error, struct json_object *parameters,
			bool continues, size_t limit)
{
	struct json_object *m = json_object_new_object();
	const char *text;
	size_t n;
	int r;

	if (!parameters)
		parameters = json_object_new_object();
	if (!m || !parameters) {
		json_object_put(m);
		json_object_put(parameters);
		return -ENOMEM;
	}
	if (error)
		json_object_object_add(m, "error", json_object_new_string(error));
	json_object_object_add(m, "parameters", parameters);
	if (continues)
		json_object_object_add(m, "continues", json_object_new_boolean(true));
	text = json_object_to_json_string_length(
		m, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, &n);
	if (!text)
		r = -ENOMEM;
	else if (peer->out.used + n + 1 > limit)
		r = 1;
	else
		r = cram_bytes_add(&peer->out, text, n + 1);
	if (r == 0)
		repair(peer->out.buf + peer->out.start + peer->out.used - n - 1, n);
	json_object_put(m);
	return r;
}

static int answer(struct cram_call *call, const char *error, struct json_object *parameters)
{
	struct cram_peer *peer = call->peer;
	int r = 0;

	if (call->answered) {
		json_object_put(parameters);
		return -EALREADY;
	}
	call->answered = true;
	if (call->oneway)
		json_object_put(parameters);
	else
		r = send_message(peer, error, parameters, false, SIZE_MAX);
	if (peer->kept == call) {
		peer->kept = NULL;
		call_free(call);
	}
	return r;
}

int cram_call_reply(struct cram_call *call, struct json_object *parameters)
{
	return answer(call, NULL, parameters);
}

int cram_call_error(struct cram_call *call, const char *error, struct json_object *parameters)
{
	return answer(call, error, parameters);
}

static struct json_object *object_with(const char *key, const char *text)
{
	struct json_object *o = json_object_new_object();

	if (o)
		json_object_object_add(o, key, json_object_new_string(text));
	return o;
}

int cram_call_fail(struct cram_call *call, const char *error, const struct cram_error *err)
{
	char text[CRAM_ERROR_TEXT];

	return answer(call, error,
		      object_with("message", cram_error_format(err, text, sizeof(text))));
}

void cram_call_keep(struct cram_call *call)
{
	call->kept = true;
}

int cram_call_notify(struct cram_call *call, struct json_object *parameters)
{
	int r;

	if (call->lost > 0)
		json_object_object_add(parameters, "lost", json_object_new_uint64(call->lost));
	r = send_message(call->peer, NULL, parameters, true, CRAM_QUEUE_MAX);
	if (r == 0)
		call->lost = 0;
	else
		call->lost++;
	return r ? 1 : 0;
}

static int builtin(struct cram_call *call, const char *name, struct json_object *parameters)
{
	struct json_object *o, *names;
	uint64_t version;

	if (strcmp(name, "Hello") == 0) {
		if (cram_param_u64(parameters, "version", &version, NULL) < 0)
			return cram_call_error(call, CRAM_ERR_PARAMETER,
					       object_with("parameter", "version"));
		o = json_object_new_object();
		if (version != CRAM_PROTOCOL_VERSION) {
			json_object_object_add(o, "supported",
					       json_object_new_int(CRAM_PROTOCOL_VERSION));
			return cram_call_error(call, CRAM_ERR_VERSION, o);
		}
		json_object_object_add(o, "version", json_object_new_int(CRAM_PROTOCOL_VERSION));
		json_object_object_add(o, "agent", json_object_new_string("cramd"));
		return cram_call_reply(call, o);
	}
	if (strcmp(name, "GetInfo") == 0) {
		o = json_object_new_object();
		names = json_object_new_array();
		json_object_array_add(names, json_object_new_string("org.varlink.service"));
		json_object_array_add(names,
				      json_object_new_string(call->peer->service->interface));
		json_object_object_add(o, "vendor", json_object_new_string("cram"));
		json_object_object_add(o, "product", json_object_new_string("cramd"));
		json_object_object_add(o, "version", json_object_new_string(CRAM_VERSION));
		json_object_object_add(o, "url", json_object_new_string(""));
		json_object_object_add(o, "interfaces", names);
		return cram_call_reply(call, o);
	}
	if (strcmp(name, "GetInterfaceDescription") == 0) {
		const char *interface;
		cleanup_free char *text = NULL;

		if (cram_param_text(parameters, "interface", &interface, NULL) < 0)
			return cram_call_error(call, CRAM_ERR_PARAMETER,
					       object_with("parameter", "interface"));
		if (strcmp(interface, call->peer->service->interface) != 0 &&
		    strcmp(interface, "org.varlink.service") != 0)
			return cram_call_error(call, CRAM_ERR_NO_INTERFACE,
					       object_with("interface", interface));
		if (cram_interface_description(interface, &text) < 0)
			return -ENOMEM;
		return cram_call_reply(call, object_with("description", text));
	}
	return -ENOENT;
}

static int dispatch_method(struct cram_call *call, struct json_object *parameters)
{
	const struct cram_service *service = call->peer->service;
	const char *dot = strrchr(call->method, '.');
	char text[CRAM_ERROR_TEXT];
	struct cram_error err = { 0 };
	size_t n;
	int r;

	if (!dot)
		return cram_call_error(call, CRAM_ERR_PARAMETER,
				       object_with("parameter", "method"));
	n = (size_t)(dot - call->method);
	if (n == strlen("org.varlink.service") &&
	    memcmp(call->method, "org.varlink.service", n) == 0) {
		r = strcmp(dot + 1, "Hello") != 0 ? builtin(call, dot + 1, parameters) : -ENOENT;
	} else if (n == strlen(service->interface) &&
		   memcmp(call->method, service->interface, n) == 0) {
		const struct cram_method *m = service->methods;

		if (strcmp(dot + 1, "Hello") == 0)
			return builtin(call, "Hello", parameters);
		while (m->name && strcmp(m->name, dot + 1) != 0)
			m++;
		if (!m->name) {
			r = -ENOENT;
		} else if (m->needs_more && !call->more) {
			return cram_call_error(call, CRAM_ERR_EXPECTED_MORE, NULL);
		} else {
			r = m->handler(call, parameters, service->userdata, &err);
			if (call->answered || call->kept)
				return 0;
			if (r < 0 && err.code == 0)
				cram_error_set(&err, r, NULL, NULL, NULL, "%s", strerror(-r));
			if (r >= 0)
				cram_error_set(&err, -EPROTO, NULL, NULL, NULL, "%s gave no answer",
					       call->method);
			return cram_call_error(
				call, r == -EINVAL ? CRAM_ERR_PARAMETER : CRAM_ERR_INTERNAL,
				object_with(r == -EINVAL ? "parameter" : "message",
					    cram_error_format(&err, text, sizeof(text))));
		}
	} else {
		char interface[128];

		if (n >= sizeof(interface))
			n = sizeof(interface) - 1;
		memcpy(interface, call->method, n);
		interface[n] = '\0';
		return cram_call_error(call, CRAM_ERR_NO_INTERFACE,
				       object_with("interface", interface));
	}
	if (r == -ENOENT)
		return cram_call_error(call, CRAM_ERR_NO_METHOD,
				       object_with("method", call->method));
	return r;
}

static bool flag_of(struct json_object *request, const char *key, bool *ret)
{
	struct json_object *o;

	*ret = false;
	if (!json_object_object_get_ex(request, key, &o))
		return true;
	if (!json_object_is_type(o, json_type_boolean))
		return false;
	*ret = json_object_get_boolean(o);
	return true;
}

/* The one reply a malformed request gets; the connection ends with it. */
static int malformed(struct cram_peer *peer, const char *what)
{
	peer->failed = true;
	send_message(peer, CRAM_ERR_PARAMETER, object_with("parameter", what), false,
		     CRAM_QUEUE_MAX);
	return -EBADMSG;
}

static int dispatch(struct cram_peer *peer, const char *msg, size_t size)
{
	struct json_object *request = NULL, *method, *parameters = NULL, *empty = NULL;
	struct cram_call *call;
	bool upgrade;
	int r;

	r = cram_json_parse(msg, size, &request);
	if (r == -EBADMSG)
		return malformed(peer, "message");
	if (r < 0)
		return r;
	call = calloc(1, sizeof(*call));
	if (!call) {
		json_object_put(request);
		return -ENOMEM;
	}
	call->peer = peer;
	call->request = request;
	if (!json_object_object_get_ex(request, "method", &method) ||
	    !json_object_is_type(method, json_type_string)) {
		r = malformed(peer, "method");
	} else if (json_object_object_get_ex(request, "parameters", &parameters) && parameters &&
		   !json_object_is_type(parameters, json_type_object)) {
		r = malformed(peer, "parameters");
	} else if (!flag_of(request, "more", &call->more) ||
		   !flag_of(request, "oneway", &call->oneway) ||
		   !flag_of(request, "upgrade", &upgrade) || upgrade ||
		   (call->more && call->oneway)) {
		r = malformed(peer, "more, oneway or upgrade");
	} else {
		call->method = json_object_get_string(method);
		if (!parameters)
			parameters = empty = json_object_new_object();
		r = parameters ? dispatch_method(call, parameters) : -ENOMEM;
		json_object_put(empty);
		/* A handler may have kept the call: then it lives on, unless already answered. */
		if (call->kept && !call->answered) {
			peer->kept = call;
			return 0;
		}
	}
	call_free(call);
	return r;
}

/* Requests wait while a stream is open or while the client does not read its replies. */
static bool takes_requests(const struct cram_peer *peer)
{
	return !peer->failed && !peer->kept && peer->out.used <= CRAM_QUEUE_MAX;
}

/* Dispatches the next @most requests, if so many have come. */
static int dispatch_some(struct cram_peer *peer, size_t most)
{
	const char *msg;
	size_t size;
	int r;

	for (; most && takes_requests(peer); most--) {
		r = cram_frames_next(&peer->in, &msg, &size);
		if (r == -EMSGSIZE)
			return malformed(peer, "message");
		if (r <= 0)
			return r;
		r = dispatch(peer, msg, size);
		if (r < 0)
			return r;
	}
	return peer->failed ? -EBADMSG : 0;
}

static int take_input(struct cram_peer *peer, const char *data, size_t n, size_t most)
{
	int r;

	if (peer->failed)
		return -EBADMSG;
	r = cram_frames_add(&peer->in, data, n);
	if (r == -EMSGSIZE)
		return malformed(peer, "message");
	if (r < 0)
		return r;
	r = dispatch_some(peer, most);
	if (r == 0 && peer->in.bytes.used > peer->in.max && peer->kept)
		return malformed(peer, "message");
	return r;
}

int cram_peer_input(struct cram_peer *peer, const char *data, size_t n)
{
	return take_input(peer, data, n, SIZE_MAX);
}

/* Has a request come that was not dispatched yet, and may be? */
static bool has_request(const struct cram_peer *peer)
{
	return takes_requests(peer) && cram_frames_any(&peer->in);
}

int cram_peer_io(struct cram_peer *peer, int fd, short revents, short *ret_events)
{
	char buf[16384];
	bool more;
	ssize_t n;
	int r = 0;

	if (revents & (POLLERR | POLLNVAL))
		return -EIO;
	if (has_request(peer)) {
		r = dispatch_some(peer, 1);
	} else if (revents & (POLLIN | POLLHUP) && peer->out.used <= CRAM_QUEUE_MAX) {
		n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);
		if (n == 0 && revents & POLLHUP)
			return -ENOTCONN; /* nobody is there to read an answer */
		if (n == 0)
			peer->ended = true;
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return errno == ECONNRESET ? -ENOTCONN : -errno;
		if (n > 0)
			r = take_input(peer, buf, (size_t)n, 1);
	} else if (revents & POLLHUP) {
		return -ENOTCONN;
	}
	while (peer->out.used > 0) {
		n = send(fd, peer->out.buf + peer->out.start, peer->out.used,
			 MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EPIPE || errno == ECONNRESET) && has_request(peer)) {
			/* Nobody reads answers any more. What was asked before is done all the
			 * same. */
			cram_peer_consume(peer, peer->out.used);
			break;
		}
		if (n < 0)
			break;
		cram_peer_consume(peer, (size_t)n);
	}
	if (r < 0)
		return r;
	if (peer->out.used > 0 && errno != EAGAIN)
		return errno == EPIPE || errno == ECONNRESET ? -ENOTCONN : -errno;
	more = has_request(peer);
	if (peer->ended && !peer->kept && peer->out.used == 0 && !more)
		return -ENOTCONN;
	*ret_events = 0;
	if (peer->out.used <= CRAM_QUEUE_MAX && !peer->ended && !more)
		*ret_events |= POLLIN;
	/* There is room to write, mostly: so the next request has its turn at once. */
	if (peer->out.used > 0 || more)
		*ret_events |= POLLOUT;
	return 0;
}
