// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * libvirt's threads against libvirt itself: its test driver keeps domains in this process, one of
 * them, "test", from the start. They have no QEMU, so the pid files are the test's.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dlfcn.h>
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cramd/sense/libvirt.h"
#include "recorded.h"
#include "util/cleanup.h"
#include "util/clock.h"

#define URI	   "test:///default"
#define TEST_UUID  "6695eb01-f6a4-8304-79aa-97f2502e193f"
#define OTHER_UUID "11111111-2222-4333-8444-555555555555"
#define WAIT_MS	   20000
/* An answer to what was asked just now would have come by then. */
#define QUIET_MS 400

static const char other_xml[] = "<domain type='test'><name>other</name><memory>1024</memory>"
				"<uuid>" OTHER_UUID "</uuid>"
				"<os><type>hvm</type></os></domain>";
static const char quoted_xml[] =
	"<domain type='test'><name>a &quot;b&quot; &amp; &lt;c&gt;'s</name><memory>1024</memory>"
	"<uuid>" OTHER_UUID "</uuid>"
	"<os><type>hvm</type></os></domain>";

/* While @held, calls about the domain "test" wait, as for its lock; how many do is @waiting. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static bool held;
static int waiting;

/* What calls about a domain's XML and its job fail with; 0: they do not. */
static int xml_error, job_error;
static int failed_calls;
/* Of this thread's last call; 0: libvirt's own. */
static _Thread_local virError said;

/* Does a call that fails with *@error fail now? It is counted then. */
static bool fails_with(const int *error)
{
	pthread_mutex_lock(&lock);
	said.code = *error;
	failed_calls += *error != 0;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
	return said.code;
}

/* Called instead of libvirt's own. */
virErrorPtr virGetLastError(void)
{
	virErrorPtr (*real)(void) = (virErrorPtr(*)(void))dlsym(RTLD_NEXT, "virGetLastError");

	return said.code ? &said : real();
}

char *virDomainGetXMLDesc(virDomainPtr domain, unsigned int flags)
{
	char *(*real)(virDomainPtr, unsigned int) =
		(char *(*)(virDomainPtr, unsigned int))dlsym(RTLD_NEXT, "virDomainGetXMLDesc");

	if (fails_with(&xml_error))
		return NULL;
	pthread_mutex_lock(&lock);
	waiting++;
	pthread_cond_broadcast(&changed);
	while (held && !strcmp(virDomainGetName(domain), "test"))
		pthread_cond_wait(&changed, &lock);
	waiting--;
	pthread_mutex_unlock(&lock);
	return real(domain, flags);
}

/* libvirt's driver for tests has no jobs. */
int virDomainGetJobInfo(virDomainPtr domain, virDomainJobInfoPtr info)
{
	int (*real)(virDomainPtr, virDomainJobInfoPtr) =
		(int (*)(virDomainPtr, virDomainJobInfoPtr))dlsym(RTLD_NEXT, "virDomainGetJobInfo");

	return fails_with(&job_error) ? -1 : real(domain, info);
}

/* What the agent's connections are, in the order in which they were made; each has a reference. */
static struct connection {
	virConnectPtr conn;
	virConnectCloseFunc on_close;
	void *opaque;
} connections[8];
static int n_connections;
/* libvirtd is not there; it goes away while the agent connects; a call fails. */
static bool refusing, leaving, failing;

virConnectPtr virConnectOpenReadOnly(const char *uri)
{
	virConnectPtr (*real)(const char *) =
		(virConnectPtr(*)(const char *))dlsym(RTLD_NEXT, "virConnectOpenReadOnly");
	bool refused;

	pthread_mutex_lock(&lock);
	refused = refusing;
	pthread_mutex_unlock(&lock);
	return refused ? NULL : real(uri);
}

int virConnectRegisterCloseCallback(virConnectPtr conn, virConnectCloseFunc callback, void *opaque,
				    virFreeCallback free_opaque)
{
	int (*real)(virConnectPtr, virConnectCloseFunc, void *, virFreeCallback) =
		(int (*)(virConnectPtr, virConnectCloseFunc, void *, virFreeCallback))dlsym(
			RTLD_NEXT, "virConnectRegisterCloseCallback");
	bool leaves;

	pthread_mutex_lock(&lock);
	virConnectRef(conn);
	connections[n_connections++] = (struct connection){ conn, callback, opaque };
	leaves = leaving;
	leaving = false;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
	if (leaves)
		callback(conn, VIR_CONNECT_CLOSE_REASON_EOF, opaque);
	return real(conn, callback, opaque, free_opaque);
}

