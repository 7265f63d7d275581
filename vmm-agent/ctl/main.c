// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * cramctl: the command line and its table of commands. The table gives the usage text; a test
 * compares it with the man page and the shell completion.
 */
#include <getopt.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/ctl.h"
#include "settings/settings.h"
#include "util/cleanup.h"
#include "util/duration.h"

const struct command commands[] = {
	{ NULL, "check", "", 0, 0, 0, run_check,
	  "what could be gained on this host, and what stands in the way" },
	{ NULL, "status", "", 0, 0, TAKES_FITS, run_status,
	  "the host: sold, promised, headroom, tiers; with --fits, whether one more VM fits" },
	{ NULL, "why-not", "[VM]", 0, 1, 0, run_why_not,
	  "what could still be gained, and what stands in the way" },
	{ NULL, "top", "", 0, 0, TAKES_INTERVAL | TAKES_COUNT, run_top,
	  "VMs and tiers, refreshed" },
	{ "vm", "list", "", 0, 0, 0, run_vm_list, "all VMs, one line each" },
	{ "vm", "show", "VM", 1, 1, 0, run_vm_show,
	  "one VM: its memory, its settings and where each comes from" },
	{ "vm", "explain", "VM", 1, 1, 0, run_vm_explain,
	  "why its memory is where it is, with the numbers that decided" },
	{ "vm", "add", "PID", 1, 1, 0, run_vm_add, "take in a QEMU that libvirt does not know" },
	{ "quota", "get", "VM", 1, 1, 0, run_quota_get, "settings in force and their origin" },
	{ "quota", "set", "VM [SIZE] [SETTING=VALUE...]", 2, -1, TAKES_PERSIST | TAKES_WAIT,
	  run_quota_set, "override settings; SETTING= drops an override" },
	{ "quota", "list", "", 0, 0, 0, run_quota_list,
	  "what is kept of VMs (--persist), also of those that are gone" },
	{ "quota", "drop", "VM", 1, 1, 0, run_quota_drop,
	  "drop all overrides of a VM, also of one that is gone" },
	{ NULL, "pause", "[VM]", 0, 1, 0, run_pause, "stop demotion of a VM or of the host" },
	{ NULL, "resume", "[VM]", 0, 1, 0, run_resume, "undo pause or drain" },
	{ NULL, "drain", "VM | --all", 0, 1, TAKES_WAIT | TAKES_ALL, run_drain,
	  "bring a VM's memory home, or everything" },
	{ NULL, "reload", "", 0, 0, 0, run_reload, "read the configuration again" },
	{ "node", "list", "", 0, 0, 0, run_node_list, "tier nodes and CXL memory cards" },
	{ "node", "show", "CARD | NODE", 1, 1, 0, run_node_show,
	  "one card: what it is, its node, its counters" },
	{ "node", "online", "CARD", 1, 1, 0, run_node_online,
	  "make a card a node; one that compresses is guarded" },
	{ "node", "offline", "CARD | NODE", 1, 1, TAKES_WAIT, run_node_offline,
	  "take a card's memory away" },
	{ NULL, "monitor", "", 0, 0, TAKES_COUNT, run_monitor, "events as they happen" },
	{ NULL, "validate", "FILE", 1, 1, 0, run_validate,
	  "check a domain XML, a <tiering> element or a configuration (*.conf)" },
	{ NULL, "report", "[FILE]", 0, 1, 0, run_report,
	  "what support wants to see, in one tar file, nothing of guests' memory" },
	{ NULL, "record", "[FILE]", 0, 1, TAKES_INTERVAL | TAKES_COUNT, run_record,
	  "what every round decides on, for policy simulate" },
	{ "policy", "simulate", "FILE", 1, 1, TAKES_ROUNDS | TAKES_INTERVAL | TAKES_CONFIG,
	  run_policy_simulate, "decide on what was recorded, without the agent" },
	{ "export", "nova-provider", "[PROVIDER]", 0, 1, TAKES_OUTPUT, run_export_nova,
	  "the host's lasting figures as a provider configuration file of Nova" },
	{ "export", "k8s", "", 0, 0, TAKES_OUTPUT, run_export_k8s,
	  "the same as a patch of a Kubernetes node's status" },
	{ "export", "placement", "GENERATION", 1, 1, TAKES_OUTPUT, run_export_placement,
	  "what can be sold now as an inventory for OpenStack's placement service" },
	{ NULL, "help", "[COMMAND]", 0, 2, 0, run_help, "this text, or what a command is for" },
};
const size_t n_commands = ARRAY_SIZE(commands);

