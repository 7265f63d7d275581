// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The commands about nodes: the cards as the kernel has them, beside what the agent says of its
 * tiers. They work without the agent, which is asked and need not answer.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ctl/card.h"
#include "ctl/ctl.h"
#include "protocol/model.h"
#include "util/cleanup.h"
#include "util/plural.h"
#include "util/size.h"

#define OFFLINE_MS 60000 /* without --wait */

static void free_cards(struct cards *cards)
{
	array_free(cards);
}

#define cleanup_cards __attribute__((cleanup(free_cards)))

static const char *kind_text(const struct card *card)
{
	static const char *const texts[] = {
		[CARD_PLAIN] = "plain",
		[CARD_COMPRESSES] = "compresses",
		[CARD_UNKNOWN] = "unknown",
	};

	return texts[card->kind];
}

static bool guarded(const struct card *card)
{
	return strcmp(card->driver, "cxl_compression") == 0;
}

/* One word or two for what the card is now; a node of CRAM's has its own. */
static const char *state_text(const struct card *card, char *buf, size_t size)
{
	if (!card->enabled)
		return "no driver";
	if (!card->region[0])
		return "unused";
	if (!card->blocks || !card->online)
		return "offline";
	if (card->kind == CARD_COMPRESSES && !guarded(card))
		return "UNGUARDED";
	if (card->online < card->blocks)
		return "partly online";
	if (node_cram(card->nid, "state", buf, size) == 0)
		return buf;
	return "online";
}

static void add_text(struct json_object *o, const char *key, const char *text)
{
	json_object_object_add(o, key, json_object_new_string(text));
}

static void add_number(struct json_object *o, const char *key, uint64_t value)
{
	json_object_object_add(o, key, json_object_new_uint64(value));
}

static struct json_object *card_json(const struct card *card)
{
	struct json_object *o = json_object_new_object();
	char text[64];

	add_text(o, "card", card->name);
	snprintf(text, sizeof(text), "0x%" PRIx64, card->serial);
	add_text(o, "serial", text);
	add_text(o, "pci", card->pci);
	add_text(o, "firmware", card->firmware);
	add_text(o, "kind", kind_text(card));
	add_number(o, "size", card->ram);
	json_object_object_add(o, "near", json_object_new_int(card->near));
	add_text(o, "region", card->region);
	add_text(o, "driver", card->driver);
	add_number(o, "ways", card->ways);
	json_object_object_add(o, "nid", json_object_new_int(card->nid));
	add_number(o, "blocks", card->blocks);
	add_number(o, "blocks_online", card->online);
	add_text(o, "state", state_text(card, text, sizeof(text)));
	return o;
}

/* What the agent says of its tier nodes; NULL with @err if it does not answer. */
static struct json_object *ask_agent(const struct options *o, struct cram_error *err)
{
	struct json_object *reply = NULL;

	return try_call(o, CRAM_IFACE_STATUS, "ListNodes", NULL, &reply, err) == EXIT_OK ? reply
											 : NULL;
}

/* The agent's report on node @nid; false: it has none. */
static bool find_report(struct json_object *reply, int nid, struct cram_node_report *ret)
{
	struct json_object *nodes;

	if (!reply || nid < 0 || !json_object_object_get_ex(reply, "nodes", &nodes) ||
	    !json_object_is_type(nodes, json_type_array))
		return false;
	for (size_t i = 0; i < json_object_array_length(nodes); i++)
		if (cram_decode_as(node, json_object_array_get_idx(nodes, i), ret, NULL) == 0 &&
		    ret->nid == nid)
			return true;
	return false;
}

static void print_card(const struct card *card)
{
	char serial[24], node[16] = "-", state[32];

	snprintf(serial, sizeof(serial), "0x%" PRIx64, card->serial);
	if (card->nid >= 0)
		snprintf(node, sizeof(node), "%d", card->nid);
	printf("%-6s %-18s", card->name, serial);
	print_size(card->ram, 11);
	printf("  %-11s %-9s %-5s ", kind_text(card), card->region[0] ? card->region : "-", node);
	print_text(state_text(card, state, sizeof(state)), 0);
	putchar('\n');
}

int run_node_list(const struct options *o, int argc, char **argv)
{
	cleanup_json struct json_object *reply = NULL, *out = NULL;
	cleanup_cards struct cards cards = { 0 };
	struct cram_error err = { 0 };
	struct json_object *list, *nodes = NULL;

	(void)argc;
	(void)argv;
	if (cards_read(&cards, &err) < 0) {
		complain(&err);
		return EXIT_FAILED;
	}
	reply = ask_agent(o, &err);
	if (!reply)
		complain(&err);
	if (o->json) {
		out = json_object_new_object();
		list = json_object_new_array();
		if (reply && json_object_object_get_ex(reply, "nodes", &nodes))
			json_object_get(nodes);
		json_object_object_add(out, "nodes", nodes);
		for (size_t i = 0; i < cards.n; i++)
			json_object_array_add(list, card_json(&cards.v[i]));
		json_object_object_add(out, "cards", list);
		return print_json(out, false);
	}
	if (reply && print_nodes(reply) != EXIT_OK)
		return EXIT_FAILED;
	if (!cards.n) {
		puts("no CXL memory card");
		return EXIT_OK;
	}
	printf("%s%-6s %-18s %10s  %-11s %-9s %-5s %s\n", reply ? "\n" : "", "CARD", "SERIAL",
	       "SIZE", "KIND", "REGION", "NODE", "STATE");
	for (size_t i = 0; i < cards.n; i++)
		print_card(&cards.v[i]);
	return EXIT_OK;
}