int virDomainGetState(virDomainPtr domain, int *state, int *reason, unsigned int flags)
{
	int (*real)(virDomainPtr, int *, int *, unsigned int) =
		(int (*)(virDomainPtr, int *, int *, unsigned int))dlsym(RTLD_NEXT,
									 "virDomainGetState");
	bool fails;

	pthread_mutex_lock(&lock);
	fails = failing;
	failed_calls += fails;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
	return fails ? -1 : real(domain, state, reason, flags);
}

static void set(bool *flag, bool value)
{
	pthread_mutex_lock(&lock);
	*flag = value;
	pthread_mutex_unlock(&lock);
}

static void fail_with(int *error, int code)
{
	pthread_mutex_lock(&lock);
	*error = code;
	failed_calls = 0;
	pthread_mutex_unlock(&lock);
}

/* Until *@n is @least. */
static void wait_until(const int *n, int least)
{
	struct timespec until = monotonic_after(WAIT_MS);
	int r = 0;

	pthread_mutex_lock(&lock);
	while (*n < least && r == 0)
		r = pthread_cond_clockwait(&changed, &lock, CLOCK_MONOTONIC, &until);
	pthread_mutex_unlock(&lock);
	assert_int_equal(r, 0);
}

/* The connection that the agent has now ends: libvirtd is started again, say. */
static void end_connection(void)
{
	struct connection last;

	pthread_mutex_lock(&lock);
	last = connections[n_connections - 1];
	pthread_mutex_unlock(&lock);
	last.on_close(last.conn, VIR_CONNECT_CLOSE_REASON_EOF, last.opaque);
}

static void hold(bool hold_it)
{
	pthread_mutex_lock(&lock);
	held = hold_it;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
}

struct fixture {
	char dir[64];
	struct cram_log log;
	struct libvirt *libvirt;
	virConnectPtr conn; /* as virsh has one */
};

/* libvirt's threads are not started. */
static int prepare(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	recorded_make(f->dir, sizeof(f->dir));
	recorded_put(f->dir, "/test.pid", "4711\n");
	f->log = (struct cram_log){ .fd = 2, .level = LOG_EMERG };
	f->conn = virConnectOpen(URI);
	assert_non_null(f->conn);
	*state = f;
	return 0;
}

static void begin(struct fixture *f)
{
	assert_int_equal(libvirt_start(URI, f->dir, &f->log, &f->libvirt), 0);
}

static int make(void **state)
{
	int r = prepare(state);

	begin(*state);
	return r;
}

static int drop(void **state)
{
	struct fixture *f = *state;
	int r;

	libvirt_stop(f->libvirt);
	for (; n_connections; n_connections--)
		virConnectClose(connections[n_connections - 1].conn);
	refusing = leaving = failing = false;
	xml_error = job_error = failed_calls = 0;
	virConnectClose(f->conn);
	r = recorded_drop(f->dir);
	free(f);
	return r;
}

/* The next answer within @ms; false: none. */
static bool answer_within(struct fixture *f, int ms, struct libvirt_domain *ret)
{
	struct pollfd p = { .fd = libvirt_fd(f->libvirt), .events = POLLIN };

	/* That all have been listed wakes up as well. */
	do {
		if (libvirt_next(f->libvirt, ret) == 1)
			return true;
	} while (poll(&p, 1, ms) == 1);
	return false;
}

/* Until nothing more comes; the last about @name. */
static void answers_about(struct fixture *f, const char *uuid, struct libvirt_domain *ret)
{
	struct libvirt_domain answer;
	bool found = false;

	while (answer_within(f, found ? QUIET_MS : WAIT_MS, &answer)) {
		if (strcmp(answer.uuid, uuid) != 0)
			continue;
		*ret = answer;
		found = true;
	}
	assert_true(found);
}

static void what_runs_already_is_found(void **state)
{
	struct fixture *f = *state;
	struct libvirt_domain answer;

	answers_about(f, TEST_UUID, &answer);
	assert_true(libvirt_connected(f->libvirt));
	assert_string_equal(answer.name, "test");
	assert_true(answer.running);
	assert_int_equal(answer.pid, 4711);
	assert_true(answer.has_domain);
	assert_false(answer.busy || answer.incoming);
}

