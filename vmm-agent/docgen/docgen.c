// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Documentation from the tables that drive the code: the options of cramd.conf(5) in scdoc, a
 * cramd.conf to begin with, and docs/reference/metrics.md. Runs at build time only.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "protocol/durations.h"
#include "protocol/model.h"
#include "settings/settings.h"

/* scdoc takes a bare underscore or asterisk for markup. */
static void put_scdoc(const char *text)
{
	for (; *text; text++) {
		if (strchr("_*#<\\", *text))
			putchar('\\');
		putchar(*text);
	}
}

static void put_range(const struct cram_option *o)
{
	char lo[32], hi[32];

	switch (o->type) {
	case CRAM_OPT_U32:
		printf(", %" PRIu64 " to %" PRIu64 " ", o->min, o->max);
		put_scdoc(o->unit);
		break;
	case CRAM_OPT_BYTES:
		printf(", %s to %s", cram_size_format(o->min, lo, sizeof(lo)),
		       cram_size_format(o->max, hi, sizeof(hi)));
		if (strcmp(o->unit, "bytes") != 0)
			fputs(" per second", stdout);
		break;
	case CRAM_OPT_NODES:
	case CRAM_OPT_TEXT:
	case CRAM_OPT_CHOICE:
		break;
	}
}

static void options(void)
{
	const char *section = "";

	for (size_t i = 0; i < cram_n_options; i++) {
		const struct cram_option *o = &cram_options[i];

		if (strcmp(section, o->section) != 0) {
			printf("## [%s]\n\n", o->section);
			section = o->section;
		}
		fputs("*", stdout);
		put_scdoc(o->key);
		fputs("*\n\tDefault: ", stdout);
		put_scdoc(o->def);
		put_range(o);
		fputs(".\n\t", stdout);
		put_scdoc(o->reason);
		fputs("\n\n", stdout);
	}
}

/* @text as a comment, in lines of at most 100 columns. */
static void put_comment(const char *text)
{
	size_t column = 1;

	putchar('#');
	while (*text) {
		size_t n = strcspn(text, " ");

		if (column + 1 + n > 100) {
			fputs("\n#", stdout);
			column = 1;
		}
		printf(" %.*s", (int)n, text);
		column += 1 + n;
		text += n;
		text += strspn(text, " ");
	}
	putchar('\n');
}

/* Nothing is set in it: a later release's defaults come through. */
static void configuration(void)
{
	const char *section = "";

	puts("# SPDX-License-Identifier: GPL-2.0-or-later\n"
	     "# Configuration of cramd(8); see cramd.conf(5). What is commented out is the default.\n"
	     "# \"cramctl reload\" puts a change in force, \"cramctl validate FILE\" checks one.\n"
	     "\n"
	     "# What holds for a VM unless a [match NAME] or its domain XML says otherwise.\n"
	     "[vm]\n"
	     "#mode = monitor\n"
	     "#quota = unlimited\n"
	     "#hard_limit = unlimited\n"
	     "#floor = 50%\n"
	     "#weight = 100\n"
	     "#cold_age = auto\n"
	     "#tiers = cram");
	for (size_t i = 0; i < cram_n_options; i++) {
		const struct cram_option *o = &cram_options[i];

		if (strcmp(section, o->section) != 0) {
			printf("\n[%s]\n", o->section);
			section = o->section;
		}
		put_comment(o->reason);
		printf("#%s = %s\n", o->key, o->def);
	}
}

static void fields(const char *title, const struct cram_field *f, size_t n)
{
	static const char *const types[] = {
		[CRAM_FIELD_U64] = "integer", [CRAM_FIELD_U32] = "integer",
		[CRAM_FIELD_I32] = "integer", [CRAM_FIELD_BOOL] = "bool",
		[CRAM_FIELD_TEXT] = "string", [CRAM_FIELD_VALUE] = "number, string or null",
	};

	printf("\n## %s\n\n| key | type | metric | meaning |\n|---|---|---|---|\n", title);
	for (size_t i = 0; i < n; i++) {
		printf("| `%s` | %s | ", f[i].name, types[f[i].type]);
		if (f[i].kind == CRAM_METRIC_STATE)
			printf("label of `%s` (gauge)", f[i].metric);
		else if (f[i].metric)
			printf("`%s` (%s)", f[i].metric,
			       f[i].kind == CRAM_METRIC_COUNTER ? "counter" : "gauge");
		else if (f[i].kind == CRAM_METRIC_INFO)
			printf("label of `cram_%s_info` (gauge)",
			       strcmp(title, "host") == 0 ? "agent" : title);
		else
			fputs("–", stdout);
		printf(" | %s |\n", f[i].help);
	}
}