/* ------------------------------------------------------------------ one of them */

/* The files of a node of CRAM's, and what they are for a person; bytes where not said otherwise. */
static const struct counter {
	const char *file, *text;
	bool number; /* no bytes */
} counters[] = {
	{ "logical_bytes", "seen by the kernel", false },
	{ "physical_bytes", "the card can store", false },
	{ "stored_bytes", "the card stores", false },
	{ "resident_bytes", "pages there", false },
	{ "credit_bytes", "room given out", false },
	{ "unsettled_bytes", "written, not reported yet", false },
	{ "reserve_bytes", "kept back", false },
	{ "quarantined_bytes", "freed, not trimmed yet", false },
	{ "generation", "generation of the report", true },
	{ "pressure", "pressure, thousandths", true },
};

static void print_counters(int nid)
{
	char text[4096];

	if (node_cram(nid, "state", text, sizeof(text)) < 0)
		return;
	printf("compressed RAM, state %s\n", text);
	for (size_t i = 0; i < ARRAY_SIZE(counters); i++) {
		if (node_cram(nid, counters[i].file, text, sizeof(text)) < 0)
			continue;
		if (counters[i].number)
			printf("  %-26s%12s\n", counters[i].text, text);
		else
			print_line(counters[i].text, strtoull(text, NULL, 10), "");
	}
	if (node_cram(nid, "stats", text, sizeof(text)) < 0)
		return;
	puts("events since the node came");
	for (char *line = text, *next; line && *line; line = next) {
		char *value = strchr(line, ' ');

		next = strchr(line, '\n');
		if (next)
			*next++ = '\0';
		if (!value)
			continue;
		*value++ = '\0';
		printf("  %-26s%12s\n", line, value);
	}
}

static struct json_object *counters_json(int nid)
{
	struct json_object *o;
	char text[4096];

	if (nid < 0 || node_cram(nid, "state", text, sizeof(text)) < 0)
		return NULL;
	o = json_object_new_object();
	add_text(o, "state", text);
	for (size_t i = 0; i < ARRAY_SIZE(counters); i++)
		if (node_cram(nid, counters[i].file, text, sizeof(text)) == 0)
			add_number(o, counters[i].file, strtoull(text, NULL, 10));
	if (node_cram(nid, "stats", text, sizeof(text)) == 0)
		for (char *line = text, *next; line && *line; line = next) {
			char *value = strchr(line, ' ');

			next = strchr(line, '\n');
			if (next)
				*next++ = '\0';
			if (!value)
				continue;
			*value++ = '\0';
			add_number(o, line, strtoull(value, NULL, 10));
		}
	return o;
}

static void print_agents(const struct cram_node_report *report)
{
	printf("tier %s of the agent, %s, %" PRIu64 " VM%s\n", report->tier, report->state,
	       report->vms, plural(report->vms));
	print_line("offered to VMs", report->budget, "");
	print_line("guest memory there", report->used, "");
	print_line("device bytes taken", report->device_bytes, "");
	print_line("room now", report->free, "");
}

static void print_all(const struct card *card)
{
	uint64_t used;
	char text[32];

	printf("%s  serial 0x%" PRIx64 ", at %s, firmware ", card->name, card->serial, card->pci);
	print_text(card->firmware, 0);
	printf("\n  %s%s%s%s\n", kind_text(card), card->kind == CARD_UNKNOWN ? ": " : "",
	       card->kind == CARD_UNKNOWN ? strerror(-card->error) : "",
	       card->kind == CARD_COMPRESSES && card->online && !guarded(card)
		       ? ", and NOTHING guards it: cramctl node offline it at once"
		       : "");
	print_line("volatile memory", card->ram, "");
	if (!card->region[0]) {
		printf("  %s\n", state_text(card, text, sizeof(text)));
		return;
	}
	printf("  %s, driver %s, of %u card%s\n", card->region,
	       card->driver[0] ? card->driver : "none", card->ways, card->ways == 1 ? "" : "s");
	if (card->nid < 0)
		return;
	printf("node %d, %s, %u of %u blocks of memory online\n", card->nid,
	       state_text(card, text, sizeof(text)), card->online, card->blocks);
	if (node_in_use(card->nid, &used) == 0)
		print_line("in use", used, "");
	print_counters(card->nid);
}