/* Of one that hangs nobody knows what it has: what runs is not known as long as that lasts. */
static void what_runs_is_known_when_every_domain_has_been_told_of(void **state)
{
	struct fixture *f = *state;
	struct libvirt_domain answer;
	virDomainPtr domain = virDomainCreateXML(f->conn, other_xml, 0);

	assert_non_null(domain);
	hold(true);
	begin(f);
	assert_false(libvirt_told_all(f->libvirt));
	answers_about(f, OTHER_UUID, &answer);
	assert_false(libvirt_told_all(f->libvirt));
	hold(false);
	answers_about(f, TEST_UUID, &answer);
	assert_true(libvirt_told_all(f->libvirt));
	assert_int_equal(virDomainDestroy(domain), 0);
	virDomainFree(domain);
}

static void that_nothing_runs_is_told_as_well(void **state)
{
	struct fixture *f = *state;
	struct pollfd p = { .events = POLLIN };
	struct libvirt_domain answer;
	virDomainPtr test = virDomainLookupByName(f->conn, "test");

	assert_int_equal(virDomainDestroy(test), 0);
	virDomainFree(test);
	begin(f);
	p.fd = libvirt_fd(f->libvirt);
	while (!libvirt_told_all(f->libvirt)) {
		assert_int_equal(poll(&p, 1, WAIT_MS), 1);
		/* Its end may be told of still. */
		while (libvirt_next(f->libvirt, &answer) == 1)
			assert_false(answer.running);
	}
}

/* All domains are in one call, and where that shows nothing new none is asked by itself. */
static void what_has_not_changed_is_not_asked_again(void **state)
{
	struct fixture *f = *state;
	struct libvirt_domain answer;

	answers_about(f, TEST_UUID, &answer);
	for (int i = 0; i < 3; i++) {
		libvirt_refresh(f->libvirt);
		assert_false(answer_within(f, QUIET_MS, &answer));
	}
}

/* It is being started, which may take minutes: whoever keeps its share for it is told. */
static void a_domain_without_a_pid_is_told_of_at_each_refresh(void **state)
{
	struct fixture *f = *state;
	struct libvirt_domain answer;
	virDomainPtr domain = virDomainCreateXML(f->conn, other_xml, 0);

	assert_non_null(domain);
	answers_about(f, OTHER_UUID, &answer);
	assert_true(answer.running);
	assert_int_equal(answer.pid, 0);
	for (int i = 0; i < 2; i++) {
		libvirt_refresh(f->libvirt);
		answers_about(f, OTHER_UUID, &answer);
	}
	recorded_put(f->dir, "/other.pid", "4712\n");
	libvirt_refresh(f->libvirt);
	answers_about(f, OTHER_UUID, &answer);
	assert_int_equal(answer.pid, 4712);
	libvirt_refresh(f->libvirt);
	assert_false(answer_within(f, QUIET_MS, &answer));
	assert_int_equal(virDomainDestroy(domain), 0);
	virDomainFree(domain);
}

/* libvirt calls the pid file by the name as it is in XML. */
static void a_name_with_quotes_has_a_pid(void **state)
{
	struct fixture *f = *state;
	struct libvirt_domain answer;
	virDomainPtr domain = virDomainCreateXML(f->conn, quoted_xml, 0);

	assert_non_null(domain);
	recorded_put(f->dir, "/a &quot;b&quot; &amp; &lt;c&gt;&apos;s.pid", "4713\n");
	libvirt_refresh(f->libvirt);
	answers_about(f, OTHER_UUID, &answer);
	assert_string_equal(answer.name, "a \"b\" & <c>'s");
	assert_int_equal(answer.pid, 4713);
	assert_int_equal(virDomainDestroy(domain), 0);
	virDomainFree(domain);
}

