// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * libvirt's hook, as libvirt runs it, with an agent behind the socket that answers, refuses, hangs
 * or talks nonsense. Whatever happens a VM starts, within 200 ms, but for a refusal.
 *
 *   test-hook HOOK
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "util/cleanup.h"

#define HELLO	"{\"parameters\":{\"version\":1,\"agent\":\"x\"}}"
#define REFUSAL "{\"parameters\":{\"admitted\":false,\"message\":\"vm \\\"a\\\": too big\"}}"
#define XML	"<domain><name>a</name></domain>"

/* Where it is not the deadline that is tested: a busy machine must not decide. */
#define PATIENT "20000"

static const char *hook;

/* An agent: answers its first message with @hello and its second with @reply; NULL: never. */
struct agent {
	char dir[64], path[80];
	const char *hello, *reply;
	size_t reply_size;
	int listener;
	pthread_t thread;
	bool serving;
	char *request; /* the second message */
	char *told;    /* the third */
};

struct result {
	int status;	 /* as waitpid() gives it */
	int wall_ms;	 /* how long it took ... */
	int at_least_ms; /* ... less what it or this test waited for a processor */
	char out[4096], err[4096];
};

static int now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int)(ts.tv_sec * 1000 + ts.tv_nsec / 1000000);
}

/* One message; false: the hook has gone. */
static bool take(int fd, char **ret)
{
	size_t n = 0, cap = 1 << 16;
	char *buf = malloc(cap);
	ssize_t r = 0;

	while (buf && (n == 0 || buf[n - 1] != '\0') &&
	       (r = recv(fd, buf + n, cap - n - 1, 0)) > 0) {
		n += (size_t)r;
		if (n + 1 == cap)
			buf = realloc(buf, cap *= 2);
	}
	if (r <= 0) {
		free(buf);
		return false;
	}
	*ret = buf;
	return true;
}

static void *serve(void *arg)
{
	struct agent *a = arg;
	int fd = accept(a->listener, NULL, NULL);
	char *hello = NULL;
	struct pollfd gone = { .fd = fd };

	if (fd < 0)
		return NULL;
	if (take(fd, &hello) && a->hello) {
		send(fd, a->hello, strlen(a->hello) + 1, MSG_NOSIGNAL);
		if (take(fd, &a->request) && a->reply)
			send(fd, a->reply, a->reply_size, MSG_NOSIGNAL);
		if (!a->reply)
			poll(&gone, 1, 10000);
		else
			take(fd, &a->told);
	} else {
		poll(&gone, 1, 10000);
	}
	free(hello);
	close(fd);
	return NULL;
}

static void start(struct agent *a, const char *hello, const char *reply)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	*a = (struct agent){ .dir = "/tmp/hook-test.XXXXXX", .hello = hello, .reply = reply };
	a->reply_size = reply ? strlen(reply) + 1 : 0;
	assert_non_null(mkdtemp(a->dir));
	snprintf(a->path, sizeof(a->path), "%s/control", a->dir);
	memcpy(addr.sun_path, a->path, sizeof(a->path));
	a->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(a->listener, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(a->listener, 1), 0);
}

static void serve_one(struct agent *a)
{
	free(a->request);
	free(a->told);
	a->request = a->told = NULL;
	a->serving = true;
	assert_int_equal(pthread_create(&a->thread, NULL, serve, a), 0);
}

/* The hook has ended, so the agent's thread has seen all that there was. */
static void finish(struct agent *a)
{
	if (!a->serving)
		return;
	shutdown(a->listener, SHUT_RDWR);
	pthread_join(a->thread, NULL);
	a->serving = false;
}

static const char *text_at(struct json_object *o, const char *key)
{
	return json_object_get_string(json_object_object_get(o, key));
}

static void stop(struct agent *a)
{
	finish(a);
	close(a->listener);
	unlink(a->path);
	rmdir(a->dir);
	free(a->request);
	free(a->told);
}

static void read_all(int fd, char *buf, size_t size)
{
	ssize_t n = pread(fd, buf, size - 1, 0);

	buf[n > 0 ? n : 0] = '\0';
}