/* An exit code; the card that the operator means. */
static int find_card(const char *word, struct cards *cards, const struct card **ret)
{
	struct cram_error err = { 0 };
	int r = cards_read(cards, &err);

	if (r == 0)
		r = cards_find(cards, word, ret, &err);
	if (r == 0)
		return EXIT_OK;
	complain(&err);
	return r == -ENOENT || r == -ENOTUNIQ ? EXIT_NO_VM : EXIT_FAILED;
}

/* The number of the node that a word names, -1: none. */
static int node_number(const char *word)
{
	int nid, n;

	if (strncmp(word, "node", 4) == 0)
		word += 4;
	if (*word < '0' || *word > '9' || sscanf(word, "%d%n", &nid, &n) != 1 || word[n])
		return -1;
	return nid;
}

int run_node_show(const struct options *o, int argc, char **argv)
{
	cleanup_json struct json_object *reply = NULL, *out = NULL;
	cleanup_cards struct cards cards = { 0 };
	struct cram_node_report report;
	const struct card *card = NULL;
	struct cram_error err = { 0 };
	bool is_tier;
	int r;

	(void)argc;
	reply = ask_agent(o, &err);
	/* A tier need not be a card's. */
	is_tier = find_report(reply, node_number(argv[0]), &report);
	if (is_tier && cards_read(&cards, &err) == 0)
		cards_find(&cards, argv[0], &card, NULL);
	if (!is_tier) {
		r = find_card(argv[0], &cards, &card);
		if (r != EXIT_OK)
			return r;
		is_tier = find_report(reply, card->nid, &report);
	}
	if (o->json) {
		out = card ? card_json(card) : json_object_new_object();
		json_object_object_add(out, "cram", card ? counters_json(card->nid) : NULL);
		json_object_object_add(out, "agent",
				       is_tier ? cram_encode_as(node, &report) : NULL);
		return print_json(out, false);
	}
	if (card)
		print_all(card);
	else
		printf("node %d, of no CXL card\n", report.nid);
	if (is_tier)
		print_agents(&report);
	return EXIT_OK;
}

/* ------------------------------------------------------------------ up and down */

static int root_only(const char *command)
{
	if (geteuid() == 0)
		return EXIT_OK;
	fprintf(stderr, "cramctl: node %s changes what memory this host has: run it as root\n",
		command);
	return EXIT_FAILED;
}

/* The card that a command is to change. */
static int find_card_to_change(const char *command, const char *word, struct cards *cards,
			       const struct card **ret)
{
	int r = find_card(word, cards, ret);

	return r == EXIT_OK ? root_only(command) : r;
}

/* What has become of the card. */
static int say(const struct options *o, const struct card *before)
{
	cleanup_json struct json_object *out = NULL;
	cleanup_cards struct cards cards = { 0 };
	const struct card *card;
	char size[32], state[32];
	int r = find_card(before->name, &cards, &card);

	if (r != EXIT_OK)
		return r;
	if (o->json) {
		out = card_json(card);
		return print_json(out, false);
	}
	printf("%s: ", card->name);
	if (card->nid >= 0)
		printf("node %d, %s, %s, ", card->nid, kind_text(card),
		       cram_size_format(card->size, size, sizeof(size)));
	print_text(state_text(card, state, sizeof(state)), 0);
	putchar('\n');
	return EXIT_OK;
}

int run_node_online(const struct options *o, int argc, char **argv)
{
	cleanup_cards struct cards cards = { 0 };
	struct cram_error err = { 0 };
	const struct card *card;
	int r = find_card_to_change("online", argv[0], &cards, &card);

	(void)argc;
	if (r != EXIT_OK)
		return r;
	if (card_online(card, &err) < 0) {
		complain(&err);
		return EXIT_FAILED;
	}
	return say(o, card);
}

/* Guests' memory goes home by the agent, which knows floors and headroom, not by the kernel. */
static int in_use_by_vms(const struct options *o, const struct card *card)
{
	cleanup_json struct json_object *reply = ask_agent(o, NULL);
	struct cram_node_report report;
	char size[32];

	if (!find_report(reply, card->nid, &report) || report.vms == 0)
		return EXIT_OK;
	fprintf(stderr,
		"cramctl: %s: cannot take node %d away: %" PRIu64 " VM%s %s there; bring that home "
		"first: cramctl drain --all --wait 600\n",
		card->name, card->nid, report.vms, report.vms == 1 ? " has" : "s have",
		cram_size_format(report.used, size, sizeof(size)));
	return EXIT_FAILED;
}

int run_node_offline(const struct options *o, int argc, char **argv)
{
	cleanup_cards struct cards cards = { 0 };
	struct cram_error err = { 0 };
	const struct card *card;
	int r = find_card_to_change("offline", argv[0], &cards, &card);

	(void)argc;
	if (r == EXIT_OK)
		r = in_use_by_vms(o, card);
	if (r != EXIT_OK)
		return r;
	if (card_offline(card, (o->wait ? o->wait_ms : OFFLINE_MS) / 1000, &err) < 0) {
		complain(&err);
		return EXIT_FAILED;
	}
	return say(o, card);
}
