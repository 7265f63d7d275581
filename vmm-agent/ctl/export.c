// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The host's figures in the forms that schedulers read; docs/use/fleet.md says how each does.
 */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/ctl.h"
#include "policy/saturate.h"
#include "protocol/model.h"
#include "util/cleanup.h"
#include "util/file.h"
#include "util/uuid.h"

/* The largest integer that the placement service keeps. */
#define PLACEMENT_MAX INT32_MAX
#define PROVIDER_MAX  200

static int get_host(const struct options *o, struct cram_host_report *ret)
{
	cleanup_json struct json_object *reply = NULL;
	struct json_object *host = NULL;
	struct cram_error err = { 0 };
	int r = call(o, CRAM_IFACE_STATUS, "GetStatus", NULL, &reply);

	if (r != EXIT_OK)
		return r;
	json_object_object_get_ex(reply, "host", &host);
	if (cram_decode_as(host, host, ret, &err) == 0 && ret->guaranteed / MiB == 0)
		cram_error_set(&err, -EAGAIN, "the host's figures", "export them",
			       "try again in a moment", "the agent has finished no round yet");
	if (err.code == 0)
		return EXIT_OK;
	complain(&err);
	return EXIT_FAILED;
}

/* The same, where what lasts is asked for: what is told once must not leave out a card. */
static int get_lasting_host(const struct options *o, struct cram_host_report *ret)
{
	struct cram_error err = { 0 };
	int r = get_host(o, ret);

	if (r != EXIT_OK)
		return r;
	if (!ret->lasting_known) {
		cram_error_set(&err, -EAGAIN, "the host's lasting figures", "export them",
			       "see cramctl node list, and export when the card is there or gone",
			       "a card has not been read yet, or is being taken offline");
		complain(&err);
		return EXIT_FAILED;
	}
	if (ret->lasting_tiers < MiB)
		fputs("cramctl: DRAM alone is exported: this host has no tier that [vm] or a "
		      "[match] rule of cramd.conf names\n",
		      stderr);
	return EXIT_OK;
}

static uint64_t whole_mib(uint64_t bytes)
{
	return min(bytes / MiB, PLACEMENT_MAX);
}

/*
 * What can be sold for as long as nobody changes the hardware or the reserve: swap that is free, a
 * ratio that is measured, what is sold already, and whether tiers take anything now are not in it.
 */
static uint64_t lasting_mib(const struct cram_host_report *h)
{
	return whole_mib(h->lasting);
}

static void put_inventory(FILE *f, const char *class, uint64_t total)
{
	fprintf(f,
		"        - %s:\n"
		"            total: %" PRIu64 "\n"
		"            reserved: 0\n"
		"            min_unit: 1\n"
		"            max_unit: %" PRIu64 "\n"
		"            step_size: 1\n"
		"            allocation_ratio: 1.0\n",
		class, total, total);
}

/* Quoted, so that no name is taken for something else. */
static void put_provider(FILE *f, const char *provider)
{
	char text[CRAM_UUID_TEXT];
	bool uuid = cram_uuid_parse(provider, text) == 0 || strcmp(provider, "$COMPUTE_NODE") == 0;

	fprintf(f, "      %s: '", uuid ? "uuid" : "name");
	for (const char *c = provider; *c; c++) {
		if (*c == '\'')
			fputc('\'', f);
		fputc(*c, f);
	}
	fputs("'\n", f);
}

static void put_nova(FILE *f, const char *provider, const struct cram_host_report *h)
{
	fputs("# Written by cramctl export nova-provider, read when nova-compute starts.\n"
	      "meta:\n"
	      "  schema_version: '1.0'\n"
	      "providers:\n"
	      "  - identification:\n",
	      f);
	put_provider(f, provider);
	fputs("    inventories:\n"
	      "      additional:\n",
	      f);
	put_inventory(f, "CUSTOM_CRAM_MEMORY_MB", lasting_mib(h));
	if (h->lasting_tiers < MiB)
		return;
	put_inventory(f, "CUSTOM_CRAM_TIER_MB", whole_mib(h->lasting_tiers));
	fputs("    traits:\n"
	      "      additional:\n"
	      "        - CUSTOM_CRAM_TIER\n",
	      f);
}