static void metrics(void)
{
	puts("<!-- SPDX-License-Identifier: GPL-2.0-or-later -->\n"
	     "<!-- Generated from vmm-agent/protocol/model.c by vmm-agent/docgen: edit the tables there. -->\n"
	     "# Reports and metrics\n\n"
	     "The keys are those of the messages on the sockets ([protocol.md](protocol.md)); the metrics are\n"
	     "what `cram-exporter` makes of them. `cram_up` is 1 when the agent answered the scrape; when it\n"
	     "is 0 no other series is there. Series of a VM carry `domain` and `uuid`, series of a home\n"
	     "node `node`, series of a tier node `node` and `tier`. `cram_agent_info`, and `cram_vm_info` and `cram_node_info` of each VM\n"
	     "and tier node, are 1: what they say is in their labels. Limits that are not set are `null` in a message and `+Inf` in a metric.");
	fields("host", cram_host_fields, cram_n_host_fields);
	fields("dram", cram_dram_fields, cram_n_dram_fields);
	fields("node", cram_node_fields, cram_n_node_fields);
	fields("vm", cram_vm_fields, cram_n_vm_fields);
	fields("reason", cram_reason_fields, cram_n_reason_fields);
	fields("setting", cram_setting_fields, cram_n_setting_fields);
	fields("finding", cram_check_fields, cram_n_check_fields);
	fields("override", cram_override_fields, cram_n_override_fields);
	fields("event", cram_event_fields, cram_n_event_fields);
	puts("\n## Findings\n\n"
	     "What `cramctl check` says, by its code. Of a VM that cannot be tiered the code is the reason,\n"
	     "[one of these](../use/alerts.md#cramvmineligible).\n\n"
	     "| code | meaning | what to do |\n|---|---|---|");
	for (unsigned int i = 0; i < CRAM_N_FINDINGS; i++)
		printf("| `%s` | %s | %s |\n", cram_finding_name((enum cram_finding)i),
		       cram_finding_text((enum cram_finding)i),
		       cram_finding_advice((enum cram_finding)i));
	puts("\n## Durations\n\nHistograms, with the upper edges of their buckets the same in all.\n\n| key | metric | meaning |\n"
	     "|---|---|---|");
	for (unsigned int i = 0; i < CRAM_N_DURATIONS; i++)
		printf("| `%s` | `%s` (histogram) | %s |\n", cram_durations[i].name,
		       cram_durations[i].metric, cram_durations[i].help);
	puts("\n## States\n\n`cram_node_state` has a series for each state that a tier node may be in, in the label `state`: 1 for\n"
	     "the one it is in, 0 for the others. `cram_vms_in_state` counts the host's VMs in each state that a VM may be in;\n"
	     "`cram_vm_state` is one series of each VM, with the state that it is in as the label `state` and the value 1.");
	fputs("\nStates of a node:", stdout);
	for (size_t i = 0; cram_node_states[i]; i++)
		printf(" `%s`", cram_node_states[i]);
	puts("\n\n| state of a node | meaning |\n|---|---|\n"
	     "| `online` | a slower node, or zswap: it takes memory |\n"
	     "| `full` | the same: it takes nothing now, and what is cold stays in DRAM |\n"
	     "| `without swap space` | zswap: each page there keeps a place in swap, and none is free; add swap |\n"
	     "| `normal` to `offline` | a card that compresses, as its kernel driver says it: "
	     "[cram.md](../design/cram.md#state-and-counters-sysdevicessystemnodenodencram) |\n"
	     "| `unknown` | such a card, of which the agent could not read the state yet: nothing goes there |");
	puts("\n| state of a VM | meaning |\n|---|---|");
	for (unsigned int s = 0; s < CRAM_N_VM_STATES; s++)
		printf("| `%s` | %s |\n", cram_vm_state_name((enum cram_vm_state)s),
		       cram_vm_state_text((enum cram_vm_state)s));
	puts("\n## Reasons\n\n"
	     "Where a meaning names numbers they are `bytes` and `limit`, in this order. `cramctl vm explain` has them in a sentence,\n"
	     "and `cramctl why-not` says what to do about those that keep cold memory in DRAM.\n\n"
	     "| code | meaning |\n|---|---|");
	for (unsigned int r = CRAM_REASON_NONE + 1; r < CRAM_N_REASONS; r++)
		printf("| `%s` | %s |\n", cram_reason_name((enum cram_reason)r),
		       cram_reason_text((enum cram_reason)r));
}

int main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "options") == 0)
		options();
	else if (argc == 2 && strcmp(argv[1], "configuration") == 0)
		configuration();
	else if (argc == 2 && strcmp(argv[1], "metrics") == 0)
		metrics();
	else
		return 2;
	return fflush(stdout) == 0 && !ferror(stdout) ? 0 : 1;
}
