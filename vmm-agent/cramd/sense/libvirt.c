// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * libvirt's threads; see libvirt.h.
 *
 * Every known domain has an entry. An event, or what has changed since the loop's last refresh
 * (one call for all), marks it wanted; a worker takes
 * a wanted entry that no other worker holds, asks, and queues the answer. So there is one call in
 * flight per domain, however many events arrive meanwhile, and a domain that hangs holds one
 * worker.
 */
#include "libvirt.h"

#include <errno.h>
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>

#include "sysroot.h"
#include "util/array.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/file.h"
#include "util/utf8.h"

/* libvirtd is declared dead after this many unanswered probes this far apart, seconds. */
#define KEEPALIVE_INTERVAL 5
#define KEEPALIVE_COUNT	   3

#define RECONNECT_MIN_MS 500
#define RECONNECT_MAX_MS 10000

/* Where nothing has changed a domain is asked this often. */
#define ASK_MS 60000

/* The event loop wakes up at least this often to see whether it should end. */
#define TICK_MS 500

/* Threads are waited for so long at the end. */
#define STOP_MS 2000

/* Kinds of events that are wanted. */
#define SUBSCRIPTIONS 7

struct entry {
	char uuid[VIR_UUID_STRING_BUFLEN];
	bool wanted, in_flight;
	bool busy, listed;
	bool told;	   /* the loop has had an answer */
	int state, reason; /* as the last refresh found them */
	uint64_t asked_ms; /* 0: never */
};

struct libvirt {
	char uri[128], pid_dir[256];
	const struct cram_log *log;
	int eventfd;
	_Atomic bool stopping, connected;
	_Atomic uint64_t stale;

	pthread_mutex_t lock;
	pthread_cond_t wake;
	virConnectPtr conn; /* NULL: not connected */
	bool refresh_wanted, refreshing, refresh_failed, closed;
	bool listed; /* a refresh has succeeded */
	CRAM_ARRAY(struct entry) entries;
	CRAM_ARRAY(struct libvirt_domain *) answers; /* oldest first */
	int n_ended, n_threads;
	int ids[SUBSCRIPTIONS]; /* of the subscriptions, -1: none; of the thread of events alone */
	pthread_t events, workers[LIBVIRT_WORKERS];
	size_t n_workers;
};

/* Lock held. */
static struct entry *find(struct libvirt *l, const char *uuid)
{
	for (size_t i = 0; i < l->entries.n; i++)
		if (!strcmp(l->entries.v[i].uuid, uuid))
			return &l->entries.v[i];
	return NULL;
}

/* Marks @uuid wanted; makes an entry when there is none. NULL: no memory. Lock held. */
static struct entry *want(struct libvirt *l, const char *uuid)
{
	struct entry *entry = find(l, uuid);

	if (!entry) {
		struct entry fresh = {};

		snprintf(fresh.uuid, sizeof(fresh.uuid), "%s", uuid);
		if (array_push(&l->entries, fresh) < 0)
			return NULL;
		entry = &l->entries.v[l->entries.n - 1];
	}
	entry->wanted = true;
	pthread_cond_signal(&l->wake);
	return entry;
}

static void want_domain(struct libvirt *l, virDomainPtr domain)
{
	char uuid[VIR_UUID_STRING_BUFLEN];

	if (virDomainGetUUIDString(domain, uuid) < 0)
		return;
	pthread_mutex_lock(&l->lock);
	want(l, uuid);
	pthread_mutex_unlock(&l->lock);
}

/* ------------------------------------------------------------------ events */

/* Every event means the same: read the domain again. What it carried may be old by then. */
static int on_lifecycle(virConnectPtr conn, virDomainPtr domain, int event, int detail,
			void *opaque)
{
	(void)conn;
	(void)event;
	(void)detail;
	want_domain(opaque, domain);
	return 0;
}