/* To the file of --output, as a whole or not at all, or to standard output. */
static int deliver(const struct options *o, const char *text, size_t size)
{
	struct cram_error err = { 0 };
	int r;

	if (!o->output) {
		fwrite(text, 1, size, stdout);
		return EXIT_OK;
	}
	r = cram_file_replace(o->output, text, size, 0644);
	if (r == 0)
		return EXIT_OK;
	cram_error_set(&err, r, o->output, "write it", NULL, "%s", strerror(-r));
	complain(&err);
	return EXIT_FAILED;
}

int run_export_nova(const struct options *o, int argc, char **argv)
{
	const char *provider = argc ? argv[0] : "$COMPUTE_NODE";
	cleanup_free char *text = NULL;
	struct cram_host_report host;
	size_t size;
	FILE *f;
	int r;

	for (const char *c = provider; *c; c++)
		if (iscntrl((unsigned char)*c))
			provider = "";
	if (!provider[0] || strlen(provider) > PROVIDER_MAX) {
		fprintf(stderr,
			"cramctl: a provider is a UUID or a name of 1 to %d bytes without "
			"control characters\n",
			PROVIDER_MAX);
		return EXIT_USAGE;
	}
	r = get_lasting_host(o, &host);
	if (r != EXIT_OK)
		return r;
	f = open_memstream(&text, &size);
	if (!f)
		return EXIT_FAILED;
	put_nova(f, provider, &host);
	return fclose(f) == 0 ? deliver(o, text, size) : EXIT_FAILED;
}

static int deliver_json(const struct options *o, struct json_object *value)
{
	size_t size;
	const char *json = json_object_to_json_string_length(
		value, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, &size);
	cleanup_free char *line = NULL;

	if (!json || asprintf(&line, "%s\n", json) < 0)
		return EXIT_FAILED;
	return deliver(o, line, size + 1);
}

/* One step of a JSON patch; "~1" is a slash in the name that the path ends with. */
static void add_capacity(struct json_object *patch, const char *resource, uint64_t count)
{
	struct json_object *step = json_object_new_object();
	char path[80], value[24];

	snprintf(path, sizeof(path), "/status/capacity/cramd.org~1%s", resource);
	snprintf(value, sizeof(value), "%" PRIu64, count);
	json_object_object_add(step, "op", json_object_new_string("add"));
	json_object_object_add(step, "path", json_object_new_string(path));
	json_object_object_add(step, "value", json_object_new_string(value));
	json_object_array_add(patch, step);
}

int run_export_k8s(const struct options *o, int argc, char **argv)
{
	cleanup_json struct json_object *patch = json_object_new_array();
	struct cram_host_report host;
	int r = get_lasting_host(o, &host);

	(void)argc;
	(void)argv;
	if (r != EXIT_OK)
		return r;
	add_capacity(patch, "memory-mib", lasting_mib(&host));
	add_capacity(patch, "tier-mib", whole_mib(host.lasting_tiers));
	return deliver_json(o, patch);
}

int run_export_placement(const struct options *o, int argc, char **argv)
{
	cleanup_json struct json_object *body = json_object_new_object();
	struct cram_host_report host;
	uint64_t generation, total;
	int r;

	(void)argc;
	if (argv[0][0] == '\0' || argv[0][strspn(argv[0], "0123456789")] != '\0' ||
	    cram_size_parse(argv[0], 1, &generation) < 0) {
		fprintf(stderr,
			"cramctl: the generation of a resource provider is a number, not %s\n",
			argv[0]);
		return EXIT_USAGE;
	}
	r = get_host(o, &host);
	if (r != EXIT_OK)
		return r;
	total = whole_mib(strcmp(host.sell, "expected") == 0 ? host.expected : host.guaranteed);
	json_object_object_add(body, "resource_provider_generation",
			       json_object_new_uint64(generation));
	json_object_object_add(body, "total", json_object_new_uint64(total));
	json_object_object_add(body, "reserved", json_object_new_int(0));
	json_object_object_add(body, "min_unit", json_object_new_int(1));
	json_object_object_add(body, "max_unit", json_object_new_uint64(total));
	json_object_object_add(body, "step_size", json_object_new_int(1));
	json_object_object_add(body, "allocation_ratio", json_object_new_double(1.0));
	return deliver_json(o, body);
}
