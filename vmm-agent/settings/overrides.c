// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The state file: settings an operator made with --persist, by UUID. JSON, replaced atomically.
 * Nothing measured is ever kept here.
 */
#include "settings/settings.h"

#include <errno.h>
#include <json-c/json.h>
#include <string.h>

#include "util/cleanup.h"
#include "util/file.h"

#define OVERRIDES_MAX (16U << 20)

static int bad(struct cram_error *err, const char *uuid, const char *why)
{
	return cram_error_set(err, -EBADMSG, uuid, NULL,
			      "restore the file from a backup, or remove it and set again", "%s",
			      why);
}

static bool is_uuid(const char *s)
{
	if (strlen(s) != 36)
		return false;
	for (int i = 0; i < 36; i++) {
		bool dash = i == 8 || i == 13 || i == 18 || i == 23;

		if (dash ? s[i] != '-' : !strchr("0123456789abcdef", s[i]))
			return false;
	}
	return true;
}

static int parse_layer(struct json_object *o, struct cram_vm_layer *ret, struct cram_error *err)
{
	json_object_object_foreach(o, key, value)
	{
		enum cram_setting s;
		int r;

		if (cram_setting_parse(key, &s) < 0 ||
		    !json_object_is_type(value, json_type_string))
			return bad(err, key, "not a setting");
		r = cram_layer_set(ret, s, json_object_get_string(value), 0, err);
		if (r < 0)
			return -EBADMSG;
	}
	return ret->set ? 0 : bad(err, NULL, "no setting given");
}

static void put_object(struct json_object **o)
{
	json_object_put(*o);
}

static void free_tokener(struct json_tokener **t)
{
	if (*t)
		json_tokener_free(*t);
}

int cram_overrides_parse(const char *text, size_t size, struct cram_overrides *ret,
			 struct cram_error *err)
{
	__attribute__((cleanup(put_object))) struct json_object *root = NULL;
	__attribute__((cleanup(free_tokener))) struct json_tokener *tok = json_tokener_new_ex(8);
	struct cram_overrides list = { 0 };
	struct json_object *vms, *version;

	if (!tok)
		return -ENOMEM;
	if (size > OVERRIDES_MAX)
		return bad(err, NULL, "the file is too large");
	json_tokener_set_flags(tok, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8 |
					    JSON_TOKENER_ALLOW_TRAILING_CHARS);
	root = json_tokener_parse_ex(tok, text, (int)size);
	if (json_tokener_get_error(tok) != json_tokener_success ||
	    !json_object_is_type(root, json_type_object))
		return bad(err, NULL, "the file is not JSON");
	for (size_t i = json_tokener_get_parse_end(tok); i < size; i++)
		if (!strchr(" \t\r\n", text[i]) || text[i] == '\0')
			return bad(err, NULL, "the file goes on after its end");
	if (!json_object_object_get_ex(root, "version", &version) ||
	    !json_object_is_type(version, json_type_int) || json_object_get_int(version) != 1)
		return bad(err, NULL, "the file is not of version 1");
	if (!json_object_object_get_ex(root, "vms", &vms) ||
	    !json_object_is_type(vms, json_type_object))
		return bad(err, NULL, "the file has no \"vms\"");
	json_object_object_foreach(vms, uuid, settings)
	{
		struct cram_override o = { 0 };
		int r = 0;

		if (!is_uuid(uuid) || !json_object_is_type(settings, json_type_object))
			r = bad(err, uuid, "not a VM's settings");
		if (r == 0)
			r = parse_layer(settings, &o.layer, err);
		if (r == 0) {
			memcpy(o.uuid, uuid, sizeof(o.uuid));
			r = array_push(&list.v, o);
		}
		if (r < 0) {
			cram_overrides_free(&list);
			return r;
		}
	}
	*ret = list;
	return 0;
}