static void on_plain(virConnectPtr conn, virDomainPtr domain, void *opaque)
{
	(void)conn;
	want_domain(opaque, domain);
}

static void on_metadata(virConnectPtr conn, virDomainPtr domain, int type, const char *uri,
			void *opaque)
{
	(void)conn;
	(void)type;
	(void)uri;
	want_domain(opaque, domain);
}

static void on_device(virConnectPtr conn, virDomainPtr domain, const char *alias, void *opaque)
{
	(void)conn;
	(void)alias;
	want_domain(opaque, domain);
}

static void on_iteration(virConnectPtr conn, virDomainPtr domain, int iteration, void *opaque)
{
	(void)conn;
	(void)iteration;
	want_domain(opaque, domain);
}

static void on_job(virConnectPtr conn, virDomainPtr domain, virTypedParameterPtr params, int n,
		   void *opaque)
{
	(void)conn;
	(void)params;
	(void)n;
	want_domain(opaque, domain);
}

static void on_close(virConnectPtr conn, int reason, void *opaque)
{
	struct libvirt *l = opaque;

	(void)conn;
	(void)reason;
	pthread_mutex_lock(&l->lock);
	l->closed = true;
	pthread_mutex_unlock(&l->lock);
}

static void on_tick(int timer, void *opaque)
{
	(void)timer;
	(void)opaque;
}

static void quiet(void *userdata, virErrorPtr error)
{
	(void)userdata;
	(void)error;
}

/* Is that why the last call failed? */
static bool is_unsupported(void)
{
	const virError *error = virGetLastError();

	return error && error->code == VIR_ERR_NO_SUPPORT;
}

static const struct {
	int id;
	virConnectDomainEventGenericCallback callback;
} subscriptions[SUBSCRIPTIONS] = {
	{ VIR_DOMAIN_EVENT_ID_LIFECYCLE, VIR_DOMAIN_EVENT_CALLBACK(on_lifecycle) },
	{ VIR_DOMAIN_EVENT_ID_REBOOT, VIR_DOMAIN_EVENT_CALLBACK(on_plain) },
	{ VIR_DOMAIN_EVENT_ID_METADATA_CHANGE, VIR_DOMAIN_EVENT_CALLBACK(on_metadata) },
	{ VIR_DOMAIN_EVENT_ID_DEVICE_ADDED, VIR_DOMAIN_EVENT_CALLBACK(on_device) },
	{ VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED, VIR_DOMAIN_EVENT_CALLBACK(on_device) },
	{ VIR_DOMAIN_EVENT_ID_MIGRATION_ITERATION, VIR_DOMAIN_EVENT_CALLBACK(on_iteration) },
	{ VIR_DOMAIN_EVENT_ID_JOB_COMPLETED, VIR_DOMAIN_EVENT_CALLBACK(on_job) },
};

static int subscribe(struct libvirt *l, virConnectPtr conn)
{
	memset(l->ids, -1, sizeof(l->ids));
	if (virConnectRegisterCloseCallback(conn, on_close, l, NULL) < 0)
		return -EIO;
	/*
	 * Without probes a libvirtd that hangs would hold this thread, and every worker, for good.
	 * Drivers that need no daemon have none.
	 */
	if (virConnectSetKeepAlive(conn, KEEPALIVE_INTERVAL, KEEPALIVE_COUNT) < 0 &&
	    !is_unsupported())
		return -EIO;
	for (size_t i = 0; i < SUBSCRIPTIONS; i++) {
		l->ids[i] = virConnectDomainEventRegisterAny(conn, NULL, subscriptions[i].id,
							     subscriptions[i].callback, l, NULL);
		if (l->ids[i] < 0)
			return -EIO;
	}
	return 0;
}

