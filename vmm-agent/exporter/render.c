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

#include "util/cleanup.h"

static bool make_room(struct render *r, size_t n)
{
	size_t cap = r->cap ? r->cap : 65536;
	char *p;

	if (r->failed < 0)
		return false;
	if (r->n + n <= r->cap)
		return true;
	while (cap < r->n + n)
		cap *= 2;
	p = realloc(r->text, cap);
	if (!p) {
		r->failed = -ENOMEM;
		return false;
	}
	r->text = p;
	r->cap = cap;
	return true;
}

static void put(struct render *r, const char *text, size_t n)
{
	if (!make_room(r, n))
		return;
	memcpy(r->text + r->n, text, n);
	r->n += n;
}

/* Once more what stands from @from to @to in the text. */
static void put_copy(struct render *r, size_t from, size_t to)
{
	if (!make_room(r, to - from))
		return;
	memcpy(r->text + r->n, r->text + from, to - from);
	r->n += to - from;
}

static void puts_text(struct render *r, const char *text)
{
	put(r, text, strlen(text));
}

static void put_u64(struct render *r, uint64_t v)
{
	char digits[20];
	size_t i = sizeof(digits);

	do {
		digits[--i] = (char)('0' + v % 10);
		v /= 10;
	} while (v > 0);
	put(r, digits + i, sizeof(digits) - i);
}

static void put_value(struct render *r, const struct cram_field *f, const void *structure)
{
	const char *p = (const char *)structure + f->offset;
	char text[40];
	double d = 0;
	uint64_t u64;
	uint32_t u32;
	int32_t i32;
	bool b;

	switch (f->type) {
	case CRAM_FIELD_U64:
		memcpy(&u64, p, sizeof(u64));
		if (u64 == CRAM_UNLIMITED) {
			puts_text(r, "+Inf");
			return;
		}
		if (f->scale == 1) {
			put_u64(r, u64);
			return;
		}
		d = (double)u64;
		break;
	case CRAM_FIELD_U32:
		memcpy(&u32, p, sizeof(u32));
		put_u64(r, u32);
		return;
	case CRAM_FIELD_I32:
		memcpy(&i32, p, sizeof(i32));
		d = i32;
		break;
	case CRAM_FIELD_BOOL:
		memcpy(&b, p, sizeof(b));
		put(r, b ? "1" : "0", 1);
		return;
	case CRAM_FIELD_DOUBLE:
		memcpy(&d, p, sizeof(d));
		break;
	case CRAM_FIELD_TEXT:
		return; /* never a value: the table's test holds this */
	}
	snprintf(text, sizeof(text), "%.10g", d * f->scale);
	puts_text(r, text);
}

static void put_label(struct render *r, const char *name, const char *value, bool first)
{
	put(r, first ? "{" : ",", 1);
	puts_text(r, name);
	put(r, "=\"", 2);
	for (const char *c = value; *c; c++) {
		if (*c == '\\' || *c == '"')
			put(r, "\\", 1);
		if (*c == '\n')
			put(r, "\\n", 2);
		else
			put(r, c, 1);
	}
	put(r, "\"", 1);
}

static void put_vm_labels(struct render *r, const struct cram_vm_report *vm)
{
	put_label(r, "domain", vm->name, true);
	put_label(r, "uuid", vm->uuid, false);
}

static void put_node_labels(struct render *r, const struct cram_node_report *node)
{
	char nid[16];

	snprintf(nid, sizeof(nid), "%" PRId32, node->nid);
	put_label(r, "node", nid, true);
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
		put(r, "\n", 1);
	}
}

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
	for (size_t i = 0; i < cram_n_node_fields; i++) {
		const struct cram_field *f = &cram_node_fields[i];

		if (!is_value(f))
			continue;
		head(r, f->metric, type_of(f), f->help);
		for (size_t v = 0; v < r->nodes.n; v++) {
			puts_text(r, f->metric);
			put_node_labels(r, &r->nodes.v[v]);
			put(r, "} ", 2);
			put_value(r, f, &r->nodes.v[v]);
			put(r, "\n", 1);
		}
	}
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

		if (!is_value(f))
			continue;
		head(r, f->metric, type_of(f), f->help);
		for (size_t v = 0; v < r->vms.n; v++) {
			put(r, f->metric, name);
			put_copy(r, r->labels[2 * v], r->labels[2 * v + 1]);
			put(r, "} ", 2);
			put_value(r, f, &r->vms.v[v]);
			put(r, "\n", 1);
		}
	}
}