enum {
	OPT_SOCKET_DIR = 256,
	OPT_TIMEOUT,
	OPT_PERSIST,
	OPT_WAIT,
	OPT_ALL,
	OPT_INTERVAL,
	OPT_COUNT,
	OPT_ROUNDS,
	OPT_CONFIG,
	OPT_FITS,
	OPT_OUTPUT,
};

static const struct option long_options[] = {
	{ "json", no_argument, NULL, 'j' },
	{ "socket-dir", required_argument, NULL, OPT_SOCKET_DIR },
	{ "timeout", required_argument, NULL, OPT_TIMEOUT },
	{ "persist", no_argument, NULL, OPT_PERSIST },
	{ "wait", required_argument, NULL, OPT_WAIT },
	{ "all", no_argument, NULL, OPT_ALL },
	{ "interval", required_argument, NULL, OPT_INTERVAL },
	{ "count", required_argument, NULL, OPT_COUNT },
	{ "rounds", required_argument, NULL, OPT_ROUNDS },
	{ "config", required_argument, NULL, OPT_CONFIG },
	{ "fits", required_argument, NULL, OPT_FITS },
	{ "output", required_argument, NULL, OPT_OUTPUT },
	{ "help", no_argument, NULL, 'h' },
	{ "version", no_argument, NULL, 'V' },
	{ 0 },
};

/* Options in the order of the usage text, by the commands that take them; 0: all. */
static const struct {
	unsigned int taken_by;
	const char *option, *help;
} option_texts[] = {
	{ 0, "-j, --json", "machine-readable output" },
	{ 0, "    --socket-dir DIR", "where the agent's sockets are (default /run/cramd)" },
	{ 0, "    --timeout SECONDS", "how long to wait for an answer (default 10)" },
	{ TAKES_PERSIST, "    --persist", "quota set: keep after the VM stops" },
	{ TAKES_WAIT, "    --wait SECONDS",
	  "quota set, drain, node offline: wait so long until it is done" },
	{ TAKES_ALL, "    --all", "drain: all VMs, and those to come, until resume" },
	{ TAKES_INTERVAL, "    --interval SECONDS",
	  "top, record, policy simulate: step (default 2)" },
	{ TAKES_COUNT, "    --count N", "top, monitor, record: stop after N" },
	{ TAKES_ROUNDS, "    --rounds N", "policy simulate: rounds (default 1)" },
	{ TAKES_CONFIG, "    --config FILE", "policy simulate: configuration with the parameters" },
	{ TAKES_FITS, "    --fits SIZE", "status: does one more VM of so much RAM fit?" },
	{ TAKES_OUTPUT, "    --output FILE", "export: write FILE, as a whole or not at all" },
	{ 0, "-h, --help", "this text" },
	{ 0, "-V, --version", "the version" },
};

static void print_options(FILE *f, unsigned int takes)
{
	fputs("\nOptions:\n", f);
	for (size_t i = 0; i < ARRAY_SIZE(option_texts); i++)
		if (!option_texts[i].taken_by || option_texts[i].taken_by & takes)
			fprintf(f, "  %-24s %s\n", option_texts[i].option, option_texts[i].help);
	fputs("\nSee cramctl(8).\n", f);
}

const char *command_name(const struct command *c, char *buf, size_t size)
{
	snprintf(buf, size, "%s%s%s", c->group ? c->group : "", c->group ? " " : "", c->name);
	return buf;
}

static void usage(FILE *f)
{
	fputs("Usage: cramctl [OPTION...] COMMAND [ARGUMENT...]\n\nCommands:\n", f);
	for (size_t i = 0; i < n_commands; i++) {
		const struct command *c = &commands[i];
		char name[COMMAND_NAME_MAX], text[80];

		snprintf(text, sizeof(text), "%s %s", command_name(c, name, sizeof(name)),
			 c->arguments);
		fprintf(f, "  %-44s %s\n", text, c->help);
	}
	print_options(f, ~0U);
}