static int scratch(void)
{
	int fd = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	return fd;
}

static void write_all(int fd, const char *data, size_t n)
{
	while (n > 0) {
		ssize_t r = write(fd, data, n);

		if (r <= 0)
			return; /* the hook does not read it: its right */
		data += r;
		n -= (size_t)r;
	}
}

/* How long a process, or one that has ended and was not waited for, was ready and did not run. */
static int starved_ms(pid_t pid)
{
	char path[64], text[128] = "";
	unsigned long long ns = 0;
	cleanup_close int fd = -1;

	snprintf(path, sizeof(path), "/proc/%d/schedstat", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0)
		read_all(fd, text, sizeof(text));
	return sscanf(text, "%*u %llu", &ns) == 1 ? (int)(ns / 1000000) : 0;
}

/*
 * Runs the hook with @xml (NULL: nothing comes, and the pipe stays open) and @err as where it
 * complains. What never ends is killed after 30 s.
 */
static struct result run_complaining(const char *deadline, const char *dir, const char *const *args,
				     const char *xml, int err)
{
	cleanup_close int out = scratch();
	struct result r = {};
	int in[2], began, starved;
	pid_t pid;

	assert_int_equal(pipe2(in, O_CLOEXEC), 0);
	starved = starved_ms(getpid());
	began = now_ms();
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		sigset_t all;

		/* As it could be inherited. */
		sigfillset(&all);
		sigprocmask(SIG_BLOCK, &all, NULL);
		dup2(in[0], 0);
		dup2(out, 1);
		dup2(err, 2);
		setenv("CRAMD_SOCKET_DIR", dir, 1);
		if (deadline)
			setenv("CRAMD_HOOK_DEADLINE_MS", deadline, 1);
		execv(hook, (char *const *)args);
		_exit(99);
	}
	close(in[0]);
	signal(SIGPIPE, SIG_IGN);
	if (xml) {
		write_all(in[1], xml, strlen(xml));
		close(in[1]);
	}
	for (;;) {
		siginfo_t ended = {};

		waitid(P_PID, (id_t)pid, &ended, WEXITED | WNOHANG | WNOWAIT);
		if (ended.si_pid == pid)
			break;
		if (now_ms() - began > 30000)
			kill(pid, SIGKILL);
		usleep(1000);
	}
	r.wall_ms = now_ms() - began;
	r.at_least_ms = r.wall_ms - starved_ms(pid) - (starved_ms(getpid()) - starved);
	waitpid(pid, &r.status, 0);
	if (!xml)
		close(in[1]);
	read_all(out, r.out, sizeof(r.out));
	read_all(err, r.err, sizeof(r.err));
	return r;
}

static struct result run_for(const char *deadline, const char *dir, const char *const *args,
			     const char *xml)
{
	cleanup_close int err = scratch();

	return run_complaining(deadline, dir, args, xml, err);
}

static struct result run(const char *dir, const char *const *args, const char *xml)
{
	return run_for(PATIENT, dir, args, xml);
}

static struct result operate(const struct agent *a, const char *operation, const char *xml)
{
	const char *args[] = { hook, "a", operation, "begin", "-", NULL };

	return run(a->dir, args, xml);
}

static void passes(const struct result *r)
{
	assert_int_equal(r->status, 0);
	assert_string_equal(r->out, "");
	assert_string_equal(r->err, "");
}

/* The machine may be busy, so one of a few has to be in time; all have to end. */
static void passes_in_time(struct agent *a, const char *xml)
{
	int best = 10000;

	for (int i = 0; i < 5; i++) {
		const char *const args[] = { hook, "a", "prepare", "begin", "-", NULL };
		struct result r = run_for(NULL, a->dir, args, xml);

		passes(&r);
		assert_true(r.wall_ms >= 190);
		if (r.at_least_ms < best)
			best = r.at_least_ms;
	}
	assert_true(best <= 260);
}

/* Start @a, and have it refuse a VM. */
static struct result refused_by(struct agent *a)
{
	struct result r;

