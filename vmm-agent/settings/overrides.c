// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The state file: settings an operator made with --persist, by UUID, and what is paused or drained.
 * JSON, replaced atomically. Nothing measured is ever kept here.
 */
#include "settings/settings.h"

#include <errno.h>
#include <json-c/json.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "util/cleanup.h"
#include "util/file.h"
#include "util/utf8.h"
#include "util/uuid.h"

#define OVERRIDES_MAX (16U << 20)
#define VERSION	      3 /* 1: settings alone; 2: no names */

static int bad(struct cram_error *err, const char *uuid, const char *why)
{
	return cram_error_set(err, -EBADMSG, uuid, NULL,
			      "restore the file from a backup, or remove it and set again", "%s",
			      why);
}

/* As it is written here, in lower case. */
static bool is_uuid(const char *s)
{
	char uuid[CRAM_UUID_TEXT];

	return cram_uuid_parse(s, uuid) == 0 && strcmp(s, uuid) == 0;
}

static bool is_empty(const struct cram_override *o)
{
	return !o->layer.set && !o->paused && !o->drained;
}

/* @err is about the first. */
static void leave_out(struct cram_overrides *list, struct cram_error *err,
		      const struct cram_error *why)
{
	if (!list->left_out++)
		*err = *why;
}

/* One key of what there is of a VM. */
static int parse_key(const char *key, struct json_object *value, struct cram_override *ret,
		     struct cram_error *err)
{
	enum cram_setting s;

	if (strcmp(key, "name") == 0 && json_object_is_type(value, json_type_string)) {
		utf8_copy(ret->name, sizeof(ret->name), json_object_get_string(value),
			  (size_t)json_object_get_string_len(value));
		return 0;
	}
	if (strcmp(key, "started") == 0 && json_object_is_type(value, json_type_int)) {
		ret->started = json_object_get_uint64(value);
		return 0;
	}
	if (json_object_is_type(value, json_type_boolean)) {
		if (strcmp(key, "paused") == 0)
			ret->paused = json_object_get_boolean(value);
		else if (strcmp(key, "drained") == 0)
			ret->drained = json_object_get_boolean(value);
		else
			return bad(err, key, "nothing that is true or false");
		return 0;
	}
	if (cram_setting_parse(key, &s) < 0 || !json_object_is_type(value, json_type_string))
		return bad(err, key, "not a setting");
	return cram_layer_set(&ret->layer, s, json_object_get_string(value), 0, err);
}

static void parse_vm(struct json_object *o, struct cram_override *ret, struct cram_overrides *list,
		     struct cram_error *err)
{
	struct cram_error why = { 0 };

	json_object_object_foreach(o, key, value)
	{
		why = (struct cram_error){ 0 };
		if (parse_key(key, value, ret, &why) < 0)
			leave_out(list, err, &why);
	}
}