static void command_usage(FILE *f, const struct command *c)
{
	char name[COMMAND_NAME_MAX];

	fprintf(f, "Usage: cramctl [OPTION...] %s%s%s\n\n%s\n", command_name(c, name, sizeof(name)),
		c->arguments[0] ? " " : "", c->arguments, c->help);
	print_options(f, c->takes);
}

static int usage_error(const char *what, const char *arg)
{
	fprintf(stderr, "cramctl: %s%s%s; see cramctl --help\n", what, arg ? " " : "",
		arg ? arg : "");
	return EXIT_USAGE;
}

/* The command is known, and what it is given is not what it takes. */
static int command_error(const struct command *c, const char *what, const char *arg)
{
	char name[COMMAND_NAME_MAX];

	command_name(c, name, sizeof(name));
	fprintf(stderr, "cramctl: %s: %s %s; see cramctl help %s\n", name, what, arg, name);
	return EXIT_USAGE;
}

/* The first of the options @given that are for other commands. */
static int option_error(const struct command *c, unsigned int given)
{
	char option[32];

	for (size_t i = 0; i < ARRAY_SIZE(option_texts); i++) {
		if (!(option_texts[i].taken_by & given & ~c->takes))
			continue;
		sscanf(option_texts[i].option, " %31s", option);
		return command_error(c, "it does not take", option);
	}
	return EXIT_OK;
}

static bool number(const char *text, uint32_t min, uint32_t max, uint32_t *ret)
{
	uint64_t v;

	if (text[0] == '\0' || text[strspn(text, "0123456789")] != '\0' ||
	    cram_size_parse(text, 1, &v) < 0 || v < min || v > max)
		return false;
	*ret = (uint32_t)v;
	return true;
}

/* A span of 1 s to a day: bare seconds, or with a unit as in cramd.conf. */
static bool span(const char *text, uint32_t *ret_ms)
{
	uint64_t ms;
	bool bare = text[0] != '\0' && text[strspn(text, "0123456789")] == '\0';

	if (cram_duration_parse(text, bare ? DURATION_S : DURATION_MS, &ms) < 0)
		return false;
	if (bare && __builtin_mul_overflow(ms, 1000, &ms))
		return false;
	if (ms < 1000 || ms > 86400000)
		return false;
	*ret_ms = (uint32_t)ms;
	return true;
}

static int parse_option(int c, struct options *o, unsigned int *given)
{
	uint32_t v;

	switch (c) {
	case 'j':
		o->json = true;
		return EXIT_OK;
	case OPT_SOCKET_DIR:
		o->socket_dir = optarg;
		return EXIT_OK;
	case OPT_TIMEOUT:
		if (!span(optarg, &v))
			return usage_error("--timeout takes 1 to 86400 seconds, not", optarg);
		o->timeout_ms = (int)v;
		return EXIT_OK;
	case OPT_PERSIST:
		*given |= TAKES_PERSIST;
		o->persist = true;
		return EXIT_OK;
	case OPT_WAIT:
		*given |= TAKES_WAIT;
		o->wait = true;
		if (!span(optarg, &o->wait_ms))
			return usage_error("--wait takes 1 to 86400 seconds, not", optarg);
		return EXIT_OK;
	case OPT_ALL:
		*given |= TAKES_ALL;
		o->all = true;
		return EXIT_OK;
	case OPT_INTERVAL:
		*given |= TAKES_INTERVAL;
		if (!span(optarg, &o->interval_ms))
			return usage_error("--interval takes 1 to 86400 seconds, not", optarg);
		return EXIT_OK;
	case OPT_COUNT:
		*given |= TAKES_COUNT;
		if (!number(optarg, 1, 1000000000, &o->count))
			return usage_error("--count takes a number from 1, not", optarg);
		return EXIT_OK;
	case OPT_ROUNDS:
		*given |= TAKES_ROUNDS;
		if (!number(optarg, 1, 1000000, &o->rounds))
			return usage_error("--rounds takes 1 to 1000000, not", optarg);
		return EXIT_OK;
	case OPT_CONFIG:
		*given |= TAKES_CONFIG;
		o->config = optarg;
		return EXIT_OK;
	case OPT_FITS:
		*given |= TAKES_FITS;
		if (cram_size_parse(optarg, 0, &o->fits) < 0 || o->fits == 0)
			return usage_error("--fits takes a size with its unit, such as 4GiB, not",
					   optarg);
		return EXIT_OK;
	case OPT_OUTPUT:
		*given |= TAKES_OUTPUT;
		o->output = optarg;
		return EXIT_OK;
	default:
		return usage_error("wrong option", NULL);
	}
}