	start(a, HELLO, REFUSAL);
	serve_one(a);
	r = operate(a, "prepare", XML);
	assert_true(WIFEXITED(r.status));
	assert_int_equal(WEXITSTATUS(r.status), 1);
	return r;
}

static void a_refusal_reaches_whoever_starts_the_vm(void **state)
{
	struct agent a;
	struct result r = refused_by(&a);

	(void)state;
	assert_string_equal(r.out, "");
	assert_string_equal(r.err, "cramd: vm \"a\": too big\n");
	stop(&a);
}

/* A pipe that is full, and that nobody reads. */
static void full_pipe(int fds[2])
{
	char page[4096] = "";

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	assert_int_equal(fcntl(fds[1], F_SETFL, O_NONBLOCK), 0);
	while (write(fds[1], page, sizeof(page)) > 0)
		;
	assert_int_equal(errno, EAGAIN);
	assert_int_equal(fcntl(fds[1], F_SETFL, 0), 0);
}

/* libvirt holds the domain's lock meanwhile. */
static void a_refusal_that_nobody_reads_ends_in_time(void **state)
{
	const char *const args[] = { hook, "a", "prepare", "begin", "-", NULL };
	struct agent a;
	struct result r;
	int err[2];

	(void)state;
	full_pipe(err);
	start(&a, HELLO, REFUSAL);
	serve_one(&a);
	r = run_complaining("2000", a.dir, args, XML, err[1]);
	assert_true(WIFEXITED(r.status));
	assert_int_equal(WEXITSTATUS(r.status), 1);
	assert_true(r.wall_ms >= 1990);
	finish(&a);
	assert_non_null(a.told);
	stop(&a);
	close(err[0]);
	close(err[1]);
}

/* So that it counts what was refused, and not what it was too late for. */
static void the_agent_is_told_what_was_refused(void **state)
{
	struct agent a;
	struct result r;

	(void)state;
	refused_by(&a);
	finish(&a);
	assert_non_null(a.told);
	assert_non_null(strstr(a.told, "\"org.cramd.Control.Refuse\""));
	assert_non_null(strstr(a.told, "\"oneway\":true"));
	stop(&a);
	start(&a, HELLO, "{\"parameters\":{\"admitted\":true,\"message\":\"\"}}");
	serve_one(&a);
	r = operate(&a, "prepare", XML);
	passes(&r);
	finish(&a);
	assert_null(a.told);
	stop(&a);
}

static void an_admission_is_silent(void **state)
{
	struct agent a;
	struct result r;

	(void)state;
	start(&a, HELLO, "{\"parameters\":{\"admitted\":true,\"message\":\"it is big\"}}");
	serve_one(&a);
	r = operate(&a, "prepare", XML);
	passes(&r);
	assert_non_null(a.request);
	stop(&a);
}

/* Whoever refuses at these kills a running VM, or a migration. */
static void only_prepare_can_be_refused(void **state)
{
	static const char *const others[] = { "start",	   "started", "stopped", "release",
					      "reconnect", "migrate", "restore", "attach",
					      "Prepare",   "" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		struct agent a;
		struct result r;

		start(&a, HELLO, REFUSAL);
		serve_one(&a);
		r = operate(&a, others[i], XML);
		passes(&r);
		stop(&a);
	}
}

static void the_domain_reaches_the_agent_as_it_is(void **state)
{
	static const char xml[] =
		"<domain>\n\t<name>it's \"\\ \xc3\xa4\xe2\x82\xac &lt;</name>/\n</domain>\n";
	static const char *const operations[] = { "prepare", "migrate", "restore", "release" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(operations); i++) {
		struct json_object *request, *parameters;
		struct agent a;
		struct result r;

		start(&a, HELLO, "{\"parameters\":{\"admitted\":true}}");
		serve_one(&a);
		r = operate(&a, operations[i], xml);
		passes(&r);
		finish(&a);
		assert_non_null(a.request);
		request = json_tokener_parse(a.request);
		parameters = json_object_object_get(request, "parameters");
		assert_string_equal(text_at(request, "method"), "org.cramd.Control.Admit");
		assert_string_equal(text_at(parameters, "operation"), operations[i]);
		assert_string_equal(text_at(parameters, "xml"), xml);
		json_object_put(request);
		stop(&a);
	}
}

