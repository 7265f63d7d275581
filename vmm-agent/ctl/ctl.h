/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the commands of cramctl share: the options, the exit codes, the table of commands. One
 * command is one function; nothing here is for the agent.
 */
#pragma once

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>

#include "protocol/protocol.h"

enum exit_code {
	EXIT_OK = 0,
	EXIT_FAILED = 1,   /* the agent or the system said no */
	EXIT_USAGE = 2,	   /* the command line is wrong */
	EXIT_NO_AGENT = 3, /* the agent cannot be reached */
	EXIT_NO_VM = 4,	   /* no such VM, card or node, or its name is ambiguous */
	EXIT_INVALID = 5,  /* a setting, file or configuration is not valid */
	EXIT_PARTIAL = 64, /* accepted or begun, but not all of it could be done (yet) */
};

struct options {
	bool json;
	const char *socket_dir;
	int timeout_ms;
	bool persist;
	bool wait;
	bool all;
	uint32_t wait_ms;
	uint32_t interval_ms;
	uint32_t count; /* 0: until interrupted */
	uint32_t rounds;
	const char *config;
	uint64_t fits; /* bytes; 0: not asked */
	const char *output;
};

/* Options a command takes beside those every command takes. */
#define TAKES_PERSIST  (1U << 0)
#define TAKES_WAIT     (1U << 1)
#define TAKES_INTERVAL (1U << 2)
#define TAKES_COUNT    (1U << 3)
#define TAKES_ROUNDS   (1U << 4)
#define TAKES_CONFIG   (1U << 5)
#define TAKES_ALL      (1U << 6)
#define TAKES_FITS     (1U << 7)
#define TAKES_OUTPUT   (1U << 8)

struct command {
	const char *group; /* "vm" of "vm list", NULL for one word */
	const char *name;
	const char *arguments;	/* as in the usage text */
	int min_args, max_args; /* -1: any number */
	unsigned int takes;
	int (*run)(const struct options *o, int argc, char **argv);
	const char *help;
};

extern const struct command commands[];
extern const size_t n_commands;

#define COMMAND_NAME_MAX 40 /* with its zero byte */
/* "node list"; returns @buf. */
const char *command_name(const struct command *c, char *buf, size_t size);
/* The command that the words of @argv were meant for, if one is near enough; else NULL. */
const struct command *nearest_command(int argc, char **argv);

int run_status(const struct options *o, int argc, char **argv);
int run_check(const struct options *o, int argc, char **argv);
int run_top(const struct options *o, int argc, char **argv);
int run_vm_list(const struct options *o, int argc, char **argv);
int run_vm_show(const struct options *o, int argc, char **argv);
int run_vm_explain(const struct options *o, int argc, char **argv);
int run_vm_add(const struct options *o, int argc, char **argv);
int run_node_list(const struct options *o, int argc, char **argv);
int run_node_show(const struct options *o, int argc, char **argv);
int run_node_online(const struct options *o, int argc, char **argv);
int run_node_offline(const struct options *o, int argc, char **argv);
int run_monitor(const struct options *o, int argc, char **argv);
int run_quota_get(const struct options *o, int argc, char **argv);
int run_quota_set(const struct options *o, int argc, char **argv);
int run_quota_list(const struct options *o, int argc, char **argv);
int run_quota_drop(const struct options *o, int argc, char **argv);
int run_pause(const struct options *o, int argc, char **argv);
int run_resume(const struct options *o, int argc, char **argv);
int run_drain(const struct options *o, int argc, char **argv);
int run_reload(const struct options *o, int argc, char **argv);
int run_validate(const struct options *o, int argc, char **argv);
int run_why_not(const struct options *o, int argc, char **argv);
int run_report(const struct options *o, int argc, char **argv);
int run_record(const struct options *o, int argc, char **argv);
int run_policy_simulate(const struct options *o, int argc, char **argv);
int run_export_nova(const struct options *o, int argc, char **argv);
int run_export_k8s(const struct options *o, int argc, char **argv);
int run_export_placement(const struct options *o, int argc, char **argv);
int run_help(const struct options *o, int argc, char **argv);

/* ------------------------------------------------------------------ shared by the commands */

/* "cramctl: MESSAGE" on stderr. */
void complain(const struct cram_error *err);
/* Connect to "control" or "status"; an exit code, complained about, or EXIT_OK. */
int open_client(const struct options *o, const char *interface, struct cram_client **ret);
/* One call on a new connection; same. *ret_reply is owned by the caller. */
int call(const struct options *o, const char *interface, const char *method,
	 struct json_object *parameters, struct json_object **ret_reply);
/* The same, with @err in place of the complaint. */
int try_call(const struct options *o, const char *interface, const char *method,
	     struct json_object *parameters, struct json_object **ret_reply,
	     struct cram_error *err);
/* Exit code of a failed client call; complains. */
int failed(int r, const char *remote_error, const struct cram_error *err);
/* {"vm": name} */
struct json_object *vm_parameters(const char *name);
/* One JSON value and a newline. */
int print_json(struct json_object *o, bool lines);
/* Takes control characters out of foreign text, in place; returns it. */
char *without_controls(char *text);
/* Columns of a terminal that print_text() takes without padding. */
int text_columns(const char *text);
/* Foreign text without control characters, padded to @width columns (negative: to the left). */
void print_text(const char *text, int width);
/* The table of tier nodes in a reply of GetStatus or ListNodes; an exit code. */
int print_nodes(struct json_object *reply);
/* The table of VMs in a reply of ListVms; an exit code. */
int print_vms(struct json_object *reply);
/* "  name   1.50 GiB   remark" */
void print_line(const char *name, uint64_t bytes, const char *remark);
/* "1.50 GiB" right-aligned. */
void print_size(uint64_t bytes, int width);

static inline void put_jsonp(struct json_object **o)
{
	json_object_put(*o);
}

static inline void free_clientp(struct cram_client **c)
{
	cram_client_free(*c);
}

#define cleanup_json   __attribute__((cleanup(put_jsonp)))
#define cleanup_client __attribute__((cleanup(free_clientp)))