static void what_comes_and_goes_is_told(void **state)
{
	struct fixture *f = *state;
	struct libvirt_domain answer;
	virDomainPtr domain;

	answers_about(f, TEST_UUID, &answer);
	domain = virDomainCreateXML(f->conn, other_xml, 0);
	assert_non_null(domain);
	libvirt_refresh(f->libvirt);
	answers_about(f, OTHER_UUID, &answer);
	assert_true(answer.running);
	assert_int_equal(answer.pid, 0);
	assert_int_equal(virDomainDestroy(domain), 0);
	virDomainFree(domain);
	libvirt_refresh(f->libvirt);
	answers_about(f, OTHER_UUID, &answer);
	assert_false(answer.running);
	/* And is forgotten then. */
	libvirt_refresh(f->libvirt);
	assert_false(answer_within(f, QUIET_MS, &answer));
}

/* It shuts down or migrates, and holds its lock for minutes: it has one call, others are told. */
static void a_domain_that_hangs_delays_itself_alone(void **state)
{
	struct fixture *f = *state;
	struct libvirt_domain answer;
	virDomainPtr domain, test = virDomainLookupByName(f->conn, "test");

	answers_about(f, TEST_UUID, &answer);
	hold(true);
	for (int i = 0; i < 5; i++) {
		char element[64];

		snprintf(element, sizeof(element), "<tiering><weight>%d</weight></tiering>", i + 1);
		assert_int_equal(virDomainSetMetadata(test, VIR_DOMAIN_METADATA_ELEMENT, element,
						      "cram", "urn:cramd:domain:1.0", 0),
				 0);
		libvirt_refresh(f->libvirt);
	}
	domain = virDomainCreateXML(f->conn, other_xml, 0);
	assert_non_null(domain);
	libvirt_refresh(f->libvirt);
	answers_about(f, OTHER_UUID, &answer);
	assert_true(answer.running);
	pthread_mutex_lock(&lock);
	assert_int_equal(waiting, 1);
	pthread_mutex_unlock(&lock);
	hold(false);
	answers_about(f, TEST_UUID, &answer);
	assert_true(answer.running);
	assert_int_equal(virDomainDestroy(domain), 0);
	virDomainFree(domain);
	virDomainFree(test);
}

static void bad_settings_are_told_with_why(void **state)
{
	struct fixture *f = *state;
	struct libvirt_domain answer;
	virDomainPtr domain = virDomainLookupByName(f->conn, "test");

	answers_about(f, TEST_UUID, &answer);
	assert_string_equal(answer.note, "");
	assert_int_equal(virDomainSetMetadata(domain, VIR_DOMAIN_METADATA_ELEMENT,
					      "<tiering mode='atuo'/>", "cram",
					      "urn:cramd:domain:1.0", 0),
			 0);
	virDomainFree(domain);
	answers_about(f, TEST_UUID, &answer);
	assert_true(answer.domain.bad_tiering);
	assert_non_null(strstr(answer.note, "atuo"));
}

static void set_weight(struct fixture *f, unsigned int weight)
{
	virDomainPtr domain = virDomainLookupByName(f->conn, "test");
	char element[64];

	snprintf(element, sizeof(element), "<tiering><weight>%u</weight></tiering>", weight);
	assert_int_equal(virDomainSetMetadata(domain, VIR_DOMAIN_METADATA_ELEMENT, element, "cram",
					      "urn:cramd:domain:1.0", 0),
			 0);
	virDomainFree(domain);
}

static void a_connection_that_ended_leaves_nothing_behind(void **state)
{
	struct fixture *f = *state;
	struct libvirt_domain answer;

	answers_about(f, TEST_UUID, &answer);
	for (int i = 1; i < 5; i++) {
		end_connection();
		wait_until(&n_connections, i + 1);
	}
	set_weight(f, 7);
	answers_about(f, TEST_UUID, &answer);
	assert_int_equal(answer.domain.tiering.weight, 7);
	/* The test's own reference is the last; one more is the connection in use. */
	for (int i = 0; i < 4; i++)
		assert_int_equal(virConnectClose(connections[i].conn), 0);
	connections[0] = connections[4];
	n_connections = 1;
}

static void what_changed_while_libvirt_was_away_is_told(void **state)
{
	struct fixture *f = *state;
	struct libvirt_domain answer;

	answers_about(f, TEST_UUID, &answer);
	set(&refusing, true);
	end_connection();
	while (libvirt_connected(f->libvirt))
		usleep(1000);
	set_weight(f, 8);
	set(&refusing, false);
	answers_about(f, TEST_UUID, &answer);
	assert_int_equal(answer.domain.tiering.weight, 8);
}