static void without_an_agent_it_passes(void **state)
{
	struct agent a;
	struct result r;

	(void)state;
	start(&a, NULL, NULL);
	close(a.listener); /* a socket that a dead agent left */
	r = operate(&a, "prepare", XML);
	passes(&r);
	unlink(a.path);
	r = operate(&a, "prepare", XML);
	passes(&r);
	rmdir(a.dir);
	r = operate(&a, "prepare", XML);
	passes(&r);
}

/* As one that is stopped: connections are taken by the kernel, and nobody reads. */
static void an_agent_that_hangs_is_waited_for_200_ms(void **state)
{
	struct agent a;

	(void)state;
	start(&a, NULL, NULL);
	passes_in_time(&a, XML);
	stop(&a);
}

/* Its backlog is full by then. */
static void even_where_no_connection_can_be_made(void **state)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct agent a;
	int fds[8];

	(void)state;
	start(&a, NULL, NULL);
	memcpy(addr.sun_path, a.path, sizeof(a.path));
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		fds[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		connect(fds[i], (struct sockaddr *)&addr, sizeof(addr));
	}
	passes_in_time(&a, XML);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		close(fds[i]);
	stop(&a);
}

static void an_agent_that_stops_talking_is_not_waited_for_either(void **state)
{
	const char *const args[] = { hook, "a", "prepare", "begin", "-", NULL };
	struct agent a;
	struct result r;

	(void)state;
	start(&a, HELLO, NULL);
	serve_one(&a);
	r = run_for("2000", a.dir, args, XML);
	passes(&r);
	finish(&a);
	assert_non_null(a.request);
	stop(&a);
}

static void a_domain_that_never_ends_is_not_waited_for(void **state)
{
	struct agent a;

	(void)state;
	start(&a, NULL, NULL);
	passes_in_time(&a, NULL);
	stop(&a);
}

static void nonsense_of_the_agent_lets_it_pass(void **state)
{
	static const char *const replies[] = {
		"",
		"nonsense",
		"{}",
		"[]",
		"{\"parameters\":[]}",
		"{\"parameters\":{}}",
		"{\"parameters\":{\"admitted\":0,\"message\":\"m\"}}",
		"{\"parameters\":{\"admitted\":null,\"message\":\"m\"}}",
		"{\"parameters\":{\"admitted\":\"false\",\"message\":\"m\"}}",
		"{\"parameters\":{\"admitted\":false}}",
		"{\"parameters\":{\"admitted\":false,\"message\":7}}",
		"{\"error\":\"org.cramd.Internal\",\"parameters\":{\"admitted\":false,\"message\":\"m\"}}",
		"{\"error\":\"org.varlink.service.MethodNotFound\",\"parameters\":{}}",
		"{\"continues\":true,\"parameters\":{\"admitted\":false,\"message\":\"m\"}}",
		"{\"parameters\":{\"admitted\":false,\"message\":\"m\"}",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(replies); i++) {
		struct agent a;
		struct result r;

		start(&a, HELLO, replies[i]);
		serve_one(&a);
		r = operate(&a, "prepare", XML);
		passes(&r);
		finish(&a);
		assert_non_null(a.request);
		stop(&a);
	}
}

static void nonsense_of_libvirt_passes(void **state)
{
	static char big[(4U << 20) + 2];
	struct agent a;
	struct result r;

	(void)state;
	memset(big, 'x', sizeof(big) - 1);
	for (size_t i = 0; i < 2; i++) {
		start(&a, HELLO, REFUSAL);
		serve_one(&a);
		r = operate(&a, "prepare", i ? big : "");
		passes(&r);
		assert_null(a.request);
		stop(&a);
	}
}