/* Each subscription has a reference to @conn: with one left it would never go, nor be silent. */
static void unsubscribe(struct libvirt *l, virConnectPtr conn)
{
	for (size_t i = 0; i < SUBSCRIPTIONS; i++)
		if (l->ids[i] >= 0)
			virConnectDomainEventDeregisterAny(conn, l->ids[i]);
	virConnectUnregisterCloseCallback(conn, on_close);
}

static int connect_once(struct libvirt *l)
{
	virConnectPtr conn;
	int r;

	/* Here, and not later: it may be closed as soon as it is open, and is told once. */
	pthread_mutex_lock(&l->lock);
	l->closed = false;
	pthread_mutex_unlock(&l->lock);
	conn = virConnectOpenReadOnly(l->uri);
	if (!conn)
		return -ECONNREFUSED;
	r = subscribe(l, conn);
	if (r < 0) {
		unsubscribe(l, conn);
		virConnectClose(conn);
		return r;
	}
	pthread_mutex_lock(&l->lock);
	l->conn = conn;
	/* Nobody has told what changed meanwhile. */
	for (size_t i = 0; i < l->entries.n; i++)
		l->entries.v[i].wanted = true;
	l->refresh_wanted = true;
	pthread_cond_broadcast(&l->wake);
	pthread_mutex_unlock(&l->lock);
	atomic_store(&l->connected, true);
	cram_log_info(l->log, "connected to libvirt at %s", l->uri);
	return 0;
}

static void disconnect(struct libvirt *l)
{
	virConnectPtr conn;

	pthread_mutex_lock(&l->lock);
	conn = l->conn;
	l->conn = NULL;
	pthread_mutex_unlock(&l->lock);
	atomic_store(&l->connected, false);
	if (conn) {
		unsubscribe(l, conn);
		virConnectClose(conn);
	}
}

static void *event_thread(void *arg)
{
	struct libvirt *l = arg;
	uint32_t wait_ms = RECONNECT_MIN_MS;
	uint64_t next_try = 0;
	bool said = false;

	virSetErrorFunc(NULL, quiet);
	while (!atomic_load(&l->stopping)) {
		bool closed;

		if (!atomic_load(&l->connected) && monotonic_ms() >= next_try) {
			if (connect_once(l) < 0) {
				if (!said)
					cram_log_warn(l->log,
						      "cannot reach libvirt at %s; trying again",
						      l->uri);
				said = true;
				next_try = monotonic_ms() + wait_ms;
				wait_ms = wait_ms * 2 > RECONNECT_MAX_MS ? RECONNECT_MAX_MS
									 : wait_ms * 2;
			} else {
				wait_ms = RECONNECT_MIN_MS;
				said = false;
			}
		}
		virEventRunDefaultImpl();
		pthread_mutex_lock(&l->lock);
		closed = l->closed;
		l->closed = false;
		pthread_mutex_unlock(&l->lock);
		if (closed) {
			cram_log_warn(l->log, "libvirt closed the connection; trying again");
			disconnect(l);
		}
	}
	disconnect(l);
	pthread_mutex_lock(&l->lock);
	l->n_ended++;
	pthread_cond_broadcast(&l->wake);
	pthread_mutex_unlock(&l->lock);
	return NULL;
}

/* ------------------------------------------------------------------ calls */

/* A domain as the one call for all of them says it is. Lock held. */
static void refresh_entry(struct libvirt *l, const char *uuid, int state, int reason)
{
	struct entry *entry = find(l, uuid);

	/* Jobs are not all announced: a domain with one is asked until it ends, others now and
	 * then. */
	if (!entry || !entry->asked_ms || entry->state != state || entry->reason != reason ||
	    entry->busy || monotonic_ms() - entry->asked_ms >= ASK_MS)
		entry = want(l, uuid);
	if (!entry)
		return;
	entry->listed = true;
	entry->state = state;
	entry->reason = reason;
}