static void a_connection_that_ends_while_it_is_made_is_made_again(void **state)
{
	struct fixture *f = *state;
	struct libvirt_domain answer;

	answers_about(f, TEST_UUID, &answer);
	set(&leaving, true);
	end_connection();
	wait_until(&n_connections, 3);
	set_weight(f, 9);
	answers_about(f, TEST_UUID, &answer);
	assert_int_equal(answer.domain.tiering.weight, 9);
}

/* A change is announced once, and the call that asks what it was comes to nothing. */
static void what_could_not_be_asked_is_asked_with_the_next_refresh(void **state)
{
	struct fixture *f = *state;
	struct libvirt_domain answer;
	int refreshes = 0;

	answers_about(f, TEST_UUID, &answer);
	set(&failing, true);
	set_weight(f, 10);
	wait_until(&failed_calls, 1);
	set(&failing, false);
	/* From time to time, as the loop does: the first may come before that call has ended. */
	do
		libvirt_refresh(f->libvirt);
	while (!answer_within(f, QUIET_MS, &answer) && ++refreshes < 10);
	assert_string_equal(answer.uuid, TEST_UUID);
	assert_int_equal(answer.domain.tiering.weight, 10);
}

/* libvirtd ends between two calls: half an answer would undo what is known of the VM. */
static void what_is_answered_in_part_is_not_told(void **state)
{
	int *const errors[] = { &xml_error, &job_error };
	struct fixture *f = *state;
	struct libvirt_domain answer;

	answers_about(f, TEST_UUID, &answer);
	for (unsigned int i = 0; i < ARRAY_SIZE(errors); i++) {
		fail_with(errors[i], VIR_ERR_RPC);
		set_weight(f, 11 + i);
		wait_until(&failed_calls, 1);
		assert_false(answer_within(f, QUIET_MS, &answer));
		fail_with(errors[i], 0);
		libvirt_refresh(f->libvirt);
		answers_about(f, TEST_UUID, &answer);
		assert_true(answer.running && answer.has_domain);
		assert_int_equal(answer.domain.tiering.weight, 11 + i);
	}
}

/* On its way in it has no job that can be asked for; nor has any VM of some drivers. */
static void a_vm_that_can_have_no_job_is_told_of(void **state)
{
	const int codes[] = { VIR_ERR_OPERATION_INVALID, VIR_ERR_NO_SUPPORT };
	struct fixture *f = *state;
	struct libvirt_domain answer;

	answers_about(f, TEST_UUID, &answer);
	for (unsigned int i = 0; i < ARRAY_SIZE(codes); i++) {
		fail_with(&job_error, codes[i]);
		set_weight(f, 13 + i);
		answers_about(f, TEST_UUID, &answer);
		assert_false(answer.busy);
		assert_int_equal(answer.domain.tiering.weight, 13 + i);
	}
}

static void a_domain_that_ends_while_it_is_asked_has_ended(void **state)
{
	struct fixture *f = *state;
	struct libvirt_domain answer;

	answers_about(f, TEST_UUID, &answer);
	fail_with(&xml_error, VIR_ERR_NO_DOMAIN);
	set_weight(f, 15);
	answers_about(f, TEST_UUID, &answer);
	assert_false(answer.running);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, make, drop)
	const struct CMUnitTest tests[] = {
		TEST(what_runs_already_is_found),
		TEST(what_has_not_changed_is_not_asked_again),
		TEST(what_comes_and_goes_is_told),
		TEST(a_domain_that_hangs_delays_itself_alone),
		TEST(bad_settings_are_told_with_why),
		TEST(a_connection_that_ended_leaves_nothing_behind),
		TEST(what_changed_while_libvirt_was_away_is_told),
		TEST(a_connection_that_ends_while_it_is_made_is_made_again),
		TEST(what_could_not_be_asked_is_asked_with_the_next_refresh),
		TEST(what_is_answered_in_part_is_not_told),
		TEST(a_vm_that_can_have_no_job_is_told_of),
		TEST(a_domain_that_ends_while_it_is_asked_has_ended),
		TEST(a_domain_without_a_pid_is_told_of_at_each_refresh),
		TEST(a_name_with_quotes_has_a_pid),
		cmocka_unit_test_setup_teardown(
			what_runs_is_known_when_every_domain_has_been_told_of, prepare, drop),
		cmocka_unit_test_setup_teardown(that_nothing_runs_is_told_as_well, prepare, drop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