static const struct command *find_command(int argc, char **argv, int *ret_words)
{
	for (size_t i = 0; i < n_commands; i++) {
		const struct command *c = &commands[i];

		*ret_words = c->group ? 2 : 1;
		if (argc < *ret_words || strcmp(argv[*ret_words - 1], c->name) != 0)
			continue;
		if (!c->group || strcmp(argv[0], c->group) == 0)
			return c;
	}
	return NULL;
}

static bool is_group(const char *word)
{
	for (size_t i = 0; i < n_commands; i++)
		if (commands[i].group && strcmp(commands[i].group, word) == 0)
			return true;
	return false;
}

static int no_such_command(int argc, char **argv)
{
	bool group = is_group(argv[0]);
	const struct command *nearest = group && argc == 1 ? NULL : nearest_command(argc, argv);
	char name[COMMAND_NAME_MAX];

	if (group && argc == 1) {
		fprintf(stderr, "cramctl: %s what? ", argv[0]);
		for (size_t i = 0, n = 0; i < n_commands; i++)
			if (commands[i].group && strcmp(commands[i].group, argv[0]) == 0)
				fprintf(stderr, "%s%s", n++ ? ", " : "", commands[i].name);
		fputs("; see cramctl --help\n", stderr);
		return EXIT_USAGE;
	}
	fprintf(stderr, "cramctl: no such command: %s%s%s; ", argv[0], group ? " " : "",
		group ? argv[1] : "");
	if (nearest)
		fprintf(stderr, "did you mean \"%s\"? See also cramctl --help\n",
			command_name(nearest, name, sizeof(name)));
	else
		fputs("see cramctl --help\n", stderr);
	return EXIT_USAGE;
}

static int help_on(int argc, char **argv)
{
	const struct command *command;
	bool found = false;
	int words;

	if (argc == 0) {
		usage(stdout);
		return EXIT_OK;
	}
	command = find_command(argc, argv, &words);
	if (command && words == argc) {
		command_usage(stdout, command);
		return EXIT_OK;
	}
	/* Of a group, all of it. */
	for (size_t i = 0; i < n_commands && argc == 1; i++) {
		if (!commands[i].group || strcmp(commands[i].group, argv[0]) != 0)
			continue;
		if (found)
			putchar('\n');
		found = true;
		command_usage(stdout, &commands[i]);
	}
	return found ? EXIT_OK : no_such_command(argc, argv);
}

int run_help(const struct options *o, int argc, char **argv)
{
	(void)o;
	return help_on(argc, argv);
}

int main(int argc, char **argv)
{
	struct options o = {
		.socket_dir = "/run/cramd",
		.timeout_ms = 10000,
		.interval_ms = 2000,
		.rounds = 1,
	};
	const struct command *command;
	unsigned int given = 0;
	bool help = false;
	int c, r, words;

	while ((c = getopt_long(argc, argv, "jhV", long_options, NULL)) != -1) {
		if (c == 'h') {
			help = true;
			continue;
		}
		if (c == 'V') {
			puts("cramctl " CRAM_VERSION);
			return EXIT_OK;
		}
		r = parse_option(c, &o, &given);
		if (r != EXIT_OK)
			return r;
	}
	argc -= optind;
	argv += optind;
	if (argc == 0 && !help)
		return usage_error("a command is missing", NULL);
	command = find_command(argc, argv, &words);
	if (help)
		return help_on(command ? words : argc, argv);
	if (!command)
		return no_such_command(argc, argv);
	argc -= words;
	argv += words;
	if (argc < command->min_args)
		return command_error(command, "arguments are missing:", command->arguments);
	if (command->max_args >= 0 && argc > command->max_args)
		return command_error(command, "too many arguments:", argv[command->max_args]);
	r = option_error(command, given);
	if (r != EXIT_OK)
		return r;
	r = command->run(&o, argc, argv);
	/* Output that could not be written is a failure: a script must not act on half a list. */
	if (fflush(stdout) != 0 || ferror(stdout)) {
		perror("cramctl: standard output");
		return r == EXIT_OK ? EXIT_FAILED : r;
	}
	return r;
}