static int refresh_by_stats(struct libvirt *l, virConnectPtr conn)
{
	virDomainStatsRecordPtr *records = NULL;
	int n = virConnectGetAllDomainStats(conn, VIR_DOMAIN_STATS_STATE, &records,
					    VIR_CONNECT_GET_ALL_DOMAINS_STATS_ACTIVE |
						    VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT);

	if (n < 0)
		return -EIO;
	pthread_mutex_lock(&l->lock);
	for (int i = 0; i < n; i++) {
		char uuid[VIR_UUID_STRING_BUFLEN];
		int state = -1, reason = -1;

		virTypedParamsGetInt(records[i]->params, records[i]->nparams, "state.state",
				     &state);
		virTypedParamsGetInt(records[i]->params, records[i]->nparams, "state.reason",
				     &reason);
		if (virDomainGetUUIDString(records[i]->dom, uuid) == 0)
			refresh_entry(l, uuid, state, reason);
	}
	pthread_mutex_unlock(&l->lock);
	virDomainStatsRecordListFree(records);
	return 0;
}

/* Drivers that have no such call. */
static int refresh_by_list(struct libvirt *l, virConnectPtr conn)
{
	virDomainPtr *domains = NULL;
	int n = virConnectListAllDomains(conn, &domains, VIR_CONNECT_LIST_DOMAINS_ACTIVE);

	if (n < 0)
		return -EIO;
	for (int i = 0; i < n; i++) {
		char uuid[VIR_UUID_STRING_BUFLEN];
		struct entry *entry;

		pthread_mutex_lock(&l->lock);
		if (virDomainGetUUIDString(domains[i], uuid) == 0) {
			entry = want(l, uuid);
			if (entry)
				entry->listed = true;
		}
		pthread_mutex_unlock(&l->lock);
		virDomainFree(domains[i]);
	}
	free(domains);
	return 0;
}

/* One call for all domains: which there are, and what has changed about them. */
static void refresh(struct libvirt *l, virConnectPtr conn)
{
	int r;

	pthread_mutex_lock(&l->lock);
	for (size_t i = 0; i < l->entries.n; i++)
		l->entries.v[i].listed = false;
	pthread_mutex_unlock(&l->lock);
	r = refresh_by_stats(l, conn);
	if (r < 0 && is_unsupported())
		r = refresh_by_list(l, conn);
	pthread_mutex_lock(&l->lock);
	l->refreshing = false;
	/* What is not listed has ended, most likely: asked once, and forgotten when that says so.
	 */
	for (size_t i = 0; r == 0 && i < l->entries.n; i++)
		l->entries.v[i].wanted |= !l->entries.v[i].listed;
	if (r < 0 && !l->refresh_failed)
		cram_log_warn(l->log, "libvirt does not list its domains; asked again");
	l->refresh_failed = r < 0;
	if (r == 0 && !l->listed) {
		l->listed = true;
		/* That nothing runs has no answer to come with. */
		eventfd_write(l->eventfd, 1);
	}
	pthread_cond_broadcast(&l->wake);
	pthread_mutex_unlock(&l->lock);
}

static const char *escape(char c)
{
	switch (c) {
	case '&':
		return "&amp;";
	case '<':
		return "&lt;";
	case '>':
		return "&gt;";
	case '"':
		return "&quot;";
	case '\'':
		return "&apos;";
	default:
		return NULL;
	}
}

/* libvirt writes a name into the file's as into XML. False: no file has a name of that length. */
static bool pid_file(const struct libvirt *l, const char *name, char *path, size_t size)
{
	size_t n = (size_t)snprintf(path, size, "%s/", l->pid_dir);

	for (; *name && n < size; name++) {
		const char *escaped = escape(*name);

		n += escaped ? (size_t)snprintf(path + n, size - n, "%s", escaped)
			     : (size_t)snprintf(path + n, size - n, "%c", *name);
	}
	return n < size && n + (size_t)snprintf(path + n, size - n, ".pid") < size;
}

