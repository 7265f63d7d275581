// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Writing metrics. All series of a metric stand together, as the format wants, so VMs are decoded
 * first and then visited once per metric.
 */
#include "exporter/render.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "protocol/durations.h"
#include "util/cleanup.h"
#include "util/decimal.h"

/* Room for @n more bytes: where they go, or NULL. The text may move. */
static char *room(struct render *r, size_t n)
{
	if (r->failed == 0)
		r->failed = cram_array_reserve((void **)&r->text, &r->cap, r->n + n, 1);
	return r->failed == 0 ? r->text + r->n : NULL;
}

static void put(struct render *r, const char *text, size_t n)
{
	char *p = room(r, n);

	if (!p)
		return;
	memcpy(p, text, n);
	r->n += n;
}

static void puts_text(struct render *r, const char *text)
{
	put(r, text, strlen(text));
}

/* "12\n": what ends a series. */
static char *write_value(char *p, const struct cram_field *f, const void *structure)
{
	uint64_t value = cram_field_number(f, structure);

	if (value == CRAM_UNLIMITED) {
		memcpy(p, "+Inf", 4);
		p += 4;
	} else {
		p = decimal_put_scaled(p, value, f->decimals);
	}
	*p++ = '\n';
	return p;
}

#define VALUE_MAX (DECIMAL_MAX + 1)

static void put_value(struct render *r, const struct cram_field *f, const void *structure)
{
	char *p = room(r, VALUE_MAX);

	if (p)
		r->n = (size_t)(write_value(p, f, structure) - r->text);
}

static void put_label(struct render *r, const char *name, const char *value, bool first)
{
	put(r, first ? "{" : ",", 1);
	puts_text(r, name);
	put(r, "=\"", 2);
	while (*value) {
		size_t plain = strcspn(value, "\\\"\n");

		put(r, value, plain);
		value += plain;
		if (!*value)
			break;
		put(r, *value == '\n' ? "\\n" : *value == '"' ? "\\\"" : "\\\\", 2);
		value++;
	}
	put(r, "\"", 1);
}

static void put_vm_labels(struct render *r, const struct cram_vm_report *vm)
{
	put_label(r, "domain", vm->name, true);
	put_label(r, "uuid", vm->uuid, false);
}

static void put_nid(struct render *r, int32_t nid)
{
	char text[16];

	snprintf(text, sizeof(text), "%" PRId32, nid);
	put_label(r, "node", text, true);
}

static void put_dram_labels(struct render *r, const void *dram)
{
	put_nid(r, ((const struct cram_dram_report *)dram)->nid);
}

static void put_node_labels(struct render *r, const void *report)
{
	const struct cram_node_report *node = report;

	put_nid(r, node->nid);
	put_label(r, "tier", node->tier, false);
}

static void head(struct render *r, const char *name, const char *type, const char *help)
{
	puts_text(r, "# HELP ");
	puts_text(r, name);
	put(r, " ", 1);
	puts_text(r, help);
	puts_text(r, "\n# TYPE ");
	puts_text(r, name);
	put(r, " ", 1);
	puts_text(r, type);
	put(r, "\n", 1);
}

static void put_info_labels(struct render *r, const struct cram_field *fields, size_t n,
			    const void *structure, bool first)
{
	for (size_t i = 0; i < n; i++) {
		if (fields[i].kind != CRAM_METRIC_INFO)
			continue;
		/* Already a label of every series of a node. */
		if (fields == cram_node_fields && strcmp(fields[i].name, "tier") == 0)
			continue;
		put_label(r, fields[i].name, (const char *)structure + fields[i].offset, first);
		first = false;
	}
}

static bool is_value(const struct cram_field *f)
{
	return f->kind == CRAM_METRIC_GAUGE || f->kind == CRAM_METRIC_COUNTER;
}

static const char *type_of(const struct cram_field *f)
{
	return f->kind == CRAM_METRIC_COUNTER ? "counter" : "gauge";
}

static void render_host(struct render *r, const struct cram_host_report *host)
{
	head(r, "cram_agent_info", "gauge", "The agent, in labels.");
	puts_text(r, "cram_agent_info");
	put_info_labels(r, cram_host_fields, cram_n_host_fields, host, true);
	puts_text(r, "} 1\n");
	for (size_t i = 0; i < cram_n_host_fields; i++) {
		const struct cram_field *f = &cram_host_fields[i];

		if (!is_value(f))
			continue;
		head(r, f->metric, type_of(f), f->help);
		puts_text(r, f->metric);
		put(r, " ", 1);
		put_value(r, f, host);
	}
}

static void put_number(struct render *r, uint64_t value, unsigned int decimals)
{
	char *p = room(r, DECIMAL_MAX);

	if (p)
		r->n = (size_t)(decimal_put_scaled(p, value, decimals) - r->text);
}

/* As many series however it is: none comes or goes when a state changes. */
static void put_state(struct render *r, const struct cram_node_report *node, const char *state)
{
	puts_text(r, "cram_node_state");
	put_node_labels(r, node);
	put_label(r, "state", state, false);
	puts_text(r, strcmp(node->state, state) == 0 ? "} 1\n" : "} 0\n");
}

