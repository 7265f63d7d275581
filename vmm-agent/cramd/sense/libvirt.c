// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * libvirt's threads; see libvirt.h.
 *
 * Every known domain has an entry. An event, or the loop's refresh, marks it wanted; a worker takes
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
#include "util/file.h"

/* libvirtd is declared dead after this many unanswered probes this far apart, seconds. */
#define KEEPALIVE_INTERVAL 5
#define KEEPALIVE_COUNT	   3

#define RECONNECT_MIN_MS 500
#define RECONNECT_MAX_MS 10000

/* The event loop wakes up at least this often to see whether it should end. */
#define TICK_MS 500

struct entry {
	char uuid[VIR_UUID_STRING_BUFLEN];
	bool wanted, in_flight;
	uint64_t asked_ms;
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
	bool list_wanted, closed;
	CRAM_ARRAY(struct entry) entries;
	CRAM_ARRAY(struct libvirt_domain *) answers; /* oldest first */
	int idle_threads, n_threads;
	pthread_t events, workers[LIBVIRT_WORKERS];
	size_t n_workers;
};

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* Marks @uuid wanted; makes an entry when there is none. Lock held. */
static void want(struct libvirt *l, const char *uuid)
{
	struct entry *entry = NULL;

	for (size_t i = 0; i < l->entries.n && !entry; i++)
		if (!strcmp(l->entries.v[i].uuid, uuid))
			entry = &l->entries.v[i];
	if (!entry) {
		struct entry fresh = {};

		snprintf(fresh.uuid, sizeof(fresh.uuid), "%s", uuid);
		if (array_push(&l->entries, fresh) < 0)
			return;
		entry = &l->entries.v[l->entries.n - 1];
	}
	entry->wanted = true;
	pthread_cond_signal(&l->wake);
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

static int subscribe(struct libvirt *l, virConnectPtr conn)
{
	static const struct {
		int id;
		virConnectDomainEventGenericCallback callback;
	} events[] = {
		{ VIR_DOMAIN_EVENT_ID_LIFECYCLE, VIR_DOMAIN_EVENT_CALLBACK(on_lifecycle) },
		{ VIR_DOMAIN_EVENT_ID_REBOOT, VIR_DOMAIN_EVENT_CALLBACK(on_plain) },
		{ VIR_DOMAIN_EVENT_ID_METADATA_CHANGE, VIR_DOMAIN_EVENT_CALLBACK(on_metadata) },
		{ VIR_DOMAIN_EVENT_ID_DEVICE_ADDED, VIR_DOMAIN_EVENT_CALLBACK(on_device) },
		{ VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED, VIR_DOMAIN_EVENT_CALLBACK(on_device) },
		{ VIR_DOMAIN_EVENT_ID_MIGRATION_ITERATION,
		  VIR_DOMAIN_EVENT_CALLBACK(on_iteration) },
		{ VIR_DOMAIN_EVENT_ID_JOB_COMPLETED, VIR_DOMAIN_EVENT_CALLBACK(on_job) },
	};

	if (virConnectRegisterCloseCallback(conn, on_close, l, NULL) < 0)
		return -EIO;
	for (size_t i = 0; i < ARRAY_SIZE(events); i++)
		if (virConnectDomainEventRegisterAny(conn, NULL, events[i].id, events[i].callback,
						     l, NULL) < 0)
			return -EIO;
	/* Without probes a libvirtd that hangs would hold every worker for good. */
	if (virConnectSetKeepAlive(conn, KEEPALIVE_INTERVAL, KEEPALIVE_COUNT) < 0)
		return -EIO;
	return 0;
}

static int connect_once(struct libvirt *l)
{
	virConnectPtr conn = virConnectOpenReadOnly(l->uri);
	int r;

	if (!conn)
		return -ECONNREFUSED;
	r = subscribe(l, conn);
	if (r < 0) {
		virConnectClose(conn);
		return r;
	}
	pthread_mutex_lock(&l->lock);
	l->conn = conn;
	l->closed = false;
	l->list_wanted = true;
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
		virConnectUnregisterCloseCallback(conn, on_close);
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

		if (!atomic_load(&l->connected) && now_ms() >= next_try) {
			if (connect_once(l) < 0) {
				if (!said)
					cram_log_warn(l->log,
						      "cannot reach libvirt at %s; trying again",
						      l->uri);
				said = true;
				next_try = now_ms() + wait_ms;
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
	l->idle_threads++;
	pthread_cond_broadcast(&l->wake);
	pthread_mutex_unlock(&l->lock);
	return NULL;
}

/* ------------------------------------------------------------------ calls */

static void list_domains(struct libvirt *l, virConnectPtr conn)
{
	virDomainPtr *domains = NULL;
	int n = virConnectListAllDomains(conn, &domains, VIR_CONNECT_LIST_DOMAINS_ACTIVE);

	for (int i = 0; i < n; i++) {
		want_domain(l, domains[i]);
		virDomainFree(domains[i]);
	}
	free(domains);
}

static pid_t read_pid(const struct libvirt *l, const char *name)
{
	cleanup_free char *text = NULL;
	char path[640];
	const char *p;
	uint64_t pid;
	size_t size;

	if ((size_t)snprintf(path, sizeof(path), "%s/%s.pid", l->pid_dir, name) >= sizeof(path))
		return 0;
	if (cram_file_read(path, 32, &text, &size) < 0)
		return 0;
	p = text;
	if (parse_u64(&p, 10, &pid) < 0 || pid > INT32_MAX)
		return 0;
	return (pid_t)pid;
}

/* Is QEMU itself reading all of the guest's memory now? */
static bool is_busy(virDomainPtr domain)
{
	virDomainJobInfo info = {};

	if (virDomainGetJobInfo(domain, &info) < 0)
		return false;
	return info.type == VIR_DOMAIN_JOB_BOUNDED || info.type == VIR_DOMAIN_JOB_UNBOUNDED;
}

static void fill_xml(virDomainPtr domain, struct libvirt_domain *answer)
{
	cleanup_free char *xml = virDomainGetXMLDesc(domain, 0);
	struct cram_error err = {};
	int r;

	if (!xml)
		return;
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
}

/* 0: answered; -ENOENT: no such domain (any more); -EIO: libvirt did not answer. */
static int ask(struct libvirt *l, virConnectPtr conn, const char *uuid,
	       struct libvirt_domain *answer)
{
	virDomainPtr domain = virDomainLookupByUUIDString(conn, uuid);
	int state, reason;

	snprintf(answer->uuid, sizeof(answer->uuid), "%s", uuid);
	if (!domain) {
		virErrorPtr error = virGetLastError();

		return error && error->code == VIR_ERR_NO_DOMAIN ? -ENOENT : -EIO;
	}
	snprintf(answer->name, sizeof(answer->name), "%s", virDomainGetName(domain));
	if (virDomainGetState(domain, &state, &reason, 0) < 0) {
		virDomainFree(domain);
		return -EIO;
	}
	answer->running = state != VIR_DOMAIN_SHUTOFF && state != VIR_DOMAIN_CRASHED;
	if (answer->running) {
		answer->incoming =
			state == VIR_DOMAIN_PAUSED && (reason == VIR_DOMAIN_PAUSED_MIGRATION ||
						       reason == VIR_DOMAIN_PAUSED_STARTING_UP);
		answer->busy = is_busy(domain);
		answer->pid = read_pid(l, answer->name);
		fill_xml(domain, answer);
	}
	virDomainFree(domain);
	return answer->running ? 0 : -ENOENT;
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

static void finish(struct libvirt *l, const char *uuid, int r, struct libvirt_domain *answer)
{
	uint64_t one = 1;

	answer->answered_ms = now_ms();
	pthread_mutex_lock(&l->lock);
	for (size_t i = 0; i < l->entries.n; i++) {
		struct entry *entry = &l->entries.v[i];

		if (strcmp(entry->uuid, uuid) != 0)
			continue;
		entry->in_flight = false;
		if (r == -ENOENT && !entry->wanted)
			drop_entry(l, uuid);
		break;
	}
	if (r == -EIO || array_push(&l->answers, answer) < 0) {
		free(answer);
	} else if (write(l->eventfd, &one, sizeof(one)) < 0) {
		/* Only when the counter is full, and then the loop is awake already. */
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
		*ret_asked_ms = now_ms();
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
		bool list = false;
		int r;

		if (!conn) {
			pthread_cond_wait(&l->wake, &l->lock);
			continue;
		}
		if (l->list_wanted) {
			l->list_wanted = false;
			list = true;
		} else if (!take(l, uuid, &asked_ms)) {
			pthread_cond_wait(&l->wake, &l->lock);
			continue;
		}
		virConnectRef(conn);
		pthread_mutex_unlock(&l->lock);

		if (list) {
			list_domains(l, conn);
		} else {
			answer = calloc(1, sizeof(*answer));
			if (answer) {
				answer->asked_ms = asked_ms;
				r = ask(l, conn, uuid, answer);
				finish(l, uuid, r, answer);
			}
		}
		virConnectClose(conn);
		pthread_mutex_lock(&l->lock);
	}
	l->idle_threads++;
	pthread_cond_broadcast(&l->wake);
	pthread_mutex_unlock(&l->lock);
	return NULL;
}

/* ------------------------------------------------------------------ the loop's side */

int libvirt_start(const char *uri, const char *pid_dir, const struct cram_log *log,
		  struct libvirt **ret_libvirt)
{
	struct libvirt *l = calloc(1, sizeof(*l));
	int r = 0;

	if (!l)
		return -ENOMEM;
	l->log = log;
	snprintf(l->uri, sizeof(l->uri), "%s", uri);
	snprintf(l->pid_dir, sizeof(l->pid_dir), "%s", pid_dir);
	pthread_mutex_init(&l->lock, NULL);
	pthread_cond_init(&l->wake, NULL);
	l->eventfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (l->eventfd < 0) {
		r = -errno;
		free(l);
		return r;
	}
	if (virInitialize() < 0 || virEventRegisterDefaultImpl() < 0 ||
	    virEventAddTimeout(TICK_MS, on_tick, NULL, NULL) < 0) {
		close(l->eventfd);
		free(l);
		return -EIO;
	}
	r = pthread_create(&l->events, NULL, event_thread, l);
	if (r) {
		close(l->eventfd);
		free(l);
		return -r;
	}
	l->n_threads = 1;
	while (l->n_workers < LIBVIRT_WORKERS) {
		if (pthread_create(&l->workers[l->n_workers], NULL, worker, l))
			break;
		l->n_workers++;
		l->n_threads++;
	}
	*ret_libvirt = l;
	return 0;
}

void libvirt_stop(struct libvirt *l)
{
	struct timespec until;
	bool all;

	atomic_store(&l->stopping, true);
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += 2;
	pthread_mutex_lock(&l->lock);
	pthread_cond_broadcast(&l->wake);
	while (l->idle_threads < l->n_threads &&
	       pthread_cond_timedwait(&l->wake, &l->lock, &until) == 0)
		;
	all = l->idle_threads == l->n_threads;
	pthread_mutex_unlock(&l->lock);
	/* A thread stuck in a call of a stopped libvirtd keeps what it uses; the process ends. */
	if (!all)
		return;
	pthread_join(l->events, NULL);
	for (size_t i = 0; i < l->n_workers; i++)
		pthread_join(l->workers[i], NULL);
	for (size_t i = 0; i < l->answers.n; i++)
		free(l->answers.v[i]);
	array_free(&l->answers);
	array_free(&l->entries);
	close(l->eventfd);
	pthread_cond_destroy(&l->wake);
	pthread_mutex_destroy(&l->lock);
	free(l);
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
	uint64_t count;
	int found = 0;

	if (read(l->eventfd, &count, sizeof(count)) < 0 && errno != EAGAIN)
		return -errno;
	pthread_mutex_lock(&l->lock);
	while (l->answers.n && !found) {
		struct libvirt_domain *answer = l->answers.v[0];

		l->answers.n--;
		memmove(l->answers.v, l->answers.v + 1, l->answers.n * sizeof(answer));
		if (now_ms() - answer->asked_ms > LIBVIRT_STALE_MS) {
			atomic_fetch_add(&l->stale, 1);
			want(l, answer->uuid);
		} else {
			*ret_domain = *answer;
			found = 1;
		}
		free(answer);
	}
	pthread_mutex_unlock(&l->lock);
	return found;
}

void libvirt_refresh(struct libvirt *l)
{
	pthread_mutex_lock(&l->lock);
	for (size_t i = 0; i < l->entries.n; i++)
		l->entries.v[i].wanted = true;
	pthread_cond_broadcast(&l->wake);
	pthread_mutex_unlock(&l->lock);
}