static pid_t read_pid(const struct libvirt *l, const char *name)
{
	cleanup_free char *text = NULL;
	char path[640];
	const char *p;
	uint64_t pid;
	size_t size;

	if (!pid_file(l, name, path, sizeof(path)))
		return 0;
	if (cram_file_read(path, 32, &text, &size) < 0)
		return 0;
	p = text;
	if (parse_u64(&p, 10, &pid) < 0 || pid > INT32_MAX)
		return 0;
	return (pid_t)pid;
}

/* Why the last call failed. -ENOENT: there is no such domain (any more); -EIO: no answer. */
static int call_failed(void)
{
	const virError *error = virGetLastError();

	return error && error->code == VIR_ERR_NO_DOMAIN ? -ENOENT : -EIO;
}

/*
 * Is QEMU itself reading all of the guest's memory now? A driver without jobs has none, and one
 * that finds the call invalid says that of a VM that is on its way in, or has just ended.
 */
static int ask_job(virDomainPtr domain, struct libvirt_domain *answer)
{
	virDomainJobInfo info = {};
	const virError *error;

	if (virDomainGetJobInfo(domain, &info) < 0) {
		error = virGetLastError();
		if (!error ||
		    (error->code != VIR_ERR_NO_SUPPORT && error->code != VIR_ERR_OPERATION_INVALID))
			return call_failed();
		info.type = VIR_DOMAIN_JOB_NONE;
	}
	answer->busy = info.type == VIR_DOMAIN_JOB_BOUNDED || info.type == VIR_DOMAIN_JOB_UNBOUNDED;
	return 0;
}

static int ask_xml(virDomainPtr domain, struct libvirt_domain *answer)
{
	cleanup_free char *xml = virDomainGetXMLDesc(domain, 0);
	struct cram_error err = {};
	int r;

	if (!xml)
		return call_failed();
	r = cram_domain_parse(xml, strlen(xml), &answer->domain, &err);
	if (r < 0) {
		char text[CRAM_ERROR_TEXT];

		cram_error_format(&err, text, sizeof(text));
		snprintf(answer->note, sizeof(answer->note), "%.*s", (int)sizeof(answer->note) - 1,
			 text);
	} else {
		memcpy(answer->note, answer->domain.warning, sizeof(answer->note));
	}
	answer->has_domain = r == 0 || r == -EDOM;
	return 0;
}

static int ask_domain(const struct libvirt *l, virDomainPtr domain, struct libvirt_domain *answer)
{
	int state, reason, r;

	utf8_copy(answer->name, sizeof(answer->name), virDomainGetName(domain),
		  strlen(virDomainGetName(domain)));
	if (virDomainGetState(domain, &state, &reason, 0) < 0)
		return call_failed();
	if (state == VIR_DOMAIN_SHUTOFF || state == VIR_DOMAIN_CRASHED)
		return -ENOENT;
	answer->incoming = state == VIR_DOMAIN_PAUSED && (reason == VIR_DOMAIN_PAUSED_MIGRATION ||
							  reason == VIR_DOMAIN_PAUSED_STARTING_UP);
	answer->pid = read_pid(l, answer->name);
	r = ask_job(domain, answer);
	return r < 0 ? r : ask_xml(domain, answer);
}

/*
 * 0: answered as a whole; -ENOENT: no such domain (any more); -EIO: libvirt did not answer, or not
 * all of it, and half an answer would undo what is known.
 */
static int ask(struct libvirt *l, virConnectPtr conn, const char *uuid,
	       struct libvirt_domain *answer)
{
	virDomainPtr domain = virDomainLookupByUUIDString(conn, uuid);
	int r;

	snprintf(answer->uuid, sizeof(answer->uuid), "%s", uuid);
	if (!domain)
		return call_failed();
	r = ask_domain(l, domain, answer);
	answer->running = r == 0;
	virDomainFree(domain);
	return r;
}