static void a_wrong_command_line_passes(void **state)
{
	const char *const none[] = { hook, NULL }, *const few[] = { hook, "a", "prepare", "begin",
								    NULL };
	const char *const many[] = { hook, "a", "prepare", "begin", "-", "x", NULL };
	const char *const help[] = { hook, "--help", NULL }, *const other[] = { hook, "-x", NULL };
	struct agent a;
	struct result r;

	(void)state;
	start(&a, HELLO, REFUSAL);
	r = run(a.dir, none, XML);
	passes(&r);
	r = run(a.dir, few, XML);
	passes(&r);
	r = run(a.dir, help, XML);
	assert_int_equal(r.status, 0);
	assert_non_null(strstr(r.out, "cram-hook(8)"));
	r = run(a.dir, other, XML);
	assert_int_equal(WEXITSTATUS(r.status), 2);
	serve_one(&a);
	r = run(a.dir, many, XML);
	assert_int_equal(WEXITSTATUS(r.status), 1);
	stop(&a);
}

/* It is past its first lines: SIGALRM is the last signal that it takes in hand. */
static void wait_until_it_takes_signals(pid_t pid)
{
	char path[64], text[4096];
	unsigned long long caught = 0;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	while (!(caught & 1ULL << (SIGALRM - 1))) {
		cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);

		assert_true(fd >= 0);
		read_all(fd, text, sizeof(text));
		assert_non_null(strstr(text, "SigCgt:"));
		caught = strtoull(strstr(text, "SigCgt:") + 7, NULL, 16);
		usleep(100);
	}
}

/* Signals sent while it waits for an agent: whoever sends them, the VM starts. */
static void a_fault_of_its_own_passes(void **state)
{
	static const int signals[] = { SIGTERM, SIGHUP, SIGINT, SIGPIPE, SIGSEGV, SIGBUS, SIGABRT };
	struct agent a;

	(void)state;
	start(&a, HELLO, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++) {
		int in[2], status;
		pid_t pid;

		assert_int_equal(pipe2(in, O_CLOEXEC), 0);
		pid = fork();
		if (pid == 0) {
			dup2(in[0], 0);
			setenv("CRAMD_SOCKET_DIR", a.dir, 1);
			setenv("CRAMD_HOOK_DEADLINE_MS", PATIENT, 1);
			execl(hook, hook, "a", "prepare", "begin", "-", NULL);
			_exit(99);
		}
		wait_until_it_takes_signals(pid);
		kill(pid, signals[i]);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(status, 0);
		close(in[0]);
		close(in[1]);
	}
	stop(&a);
}

static void it_needs_no_library_of_the_host(void **state)
{
	char command[512];

	(void)state;
	snprintf(command, sizeof(command),
		 "ldd '%s' 2>&1 | grep -qE 'not a dynamic|statically linked'", hook);
	assert_int_equal(system(command), 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_refusal_reaches_whoever_starts_the_vm),
		cmocka_unit_test(a_refusal_that_nobody_reads_ends_in_time),
		cmocka_unit_test(the_agent_is_told_what_was_refused),
		cmocka_unit_test(an_admission_is_silent),
		cmocka_unit_test(only_prepare_can_be_refused),
		cmocka_unit_test(the_domain_reaches_the_agent_as_it_is),
		cmocka_unit_test(without_an_agent_it_passes),
		cmocka_unit_test(an_agent_that_hangs_is_waited_for_200_ms),
		cmocka_unit_test(even_where_no_connection_can_be_made),
		cmocka_unit_test(an_agent_that_stops_talking_is_not_waited_for_either),
		cmocka_unit_test(a_domain_that_never_ends_is_not_waited_for),
		cmocka_unit_test(nonsense_of_the_agent_lets_it_pass),
		cmocka_unit_test(nonsense_of_libvirt_passes),
		cmocka_unit_test(a_wrong_command_line_passes),
		cmocka_unit_test(a_fault_of_its_own_passes),
		cmocka_unit_test(it_needs_no_library_of_the_host),
	};

	if (argc != 2)
		return 2;
	hook = argv[1];
	return cmocka_run_group_tests(tests, NULL, NULL);
}
