/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The Varlink wire (NUL-terminated JSON messages over a stream socket): framing, message checks,
 * server-side dispatch with a bounded queue, and a blocking client. The methods and their messages
 * are in docs/reference/protocol.md and model.h; the server's event loop and handlers are the
 * daemon's.
 */
#pragma once

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/bytes.h"
#include "util/error.h"

#define CRAM_PROTOCOL_VERSION 1
#define CRAM_IFACE_CONTROL    "org.cramd.Control"
#define CRAM_IFACE_STATUS     "org.cramd.Status"

#define CRAM_REQUEST_MAX (64U << 10) /* bytes of one request; more closes the connection */
/* The same on the control socket: a domain's XML may be in it, with every character escaped. */
#define CRAM_CONTROL_MAX ((8U << 20) + CRAM_REQUEST_MAX)
#define CRAM_REPLY_MAX	 (64U << 20) /* bytes of one reply a client accepts */
#define CRAM_QUEUE_MAX	 (4U << 20)  /* bytes queued for a client before events are dropped */

#define CRAM_ERR_VM_NOT_FOUND	 "org.cramd.VmNotFound"			 /* {vm} */
#define CRAM_ERR_VM_AMBIGUOUS	 "org.cramd.VmAmbiguous"		 /* {vm} */
#define CRAM_ERR_INVALID_SETTING "org.cramd.InvalidSetting"		 /* {message} */
#define CRAM_ERR_REFUSED	 "org.cramd.Refused"			 /* {message} */
#define CRAM_ERR_CONFIG_INVALID	 "org.cramd.ConfigInvalid"		 /* {message} */
#define CRAM_ERR_INTERNAL	 "org.cramd.Internal"			 /* {message} */
#define CRAM_ERR_VERSION	 "org.cramd.VersionMismatch"		 /* {supported} */
#define CRAM_ERR_NO_METHOD	 "org.varlink.service.MethodNotFound"	 /* {method} */
#define CRAM_ERR_NO_INTERFACE	 "org.varlink.service.InterfaceNotFound" /* {interface} */
#define CRAM_ERR_PARAMETER	 "org.varlink.service.InvalidParameter"	 /* {parameter} */
#define CRAM_ERR_EXPECTED_MORE	 "org.varlink.service.ExpectedMore"

/* ------------------------------------------------------------------ framing */

/* Bytes of a stream, cut into messages. Zero-initialised with @max set. */
struct cram_frames {
	struct cram_bytes bytes;
	size_t scanned; /* bytes from the first on known to hold no NUL */
	size_t max;	/* longest message accepted */
};

/* Append @n bytes. 0, -ENOMEM, or -EMSGSIZE when an unfinished message exceeds max. */
int cram_frames_add(struct cram_frames *f, const char *data, size_t n);
/*
 * Next complete message. 1 and *ret_msg (NUL-terminated, valid until the next call on @f), 0: none
 * complete, -EMSGSIZE: too long.
 */
int cram_frames_next(struct cram_frames *f, const char **ret_msg, size_t *ret_size);
/* Is there one? */
bool cram_frames_any(const struct cram_frames *f);
void cram_frames_free(struct cram_frames *f);

/*
 * Parse one message: UTF-8, depth <= 32, an object, nothing after it. -EBADMSG otherwise.
 * *ret is owned by the caller (json_object_put).
 */
int cram_json_parse(const char *text, size_t size, struct json_object **ret);

/* ------------------------------------------------------------------ server */

struct cram_peer; /* one connected client, one socket's interface */
struct cram_call; /* one request being answered */

/*
 * Answer with cram_call_reply() or cram_call_error(), exactly once unless the call was kept.
 * Returning a negative errno without having answered answers org.cramd.Internal with @err.
 */
typedef int cram_handler(struct cram_call *call, struct json_object *parameters, void *userdata,
			 struct cram_error *err);

struct cram_method {
	const char *name; /* "GetStatus", without the interface */
	bool needs_more;  /* a stream: refused without "more" */
	cram_handler *handler;
};

struct cram_service {
	const char *interface;		   /* CRAM_IFACE_CONTROL or CRAM_IFACE_STATUS */
	const struct cram_method *methods; /* ends with a row whose name is NULL */
	void *userdata;			   /* for the handlers */
	size_t request_max;		   /* 0: CRAM_REQUEST_MAX */
};

/*
 * Hello, org.varlink.service.GetInfo and GetInterfaceDescription are answered here; everything
 * else goes to the service's table. @service must outlive the peer. 0 or -ENOMEM.
 */