/* Lock held. */
static void drop_entry(struct libvirt *l, const char *uuid)
{
	for (size_t i = 0; i < l->entries.n; i++) {
		if (strcmp(l->entries.v[i].uuid, uuid) != 0)
			continue;
		l->entries.v[i] = l->entries.v[--l->entries.n];
		return;
	}
}

/* @answer NULL: there was no memory for one; the domain is asked with the next refresh. */
static void finish(struct libvirt *l, const char *uuid, int r, struct libvirt_domain *answer)
{
	struct entry *entry;

	pthread_mutex_lock(&l->lock);
	entry = find(l, uuid);
	if (entry) {
		entry->in_flight = false;
		if (r == 0) {
			/* Until it has a pid it is being started. */
			entry->busy = answer->busy || (answer->running && !answer->pid);
			entry->asked_ms = answer->asked_ms;
		} else if (r != -ENOENT) {
			/* What it was asked for was announced once: so with the next refresh. */
			entry->asked_ms = 0;
		}
		if (r == -ENOENT && !entry->wanted)
			drop_entry(l, uuid);
	}
	if (!answer || r == -EIO || array_push(&l->answers, answer) < 0) {
		free(answer);
	} else {
		/* Fails only when the counter is full, and then the loop is awake already. */
		eventfd_write(l->eventfd, 1);
	}
	pthread_mutex_unlock(&l->lock);
}

/* Takes a wanted entry. Lock held. */
static bool take(struct libvirt *l, char *uuid, uint64_t *ret_asked_ms)
{
	for (size_t i = 0; i < l->entries.n; i++) {
		struct entry *entry = &l->entries.v[i];

		if (!entry->wanted || entry->in_flight)
			continue;
		entry->wanted = false;
		entry->in_flight = true;
		memcpy(uuid, entry->uuid, sizeof(entry->uuid));
		*ret_asked_ms = monotonic_ms();
		return true;
	}
	return false;
}

static void *worker(void *arg)
{
	struct libvirt *l = arg;

	virSetErrorFunc(NULL, quiet);
	pthread_mutex_lock(&l->lock);
	while (!atomic_load(&l->stopping)) {
		char uuid[VIR_UUID_STRING_BUFLEN];
		struct libvirt_domain *answer;
		virConnectPtr conn = l->conn;
		uint64_t asked_ms;
		bool all = false;
		int r;

		if (!conn) {
			pthread_cond_wait(&l->wake, &l->lock);
			continue;
		}
		if (l->refresh_wanted && !l->refreshing) {
			l->refresh_wanted = false;
			l->refreshing = true;
			all = true;
		} else if (!take(l, uuid, &asked_ms)) {
			pthread_cond_wait(&l->wake, &l->lock);
			continue;
		}
		virConnectRef(conn);
		pthread_mutex_unlock(&l->lock);

		if (all) {
			refresh(l, conn);
		} else {
			answer = calloc(1, sizeof(*answer));
			r = -ENOMEM;
			if (answer) {
				answer->asked_ms = asked_ms;
				r = ask(l, conn, uuid, answer);
			}
			finish(l, uuid, r, answer);
		}
		virConnectClose(conn);
		pthread_mutex_lock(&l->lock);
	}
	l->n_ended++;
	pthread_cond_broadcast(&l->wake);
	pthread_mutex_unlock(&l->lock);
	return NULL;
}

/* ------------------------------------------------------------------ the loop's side */

static void destroy(struct libvirt *l)
{
	for (size_t i = 0; i < l->answers.n; i++)
		free(l->answers.v[i]);
	array_free(&l->answers);
	array_free(&l->entries);
	if (l->eventfd >= 0)
		close(l->eventfd);
	pthread_cond_destroy(&l->wake);
	pthread_mutex_destroy(&l->lock);
	free(l);
}

int libvirt_start(const char *uri, const char *pid_dir, const struct cram_log *log,
		  struct libvirt **ret_libvirt)
{
	struct libvirt *l = calloc(1, sizeof(*l));
	int r;

