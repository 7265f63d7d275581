// SPDX-License-Identifier: GPL-2.0-or-later
/* VMs as compact rows; see rows.h. */
#include "protocol/rows.h"

#include <errno.h>
#include <string.h>

#include "util/cleanup.h"
#include "util/decimal.h"

/* Columns of either kind that are looked at; an agent that sends more is no agent of ours. */
#define COLUMNS_MAX 128

struct columns {
	const struct cram_field *v[COLUMNS_MAX]; /* NULL: unknown here */
	size_t n;
};

static bool is_text(const struct cram_field *f)
{
	return f->type == CRAM_FIELD_TEXT;
}

static bool travels(const struct cram_field *f)
{
	return f->kind != CRAM_METRIC_NONE || strcmp(f->name, "uuid") == 0 ||
	       strcmp(f->name, "name") == 0;
}

static int encode_columns(struct json_object *reply, const char *key, bool texts,
			  struct columns *ret)
{
	struct json_object *names = json_object_new_array();

	if (!names)
		return -ENOMEM;
	json_object_object_add(reply, key, names);
	ret->n = 0;
	for (size_t i = 0; i < cram_n_vm_fields; i++) {
		const struct cram_field *f = &cram_vm_fields[i];

		if (!travels(f) || is_text(f) != texts)
			continue;
		ret->v[ret->n++] = f;
		if (json_object_array_add(names, json_object_new_string(f->name)) < 0)
			return -ENOMEM;
	}
	return 0;
}

/* "12 0 -": one blank between numbers, "-" for no limit. */
static struct json_object *encode_numbers(const struct columns *numbers,
					  const struct cram_vm_report *vm)
{
	char text[COLUMNS_MAX * DECIMAL_MAX], *p = text;

	for (size_t i = 0; i < numbers->n; i++) {
		uint64_t value = cram_field_number(numbers->v[i], vm);

		if (i > 0)
			*p++ = ' ';
		if (value == CRAM_UNLIMITED)
			*p++ = '-';
		else
			p = decimal_put(p, value);
	}
	return json_object_new_string_len(text, (int)(p - text));
}

int cram_rows_encode(struct json_object *reply, const struct cram_vm_report *vms, size_t n_vms)
{
	struct json_object *rows = json_object_new_array_ext((int)(n_vms ? n_vms : 1));
	struct columns texts, numbers;

	if (!rows)
		return -ENOMEM;
	json_object_object_add(reply, "rows", rows);
	if (encode_columns(reply, "texts", true, &texts) < 0 ||
	    encode_columns(reply, "numbers", false, &numbers) < 0)
		return -ENOMEM;
	for (size_t v = 0; v < n_vms; v++) {
		struct json_object *row = json_object_new_array_ext((int)texts.n + 1);

		if (!row || json_object_array_add(rows, row) < 0)
			return -ENOMEM;
		for (size_t i = 0; i < texts.n; i++)
			if (json_object_array_add(row, cram_encode_field(texts.v[i], &vms[v])) < 0)
				return -ENOMEM;
		if (json_object_array_add(row, encode_numbers(&numbers, &vms[v])) < 0)
			return -ENOMEM;
	}
	return 0;
}

static struct json_object *array_in(struct json_object *o, const char *key)
{
	struct json_object *a;

	return json_object_object_get_ex(o, key, &a) && json_object_is_type(a, json_type_array)
		       ? a
		       : NULL;
}

/* -EBADMSG also when a field we know as text is among the numbers, or the other way round. */
static int decode_columns(struct json_object *reply, const char *key, bool texts,
			  struct columns *ret)
{
	struct json_object *names = array_in(reply, key);

	if (!names || json_object_array_length(names) > COLUMNS_MAX)
		return -EBADMSG;
	ret->n = json_object_array_length(names);
	for (size_t c = 0; c < ret->n; c++) {
		const char *name = json_object_get_string(json_object_array_get_idx(names, c));

		ret->v[c] = NULL;
		for (size_t i = 0; name && i < cram_n_vm_fields; i++)
			if (strcmp(cram_vm_fields[i].name, name) == 0)
				ret->v[c] = &cram_vm_fields[i];
		if (ret->v[c] && is_text(ret->v[c]) != texts)
			return -EBADMSG;
	}
	return 0;
}

static int decode_number(const char **p, uint64_t *ret)
{
	const char *s = *p;
	uint64_t value = 0;

	if (*s == '-') {
		*ret = CRAM_UNLIMITED;
		*p = s + 1;
		return 0;
	}
	for (; *s >= '0' && *s <= '9'; s++)
		if (__builtin_mul_overflow(value, 10, &value) ||
		    __builtin_add_overflow(value, (uint64_t)(*s - '0'), &value))
			return -EBADMSG;
	if (s == *p)
		return -EBADMSG;
	*ret = value;
	*p = s;
	return 0;
}

static int decode_numbers(const struct columns *numbers, struct json_object *o,
			  struct cram_vm_report *vm)
{
	const char *text, *p;

	if (!json_object_is_type(o, json_type_string))
		return -EBADMSG;
	text = p = json_object_get_string(o);
	for (size_t c = 0; c < numbers->n; c++) {
		uint64_t value;

		if (c > 0 && *p++ != ' ')
			return -EBADMSG;
		if (decode_number(&p, &value) < 0)
			return -EBADMSG;
		if (numbers->v[c] && cram_field_set_number(numbers->v[c], value, vm) < 0)
			return -EBADMSG;
	}
	return p - text == json_object_get_string_len(o) ? 0 : -EBADMSG;
}

static int decode_row(const struct columns *texts, const struct columns *numbers,
		      struct json_object *row, struct cram_vm_report *vm)
{
	if (!json_object_is_type(row, json_type_array) ||
	    json_object_array_length(row) != texts->n + 1)
		return -EBADMSG;
	for (size_t c = 0; c < texts->n; c++)
		if (texts->v[c] &&
		    cram_decode_field(texts->v[c], json_object_array_get_idx(row, c), vm, NULL) < 0)
			return -EBADMSG;
	return decode_numbers(numbers, json_object_array_get_idx(row, texts->n), vm);
}

int cram_rows_decode(struct json_object *reply, struct cram_vm_reports *ret)
{
	struct json_object *rows = array_in(reply, "rows");
	struct columns texts, numbers;
	size_t n;

	ret->n = 0;
	if (!rows || decode_columns(reply, "texts", true, &texts) < 0 ||
	    decode_columns(reply, "numbers", false, &numbers) < 0)
		return -EBADMSG;
	n = json_object_array_length(rows);
	if (array_reserve(ret, n) < 0)
		return -ENOMEM;
	/* Texts are short for their fields: what is not written must not be left from before. */
	if (n > 0)
		memset(ret->v, 0, n * sizeof(*ret->v));
	for (size_t i = 0; i < n; i++)
		if (decode_row(&texts, &numbers, json_object_array_get_idx(rows, i), &ret->v[i]) <
		    0)
			return -EBADMSG;
	ret->n = n;
	return 0;
}