static struct json_object *array_in(struct json_object *o, const char *key)
{
	struct json_object *a;

	return json_object_object_get_ex(o, key, &a) && json_object_is_type(a, json_type_array)
		       ? a
		       : NULL;
}

static const struct cram_field *vm_field(const char *name)
{
	for (size_t i = 0; name && i < cram_n_vm_fields; i++)
		if (strcmp(cram_vm_fields[i].name, name) == 0)
			return &cram_vm_fields[i];
	return NULL; /* a newer agent's: not ours to show */
}

#define MAX_COLUMNS 128

static int decode_vms(struct render *r, struct json_object *reply)
{
	struct json_object *columns = array_in(reply, "columns"), *rows = array_in(reply, "rows");
	const struct cram_field *fields[MAX_COLUMNS];
	size_t n_columns, n_rows;

	r->vms.n = 0;
	if (!columns || !rows || json_object_array_length(columns) > MAX_COLUMNS)
		return -EBADMSG;
	n_columns = json_object_array_length(columns);
	n_rows = json_object_array_length(rows);
	for (size_t c = 0; c < n_columns; c++)
		fields[c] = vm_field(json_object_get_string(json_object_array_get_idx(columns, c)));
	if (array_reserve(&r->vms, n_rows) < 0)
		return -ENOMEM;
	for (size_t i = 0; i < n_rows; i++) {
		struct json_object *row = json_object_array_get_idx(rows, i);
		struct cram_vm_report *vm = &r->vms.v[i];

		if (!json_object_is_type(row, json_type_array) ||
		    json_object_array_length(row) != n_columns)
			return -EBADMSG;
		memset(vm, 0, sizeof(*vm));
		for (size_t c = 0; c < n_columns; c++)
			if (fields[c] &&
			    cram_decode_field(fields[c], json_object_array_get_idx(row, c), vm,
					      NULL) < 0)
				return -EBADMSG;
	}
	r->vms.n = n_rows;
	return 0;
}

static int decode_nodes(struct render *r, struct json_object *reply)
{
	struct json_object *nodes = array_in(reply, "nodes");
	size_t n = nodes ? json_object_array_length(nodes) : 0;

	r->nodes.n = 0;
	if (!nodes)
		return -EBADMSG;
	if (array_reserve(&r->nodes, n) < 0)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		if (cram_decode_as(node, json_object_array_get_idx(nodes, i), &r->nodes.v[i],
				   NULL) < 0)
			return -EBADMSG;
	r->nodes.n = n;
	return 0;
}

int render_metrics(struct render *r, struct json_object *reply)
{
	struct cram_host_report host;
	struct json_object *o = NULL;
	int e = -EBADMSG;

	r->n = 0;
	r->failed = 0;
	if (reply && json_object_object_get_ex(reply, "host", &o))
		e = cram_decode_as(host, o, &host, NULL);
	if (e == 0)
		e = decode_nodes(r, reply);
	if (e == 0)
		e = decode_vms(r, reply);
	if (e == -ENOMEM)
		return e;
	head(r, "cram_up", "gauge", "1 when the agent answered this scrape.");
	puts_text(r, e == 0 ? "cram_up 1\n" : "cram_up 0\n");
	if (e == 0) {
		render_host(r, &host);
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
	array_free(&r->nodes);
	*r = (struct render){ 0 };
}
