// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * libvirt's hook, /etc/libvirt/hooks/qemu.d/cram: asks the agent before a VM is started.
 *
 * libvirt holds the domain's lock while this runs, has no time-out for it, and kills a running VM
 * when it fails at `started` or `reconnect`. So it judges nothing itself, ends after 200 ms
 * whatever happens, and fails only where the agent has refused a start: any fault of its own, of
 * the agent or of what it is given lets the VM start. Linked statically: a library that is missing
 * after an upgrade must not keep VMs from starting.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "protocol/protocol.h"
#include "settings/domain.h"
#include "util/cleanup.h"

#define DEADLINE_MS 200

/* What libvirt gives: the domain's name, the operation, its part, and more ("-" for none). */
#define LIBVIRT_ARGS 5

enum {
	LET_IT_PASS = 0,
	REFUSE = 1
};

static void let_it_pass(int signal)
{
	(void)signal;
	_exit(LET_IT_PASS);
}

/* libvirt passes none of the environment on that is read here: it is for tests. */
static int deadline_ms(void)
{
	const char *text = getenv("CRAMD_HOOK_DEADLINE_MS");
	int ms = text ? atoi(text) : 0;

	return ms > 0 ? ms : DEADLINE_MS;
}

/* From here on this process ends in time, and neither a signal nor a fault of its own fails it. */
static void never_fail(void)
{
	static const int faults[] = { SIGHUP, SIGINT,  SIGTERM, SIGPIPE, SIGXCPU, SIGSEGV,
				      SIGBUS, SIGABRT, SIGFPE,	SIGILL,	 SIGSYS,  SIGALRM };
	const struct sigaction pass = { .sa_handler = let_it_pass };
	const struct itimerval deadline = {
		.it_value = { .tv_sec = deadline_ms() / 1000,
			      .tv_usec = deadline_ms() % 1000 * 1000 },
	};
	sigset_t all;

	for (size_t i = 0; i < ARRAY_SIZE(faults); i++)
		sigaction(faults[i], &pass, NULL);
	sigfillset(&all);
	sigprocmask(SIG_UNBLOCK, &all, NULL);
	if (setitimer(ITIMER_REAL, &deadline, NULL) < 0)
		_exit(LET_IT_PASS);
}

static bool is_of_interest(const char *operation)
{
	static const char *const operations[] = { "prepare", "migrate", "restore", "release" };

	for (size_t i = 0; i < ARRAY_SIZE(operations); i++)
		if (strcmp(operation, operations[i]) == 0)
			return true;
	return false;
}

/* The domain's XML, all of it; NULL: there is none that the agent would take. */
static char *read_xml(void)
{
	char *xml = malloc(CRAM_DOMAIN_XML_MAX + 1);
	size_t size = 0;
	ssize_t n;

	if (!xml)
		return NULL;
	while ((n = read(STDIN_FILENO, xml + size, CRAM_DOMAIN_XML_MAX + 1 - size)) > 0)
		size += (size_t)n;
	if (n < 0 || size == 0 || size > CRAM_DOMAIN_XML_MAX || memchr(xml, '\0', size)) {
		free(xml);
		return NULL;
	}
	xml[size] = '\0';
	return xml;
}

static struct json_object *request(const char *operation, const char *xml)
{
	struct json_object *o = json_object_new_object();

	if (!o)
		return NULL;
	json_object_object_add(o, "operation", json_object_new_string(operation));
	json_object_object_add(o, "xml", json_object_new_string(xml));
	return o;
}

/* What the agent says, or NULL. */
static struct json_object *ask(const char *operation, const char *xml, struct cram_client **ret)
{
	const char *dir = getenv("CRAMD_SOCKET_DIR");
	struct json_object *reply;
	char path[108];

	snprintf(path, sizeof(path), "%s/control", dir ? dir : "/run/cramd");
	if (cram_client_connect(path, CRAM_IFACE_CONTROL, -1, ret, NULL) < 0 ||
	    cram_client_call(*ret, "Admit", request(operation, xml), &reply, NULL, NULL) < 0)
		return NULL;
	return reply;
}

/* Has the agent said no, in so many words? Then why. */
static const char *refusal(struct json_object *reply)
{
	struct json_object *admitted, *message;

	if (!json_object_object_get_ex(reply, "admitted", &admitted) ||
	    !json_object_is_type(admitted, json_type_boolean) ||
	    json_object_get_boolean(admitted) ||
	    !json_object_object_get_ex(reply, "message", &message) ||
	    !json_object_is_type(message, json_type_string))
		return NULL;
	return json_object_get_string(message);
}

static void end_refused(int signal)
{
	(void)signal;
	_exit(REFUSE);
}

/*
 * The deadline was met, and from here on no signal lets the VM start: what the agent is told, and
 * counts, is what happens. Why goes to the one who wanted to start it, if that one reads: then the
 * deadline is the end again, and all that it cuts off is words.
 */
static int refuse(struct cram_client *client, const char *why)
{
	const struct sigaction end = { .sa_handler = end_refused };
	sigset_t all, alarm;

	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, NULL);
	cram_client_tell(client, "Refuse");
	sigaction(SIGALRM, &end, NULL);
	sigemptyset(&alarm);
	sigaddset(&alarm, SIGALRM);
	sigprocmask(SIG_UNBLOCK, &alarm, NULL);
	dprintf(STDERR_FILENO, "cramd: %s\n", why);
	return REFUSE;
}

static int for_people(const char *option)
{
	if (strcmp(option, "--version") == 0) {
		puts("cram-hook " CRAM_VERSION);
		return 0;
	}
	puts("Usage: cram-hook DOMAIN OPERATION PART MORE <XML\n"
	     "libvirt runs this, as /etc/libvirt/hooks/qemu.d/cram, before it starts a VM; see "
	     "cram-hook(8).\n"
	     "\n"
	     "      --help     print this and exit\n"
	     "      --version  print the version and exit\n"
	     "\n"
	     "Environment, for tests:\n"
	     "  CRAMD_SOCKET_DIR        where the agent's sockets are\n"
	     "  CRAMD_HOOK_DEADLINE_MS  after how many milliseconds it ends");
	return strcmp(option, "--help") == 0 ? 0 : 2;
}

int main(int argc, char **argv)
{
	const char *operation, *why;
	struct cram_client *client;
	char *xml;

	if (argc == 2)
		return for_people(argv[1]);
	never_fail();
	if (argc < LIBVIRT_ARGS || !is_of_interest(argv[2]))
		return LET_IT_PASS;
	operation = argv[2];
	xml = read_xml();
	why = xml ? refusal(ask(operation, xml, &client)) : NULL;
	return why && strcmp(operation, "prepare") == 0 ? refuse(client, why) : LET_IT_PASS;
}