int cram_peer_new(const struct cram_service *service, struct cram_peer **ret);
/* Also ends calls that were kept: their cram_call pointers become invalid. */
void cram_peer_free(struct cram_peer *peer);
/* Untouched by this library: what the daemon wants to remember about the client. */
void cram_peer_set_userdata(struct cram_peer *peer, void *userdata);
void *cram_peer_userdata(const struct cram_peer *peer);

/*
 * Bytes arrived: every complete request is dispatched, in order. 0, or a negative errno: malformed
 * or too long; one error reply may be queued, then the connection must be closed (write what
 * cram_peer_output() holds if the socket takes it, do not wait for it).
 */
int cram_peer_input(struct cram_peer *peer, const char *data, size_t n);
/* What waits to be written; *ret_n 0: nothing. */
const char *cram_peer_output(const struct cram_peer *peer, size_t *ret_n);
void cram_peer_consume(struct cram_peer *peer, size_t n);

/*
 * The same with the reads and writes done here, for a non-blocking @fd: @revents are poll(2)
 * events. One request is dispatched at most, however many have come: others have their turn first.
 * *ret_events: what to poll for next. 0, or a negative errno: close (-ENOTCONN: the peer has gone,
 * nothing wrong).
 */
int cram_peer_io(struct cram_peer *peer, int fd, short revents, short *ret_events);

/* @parameters is consumed; NULL: an empty object. -EALREADY: answered before (a bug). */
int cram_call_reply(struct cram_call *call, struct json_object *parameters);
int cram_call_error(struct cram_call *call, const char *error, struct json_object *parameters);
/* The error with {"message": text of @err}. */
int cram_call_fail(struct cram_call *call, const char *error, const struct cram_error *err);
struct cram_peer *cram_call_peer(const struct cram_call *call);
const char *cram_call_method(const struct cram_call *call);

/*
 * Streams. In the handler of a needs_more method: keep the call, answer later as often as wanted.
 * The call lives until cram_call_reply()/error() or until its peer is freed.
 */
void cram_call_keep(struct cram_call *call);
/*
 * One continued reply; @parameters is consumed. Never blocks: when the client's queue is full the
 * event is dropped and counted, and the next one that fits carries "lost": N. 0, or 1 if dropped.
 */
int cram_call_notify(struct cram_call *call, struct json_object *parameters);

/* ------------------------------------------------------------------ parameters */

/*
 * Typed access to a request's parameters. Missing: -ENOENT. Wrong type or range: -EINVAL, and
 * @err says so. Text is borrowed from @parameters.
 */
int cram_param_text(struct json_object *parameters, const char *key, const char **ret,
		    struct cram_error *err);
int cram_param_bool(struct json_object *parameters, const char *key, bool *ret,
		    struct cram_error *err);
int cram_param_u64(struct json_object *parameters, const char *key, uint64_t *ret,
		   struct cram_error *err);
/* A key outside the NULL-terminated @allowed list: -EINVAL. Every handler calls it first. */
int cram_params_only(struct json_object *parameters, const char *const *allowed,
		     struct cram_error *err);

/* ------------------------------------------------------------------ client */

struct cram_client; /* blocking, one call at a time */

/*
 * Connect to @path and shake hands (Hello). @timeout_ms bounds connecting and every later wait;
 * -1: forever. -ENOENT, -ECONNREFUSED: agent not running; -EACCES: not in the socket's group;
 * -EPROTO: not this protocol; -ETIMEDOUT.
 */
int cram_client_connect(const char *path, const char *interface, int timeout_ms,
			struct cram_client **ret, struct cram_error *err);
void cram_client_free(struct cram_client *client);

/*
 * Call @method ("GetStatus") and wait for its reply. @parameters is consumed, may be NULL.
 * *ret_reply: the reply's parameters, owned by the caller. -EREMOTEIO: the agent answered with an
 * error; *ret_error (borrowed until the next call, may be NULL) is its name, @err its message.
 */
int cram_client_call(struct cram_client *client, const char *method, struct json_object *parameters,
		     struct json_object **ret_reply, const char **ret_error,
		     struct cram_error *err);

/* Says what wants no answer and waits for nothing, be it lost. The last thing @client is used for.
 */
void cram_client_tell(struct cram_client *client, const char *method);

/* Start a stream; then cram_client_next() until it returns 0 (ended) or negative. */
int cram_client_call_more(struct cram_client *client, const char *method,
			  struct json_object *parameters, struct cram_error *err);
/* 1: *ret_reply, owned by the caller; 0: that was the last one and *ret_reply holds it. */
int cram_client_next(struct cram_client *client, struct json_object **ret_reply,
		     const char **ret_error, struct cram_error *err);