static bool is_known_state(const char *state)
{
	for (size_t i = 0; cram_node_states[i]; i++)
		if (strcmp(cram_node_states[i], state) == 0)
			return true;
	return false;
}

static void render_node_states(struct render *r)
{
	head(r, "cram_node_state", "gauge",
	     "1 for the state that the tier node is in, 0 for each of the others.");
	for (size_t v = 0; v < r->nodes.n; v++) {
		const struct cram_node_report *node = &r->nodes.v[v];

		for (size_t i = 0; cram_node_states[i]; i++)
			put_state(r, node, cram_node_states[i]);
		/* Of a newer agent. */
		if (node->state[0] && !is_known_state(node->state))
			put_state(r, node, node->state);
	}
}

/* Of a host all states are there; a set of them for each VM would be a third of a page. */
static void render_vm_states(struct render *r)
{
	head(r, "cram_vms_in_state", "gauge", "VMs of the host that are in the state.");
	for (unsigned int s = 0; s < CRAM_N_VM_STATES; s++) {
		const char *name = cram_vm_state_name((enum cram_vm_state)s);
		uint64_t n = 0;

		for (size_t v = 0; v < r->vms.n; v++)
			n += strcmp(r->vms.v[v].state, name) == 0;
		puts_text(r, "cram_vms_in_state");
		put_label(r, "state", name, true);
		puts_text(r, "} ");
		put_number(r, n, 0);
		put(r, "\n", 1);
	}
}

static void render_duration(struct render *r, const struct cram_duration_row *row,
			    const struct cram_duration_counts *counts)
{
	uint64_t sum = 0;

	head(r, row->metric, "histogram", row->help);
	for (unsigned int i = 0; i < CRAM_DURATION_BUCKETS; i++) {
		sum += counts->buckets[i];
		puts_text(r, row->metric);
		puts_text(r, "_bucket{le=\"");
		if (i + 1 < CRAM_DURATION_BUCKETS)
			put_number(r, cram_duration_edges[i], 6);
		else
			puts_text(r, "+Inf");
		puts_text(r, "\"} ");
		put_number(r, sum, 0);
		put(r, "\n", 1);
	}
	puts_text(r, row->metric);
	puts_text(r, "_sum ");
	put_number(r, counts->sum_us, 6);
	put(r, "\n", 1);
	puts_text(r, row->metric);
	puts_text(r, "_count ");
	put_number(r, sum, 0);
	put(r, "\n", 1);
}

/* All metrics of @n nodes of @size bytes each; @put_labels has the labels of one. */
static void render_table(struct render *r, const struct cram_field *fields, size_t n_fields,
			 const void *nodes, size_t n, size_t size,
			 void (*put_labels)(struct render *r, const void *node))
{
	for (size_t i = 0; n > 0 && i < n_fields; i++) {
		const struct cram_field *f = &fields[i];

		if (!is_value(f))
			continue;
		head(r, f->metric, type_of(f), f->help);
		for (size_t v = 0; v < n; v++) {
			const void *node = (const char *)nodes + v * size;

			puts_text(r, f->metric);
			put_labels(r, node);
			put(r, "} ", 2);
			put_value(r, f, node);
		}
	}
}

#define render_table_of(r, kind, nodes, put_labels)                                             \
	render_table((r), cram_##kind##_fields, cram_n_##kind##_fields, (nodes)->v, (nodes)->n, \
		     sizeof(*(nodes)->v), (put_labels))

static void render_nodes(struct render *r)
{
	if (r->nodes.n == 0)
		return;
	head(r, "cram_node_info", "gauge", "A tier node, in labels.");
	for (size_t v = 0; v < r->nodes.n; v++) {
		puts_text(r, "cram_node_info");
		put_node_labels(r, &r->nodes.v[v]);
		put_info_labels(r, cram_node_fields, cram_n_node_fields, &r->nodes.v[v], false);
		puts_text(r, "} 1\n");
	}
	render_node_states(r);
	render_table_of(r, node, &r->nodes, put_node_labels);
}

/*
 * The labels of a VM are the same in every series, and most of a scrape's bytes: they are escaped
 * once, in the info series, and copied from there. The text may move as it grows, so offsets.
 */
static void render_vm_info(struct render *r)
{
	head(r, "cram_vm_info", "gauge", "A VM, in labels.");
	for (size_t v = 0; v < r->vms.n; v++) {
		puts_text(r, "cram_vm_info");
		r->labels[2 * v] = r->n;
		put_vm_labels(r, &r->vms.v[v]);
		r->labels[2 * v + 1] = r->n;
		put_info_labels(r, cram_vm_fields, cram_n_vm_fields, &r->vms.v[v], false);
		puts_text(r, "} 1\n");
	}
}