int cram_overrides_load(const char *path, struct cram_overrides *ret, struct cram_error *err)
{
	cleanup_free char *text = NULL;
	size_t size;
	int r;

	r = cram_file_read(path, OVERRIDES_MAX, &text, &size);
	if (r == -ENOENT) {
		*ret = (struct cram_overrides){ 0 };
		return 0;
	}
	if (r < 0)
		return cram_error_set(err, r, path, "read", NULL, "%s", strerror(-r));
	r = cram_overrides_parse(text, size, ret, err);
	if (r < 0)
		cram_error_prefix(err, "%s", path);
	return r;
}

/* A layer's value as text; the settings structure is the one place that prints values. */
static const char *layer_text(const struct cram_vm_layer *l, enum cram_setting s, char *buf,
			      size_t size)
{
	struct cram_vm_settings set = {
		.mode = l->mode,
		.quota = l->quota,
		.hard_limit = l->hard_limit,
		.floor = l->floor,
		.weight = l->weight,
		.cold_age_s = l->cold_age_s,
		.tiers = l->tiers,
	};

	if (s == CRAM_SET_FLOOR && l->floor_is_percent) {
		snprintf(buf, size, "%u%%", l->floor_percent);
		return buf;
	}
	return cram_settings_text(&set, s, buf, size);
}

int cram_overrides_save(const char *path, const struct cram_overrides *o, struct cram_error *err)
{
	__attribute__((cleanup(put_object))) struct json_object *root = json_object_new_object();
	struct json_object *vms = json_object_new_object();
	const char *text;
	char value[64];
	size_t size;
	int r;

	if (!root || !vms) {
		json_object_put(vms);
		return -ENOMEM;
	}
	json_object_object_add(root, "version", json_object_new_int(1));
	json_object_object_add(root, "vms", vms);
	for (size_t i = 0; i < o->v.n; i++) {
		const struct cram_vm_layer *l = &o->v.v[i].layer;
		struct json_object *vm = json_object_new_object();

		for (unsigned int s = 0; vm && s < CRAM_N_SETTINGS; s++)
			if (l->set & (1U << s))
				json_object_object_add(
					vm, cram_setting_name((enum cram_setting)s),
					json_object_new_string(layer_text(l, (enum cram_setting)s,
									  value, sizeof(value))));
		if (!vm || json_object_object_add(vms, o->v.v[i].uuid, vm) < 0) {
			json_object_put(vm);
			return -ENOMEM;
		}
	}
	text = json_object_to_json_string_length(root, JSON_C_TO_STRING_PRETTY, &size);
	if (!text)
		return -ENOMEM;
	r = cram_file_replace(path, text, size, 0600);
	if (r < 0)
		return cram_error_set(err, r, path, "keep the settings",
				      "make room or repair the directory, then set again", "%s",
				      strerror(-r));
	return 0;
}

const struct cram_vm_layer *cram_overrides_find(const struct cram_overrides *o, const char *uuid)
{
	for (size_t i = 0; i < o->v.n; i++)
		if (strcmp(o->v.v[i].uuid, uuid) == 0)
			return &o->v.v[i].layer;
	return NULL;
}

int cram_overrides_put(struct cram_overrides *o, const char *uuid,
		       const struct cram_vm_layer *layer)
{
	struct cram_override n = { .layer = *layer };
	size_t i = 0;

	while (i < o->v.n && strcmp(o->v.v[i].uuid, uuid) != 0)
		i++;
	if (i < o->v.n && layer->set == 0) {
		o->v.v[i] = o->v.v[--o->v.n];
		return 0;
	}
	if (i < o->v.n) {
		o->v.v[i].layer = *layer;
		return 0;
	}
	if (layer->set == 0)
		return 0;
	snprintf(n.uuid, sizeof(n.uuid), "%s", uuid);
	return array_push(&o->v, n);
}

void cram_overrides_free(struct cram_overrides *o)
{
	array_free(&o->v);
}