static int parse_flag(struct json_object *root, const char *key, bool *ret, struct cram_error *err)
{
	struct json_object *o;

	if (!json_object_object_get_ex(root, key, &o))
		return 0;
	if (!json_object_is_type(o, json_type_boolean))
		return bad(err, key, "must be true or false");
	*ret = json_object_get_boolean(o);
	return 0;
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
	struct cram_error why = { 0 };

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
	    !json_object_is_type(version, json_type_int) || json_object_get_int(version) < 1)
		return bad(err, NULL, "the file has no version");
	if (json_object_get_int(version) > VERSION) {
		bad(&why, NULL, "the file is of a newer version than 3");
		leave_out(&list, err, &why);
	}
	if (parse_flag(root, "paused", &list.paused, err) < 0 ||
	    parse_flag(root, "drained", &list.drained, err) < 0)
		return -EBADMSG;
	if (!json_object_object_get_ex(root, "vms", &vms) ||
	    !json_object_is_type(vms, json_type_object))
		return bad(err, NULL, "the file has no \"vms\"");
	json_object_object_foreach(vms, uuid, settings)
	{
		struct cram_override o = { 0 };

		if (!is_uuid(uuid) || !json_object_is_type(settings, json_type_object)) {
			why = (struct cram_error){ 0 };
			bad(&why, uuid, "not a VM's settings");
			leave_out(&list, err, &why);
			continue;
		}
		parse_vm(settings, &o, &list, err);
		if (is_empty(&o))
			continue;
		memcpy(o.uuid, uuid, sizeof(o.uuid));
		if (array_push(&list.v, o) < 0) {
			cram_overrides_free(&list);
			return -ENOMEM;
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
	if (r < 0 && r != -EFBIG)
		return cram_error_set(err, r, path, "read", NULL, "%s", strerror(-r));
	r = r < 0 ? bad(err, NULL, "the file is too large")
		  : cram_overrides_parse(text, size, ret, err);
	if (r < 0 || ret->left_out)
		cram_error_prefix(err, "%s", path);
	return r;
}

static void add_flag(struct json_object *o, const char *key, bool value)
{
	if (value)
		json_object_object_add(o, key, json_object_new_boolean(true));
}

static struct json_object *vm_json(const struct cram_override *o)
{
	struct json_object *vm = json_object_new_object();
	char value[64];

	if (vm && o->name[0])
		json_object_object_add(vm, "name", json_object_new_string(o->name));
	for (unsigned int i = 0; vm && i < CRAM_N_SETTINGS; i++) {
		enum cram_setting s = (enum cram_setting)i;

		if (o->layer.set & (1U << i))
			json_object_object_add(vm, cram_setting_name(s),
					       json_object_new_string(cram_layer_text(
						       &o->layer, s, value, sizeof(value))));
	}
	if (vm && (o->paused || o->drained)) {
		add_flag(vm, "paused", o->paused);
		add_flag(vm, "drained", o->drained);
		json_object_object_add(vm, "started", json_object_new_uint64(o->started));
	}
	return vm;
}

static int make_directory_of(const char *path)
{
	const char *slash = strrchr(path, '/');
	char dir[PATH_MAX];

	if (!slash || slash == path ||
	    snprintf(dir, sizeof(dir), "%.*s", (int)(slash - path), path) >= (int)sizeof(dir))
		return -EINVAL;
	return cram_directory_make(dir);
}

int cram_overrides_save(const char *path, const struct cram_overrides *o, struct cram_error *err)
{
	__attribute__((cleanup(put_object))) struct json_object *root = json_object_new_object();
	struct json_object *vms = json_object_new_object();
	const char *text;
	size_t size;
	int r;

	if (!root || !vms) {
		json_object_put(vms);
		return -ENOMEM;
	}
	json_object_object_add(root, "version", json_object_new_int(VERSION));
	add_flag(root, "paused", o->paused);
	add_flag(root, "drained", o->drained);
	json_object_object_add(root, "vms", vms);
	for (size_t i = 0; i < o->v.n; i++) {
		struct json_object *vm = vm_json(&o->v.v[i]);

		if (!vm || json_object_object_add(vms, o->v.v[i].uuid, vm) < 0) {
			json_object_put(vm);
			return -ENOMEM;
		}
	}
	text = json_object_to_json_string_length(
		root, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE, &size);
	if (!text)
		return -ENOMEM;
	r = cram_file_replace(path, text, size, 0600);
	/* The directory has been taken away since the agent was started, or could not be made then.
	 */
	if (r == -ENOENT && make_directory_of(path) == 0)
		r = cram_file_replace(path, text, size, 0600);
	if (r < 0)
		return cram_error_set(err, r, path, "keep the settings",
				      "make room or repair the directory, then set again", "%s",
				      strerror(-r));
	return 0;
}

const struct cram_override *cram_overrides_find(const struct cram_overrides *o, const char *uuid)
{
	for (size_t i = 0; i < o->v.n; i++)
		if (strcasecmp(o->v.v[i].uuid, uuid) == 0)
			return &o->v.v[i];
	return NULL;
}

int cram_overrides_named(const struct cram_overrides *o, const char *vm,
			 const struct cram_override **ret)
{
	const struct cram_override *found = NULL;

	for (size_t i = 0; i < o->v.n; i++) {
		const struct cram_override *one = &o->v.v[i];

		if (strcasecmp(one->uuid, vm) != 0 && strcmp(one->name, vm) != 0)
			continue;
		if (found)
			return -ENOTUNIQ;
		found = one;
	}
	if (!found)
		return -ENOENT;
	*ret = found;
	return 0;
}

const char *cram_override_text(const struct cram_override *o, char *buf, size_t size)
{
	const struct {
		bool is;
		const char *word;
	} flags[] = { { o->paused, "paused" }, { o->drained, "to be drained" } };
	char value[64];
	size_t n = 0;

	buf[0] = '\0';
	for (unsigned int i = 0; i < CRAM_N_SETTINGS && n < size; i++) {
		enum cram_setting s = (enum cram_setting)i;

		if (o->layer.set & 1U << i)
			n += (size_t)snprintf(buf + n, size - n, "%s%s %s", n ? ", " : "",
					      cram_setting_name(s),
					      cram_layer_text(&o->layer, s, value, sizeof(value)));
	}
	for (size_t i = 0; i < ARRAY_SIZE(flags) && n < size; i++)
		if (flags[i].is)
			n += (size_t)snprintf(buf + n, size - n, "%s%s", n ? ", " : "",
					      flags[i].word);
	return buf;
}

int cram_overrides_put(struct cram_overrides *o, const struct cram_override *override)
{
	struct cram_override n = *override;
	size_t i = 0;

	/* QEMU takes a UUID in either case, and what is written must be what is read. */
	if (cram_uuid_parse(override->uuid, n.uuid) < 0)
		return -EINVAL;
	while (i < o->v.n && strcmp(o->v.v[i].uuid, n.uuid) != 0)
		i++;
	if (i == o->v.n)
		return is_empty(&n) ? 0 : array_push(&o->v, n);
	if (is_empty(&n))
		o->v.v[i] = o->v.v[--o->v.n];
	else
		o->v.v[i] = n;
	return 0;
}

void cram_overrides_free(struct cram_overrides *o)
{
	array_free(&o->v);
}