/* One line of the many, in one go. */
static void put_vm_series(struct render *r, const struct cram_field *f, size_t name, size_t v)
{
	size_t labels = r->labels[2 * v + 1] - r->labels[2 * v];
	char *p = room(r, name + labels + 2 + VALUE_MAX);

	if (!p)
		return;
	memcpy(p, f->metric, name);
	p += name;
	memcpy(p, r->text + r->labels[2 * v], labels);
	p += labels;
	*p++ = '}';
	*p++ = ' ';
	r->n = (size_t)(write_value(p, f, &r->vms.v[v]) - r->text);
}

/* The state that a VM is in and no other, so that cram_vm_info stays the same series meanwhile. */
static void render_vm_state(struct render *r, const struct cram_field *f)
{
	head(r, f->metric, "gauge", f->help);
	for (size_t v = 0; v < r->vms.n; v++) {
		puts_text(r, f->metric);
		put_vm_labels(r, &r->vms.v[v]);
		put_label(r, f->name, r->vms.v[v].state, false);
		puts_text(r, "} 1\n");
	}
}

static void render_vms(struct render *r)
{
	if (r->vms.n == 0 || r->failed < 0)
		return;
	r->failed = cram_array_reserve((void **)&r->labels, &r->labels_cap, 2 * r->vms.n,
				       sizeof(*r->labels));
	if (r->failed < 0)
		return;
	render_vm_info(r);
	for (size_t i = 0; i < cram_n_vm_fields; i++) {
		const struct cram_field *f = &cram_vm_fields[i];
		size_t name = f->metric ? strlen(f->metric) : 0;

		if (f->kind == CRAM_METRIC_STATE)
			render_vm_state(r, f);
		if (!is_value(f))
			continue;
		head(r, f->metric, type_of(f), f->help);
		for (size_t v = 0; v < r->vms.n; v++)
			put_vm_series(r, f, name, v);
	}
}

/* Takes the array @key out of @reply, each of its elements of @size bytes. 0, -ENOMEM, -EBADMSG. */
static int decode_array(struct json_object *reply, const char *key, const struct cram_field *fields,
			size_t n_fields, size_t size, void **ret, size_t *ret_n, size_t *cap)
{
	struct json_object *array;
	size_t n;

	*ret_n = 0;
	if (!json_object_object_get_ex(reply, key, &array) ||
	    !json_object_is_type(array, json_type_array))
		return -EBADMSG;
	n = json_object_array_length(array);
	if (cram_array_reserve(ret, cap, n, size) < 0)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		if (cram_decode(fields, n_fields, json_object_array_get_idx(array, i), size,
				(char *)*ret + i * size, NULL) < 0)
			return -EBADMSG;
	*ret_n = n;
	return 0;
}

#define decode_array_of(reply, key, kind, array)                                   \
	decode_array((reply), (key), cram_##kind##_fields, cram_n_##kind##_fields, \
		     sizeof(*(array)->v), (void **)&(array)->v, &(array)->n, &(array)->cap)

/* An older agent says nothing of home nodes. */
static int decode_dram(struct render *r, struct json_object *reply)
{
	r->dram.n = 0;
	return json_object_object_get_ex(reply, "dram", NULL)
		       ? decode_array_of(reply, "dram", dram, &r->dram)
		       : 0;
}

int render_metrics(struct render *r, struct json_object *reply)
{
	struct cram_duration_counts durations[CRAM_N_DURATIONS];
	struct cram_host_report host;
	struct json_object *o = NULL;
	int e = -EBADMSG;

	r->n = 0;
	r->failed = 0;
	if (reply && json_object_object_get_ex(reply, "host", &o))
		e = cram_decode_as(host, o, &host, NULL);
	if (e == 0)
		e = decode_dram(r, reply);
	if (e == 0)
		e = decode_array_of(reply, "nodes", node, &r->nodes);
	if (e == 0)
		e = cram_durations_decode(reply, durations);
	if (e == 0)
		e = cram_rows_decode(reply, &r->vms);
	if (e == -ENOMEM)
		return e;
	head(r, "cram_up", "gauge", "1 when the agent answered this scrape.");
	puts_text(r, e == 0 ? "cram_up 1\n" : "cram_up 0\n");
	if (e == 0) {
		render_host(r, &host);
		for (size_t i = 0; i < CRAM_N_DURATIONS; i++)
			render_duration(r, &cram_durations[i], &durations[i]);
		render_vm_states(r);
		render_table_of(r, dram, &r->dram, put_dram_labels);
		render_nodes(r);
		render_vms(r);
	}
	return r->failed;
}

void render_free(struct render *r)
{
	free(r->text);
	free(r->labels);
	array_free(&r->vms);
	array_free(&r->dram);
	array_free(&r->nodes);
	*r = (struct render){ 0 };
}

char *render_lend(struct render *r, size_t *ret_n, size_t *ret_cap)
{
	char *text = r->text;

	*ret_n = r->n;
	*ret_cap = r->cap;
	r->text = NULL;
	r->n = r->cap = 0;
	return text;
}

void render_give_back(struct render *r, char *text, size_t cap)
{
	if (r->text) {
		free(text);
		return;
	}
	r->text = text;
	r->cap = cap;
}