	if (!l)
		return -ENOMEM;
	l->log = log;
	snprintf(l->uri, sizeof(l->uri), "%s", uri);
	snprintf(l->pid_dir, sizeof(l->pid_dir), "%s", pid_dir);
	pthread_mutex_init(&l->lock, NULL);
	monotonic_cond_init(&l->wake);
	l->eventfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (l->eventfd < 0) {
		r = -errno;
	} else if (virInitialize() < 0 || virEventRegisterDefaultImpl() < 0 ||
		   virEventAddTimeout(TICK_MS, on_tick, NULL, NULL) < 0) {
		r = -EIO;
	} else {
		r = -pthread_create(&l->events, NULL, event_thread, l);
		l->n_threads = r == 0;
	}
	if (r < 0) {
		destroy(l);
		return r;
	}
	while (l->n_workers < LIBVIRT_WORKERS) {
		r = -pthread_create(&l->workers[l->n_workers], NULL, worker, l);
		if (r < 0)
			break;
		l->n_workers++;
		l->n_threads++;
	}
	/* Fewer do; with none nobody would ever ask. */
	if (!l->n_workers) {
		libvirt_stop(l);
		return r;
	}
	*ret_libvirt = l;
	return 0;
}

bool libvirt_stop(struct libvirt *l)
{
	struct timespec until = monotonic_after(STOP_MS);
	bool all;

	atomic_store(&l->stopping, true);
	pthread_mutex_lock(&l->lock);
	pthread_cond_broadcast(&l->wake);
	while (l->n_ended < l->n_threads && pthread_cond_timedwait(&l->wake, &l->lock, &until) == 0)
		;
	all = l->n_ended == l->n_threads;
	pthread_mutex_unlock(&l->lock);
	if (!all)
		return false;
	pthread_join(l->events, NULL);
	for (size_t i = 0; i < l->n_workers; i++)
		pthread_join(l->workers[i], NULL);
	destroy(l);
	return true;
}

int libvirt_fd(const struct libvirt *l)
{
	return l->eventfd;
}

bool libvirt_connected(const struct libvirt *l)
{
	return atomic_load(&l->connected);
}

uint64_t libvirt_stale(const struct libvirt *l)
{
	return atomic_load(&l->stale);
}

int libvirt_next(struct libvirt *l, struct libvirt_domain *ret_domain)
{
	struct entry *entry;
	uint64_t count;
	int found = 0;

	if (read(l->eventfd, &count, sizeof(count)) < 0 && errno != EAGAIN)
		return -errno;
	pthread_mutex_lock(&l->lock);
	while (l->answers.n && !found) {
		struct libvirt_domain *answer = l->answers.v[0];

		l->answers.n--;
		memmove(l->answers.v, l->answers.v + 1, l->answers.n * sizeof(answer));
		if (monotonic_ms() - answer->asked_ms > LIBVIRT_STALE_MS) {
			atomic_fetch_add(&l->stale, 1);
			want(l, answer->uuid);
		} else {
			*ret_domain = *answer;
			found = 1;
			entry = find(l, answer->uuid);
			if (entry)
				entry->told = true;
		}
		free(answer);
	}
	pthread_mutex_unlock(&l->lock);
	return found;
}

bool libvirt_told_all(struct libvirt *l)
{
	bool all;

	pthread_mutex_lock(&l->lock);
	all = l->listed;
	for (size_t i = 0; i < l->entries.n; i++)
		all &= l->entries.v[i].told;
	pthread_mutex_unlock(&l->lock);
	return all;
}

void libvirt_refresh(struct libvirt *l)
{
	pthread_mutex_lock(&l->lock);
	l->refresh_wanted = true;
	pthread_cond_broadcast(&l->wake);
	pthread_mutex_unlock(&l->lock);
}
