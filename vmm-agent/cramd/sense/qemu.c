// SPDX-License-Identifier: GPL-2.0-or-later
/* QEMU command lines in both spellings, key=value and JSON; see qemu.h. */
#include "qemu.h"

#include <ctype.h>
#include <errno.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "sysroot.h"
#include "util/cleanup.h"

/* Longest option argument that is looked into; longer ones are not ours. */
#define OPTION_MAX 4096

bool qemu_is_emulator(const char *argv0)
{
	const char *base = strrchr(argv0, '/');

	base = base ? base + 1 : argv0;
	return !strncmp(base, "qemu-system-", 12) || !strcmp(base, "qemu-kvm") ||
	       !strcmp(base, "kvm");
}

/*
 * Value of @key in a QEMU option string "a,b=c,d=e", where ",," stands for a comma. @key NULL asks
 * for the leading value without a key. False when absent or longer than @size - 1.
 */
static bool option_get(const char *option, const char *key, char *buf, size_t size)
{
	const char *p = option;
	bool first = true;

	while (*p) {
		const char *eq = NULL, *end = p;
		size_t len = 0;

		for (; *end; end++) {
			if (*end == ',') {
				if (end[1] != ',')
					break;
				end++;
			} else if (*end == '=' && !eq) {
				eq = end;
			}
		}
		if (key ? eq && (size_t)(eq - p) == strlen(key) && !strncmp(p, key, strlen(key))
			: first && !eq) {
			for (const char *v = key ? eq + 1 : p; v < end; v++) {
				if (len + 1 >= size)
					return false;
				buf[len++] = *v;
				if (*v == ',')
					v++;
			}
			buf[len] = '\0';
			return true;
		}
		first = false;
		p = *end ? end + 1 : end;
	}
	return false;
}

static bool option_is(const char *option, const char *key, const char *want)
{
	char buf[64];

	return option_get(option, key, buf, sizeof(buf)) && !strcmp(buf, want);
}

/* QEMU's own sizes: a number with an optional b, k, M, G or T (powers of 1024); bare is @unit. */
static int parse_size(const char *text, uint64_t unit, uint64_t *ret_bytes)
{
	const char *p = text;
	uint64_t value;
	int r;

	r = parse_u64(&p, 10, &value);
	if (r < 0)
		return -EBADMSG;
	switch (tolower((unsigned char)*p)) {
	case '\0':
		break;
	case 'b':
		unit = 1;
		p++;
		break;
	case 'k':
		unit = UINT64_C(1) << 10;
		p++;
		break;
	case 'm':
		unit = UINT64_C(1) << 20;
		p++;
		break;
	case 'g':
		unit = UINT64_C(1) << 30;
		p++;
		break;
	case 't':
		unit = UINT64_C(1) << 40;
		p++;
		break;
	default:
		return -EBADMSG;
	}
	if (*p || __builtin_mul_overflow(value, unit, ret_bytes))
		return -EBADMSG;
	return 0;
}

static void copy_text(char *to, size_t size, const char *from)
{
	size_t len = strnlen(from, size - 1);

	memcpy(to, from, len);
	to[len] = '\0';
}

static int backend_type(const char *qom_type, enum qemu_backend_type *ret_type)
{
	if (!strcmp(qom_type, "memory-backend-ram"))
		*ret_type = QEMU_BACKEND_RAM;
	else if (!strcmp(qom_type, "memory-backend-memfd"))
		*ret_type = QEMU_BACKEND_MEMFD;
	else if (!strcmp(qom_type, "memory-backend-file"))
		*ret_type = QEMU_BACKEND_FILE;
	else
		return -ENOENT;
	return 0;
}

static bool is_confidential(const char *qom_type)
{
	return !strcmp(qom_type, "sev-guest") || !strcmp(qom_type, "sev-snp-guest") ||
	       !strcmp(qom_type, "tdx-guest") || !strcmp(qom_type, "pef-guest") ||
	       !strcmp(qom_type, "s390-pv-guest");
}

static int add_backend(struct qemu_cmdline *c, const struct qemu_backend *backend)
{
	if (c->n_backends == QEMU_BACKENDS_MAX)
		return -E2BIG;
	c->backends[c->n_backends++] = *backend;
	return 0;
}

static const char *json_text(json_object *object, const char *key)
{
	json_object *value;

	if (!json_object_object_get_ex(object, key, &value) ||
	    !json_object_is_type(value, json_type_string))
		return "";
	return json_object_get_string(value);
}

static bool json_true(json_object *object, const char *key)
{
	json_object *value;

	return json_object_object_get_ex(object, key, &value) &&
	       json_object_is_type(value, json_type_boolean) && json_object_get_boolean(value);
}

static int json_backend(struct qemu_cmdline *c, json_object *object)
{
	struct qemu_backend b = {};
	const char *type = json_text(object, "qom-type");
	json_object *value;
	int64_t size;

	if (is_confidential(type)) {
		c->confidential = true;
		return 0;
	}
	if (backend_type(type, &b.type) < 0)
		return 0;
	copy_text(b.id, sizeof(b.id), json_text(object, "id"));
	copy_text(b.policy, sizeof(b.policy), json_text(object, "policy"));
	if (!json_object_object_get_ex(object, "size", &value) ||
	    !json_object_is_type(value, json_type_int))
		return -EBADMSG;
	size = json_object_get_int64(value);
	if (size <= 0)
		return -EBADMSG;
	b.size = (uint64_t)size;
	b.hugetlb = json_true(object, "hugetlb");
	b.share = json_true(object, "share");
	if (json_object_object_get_ex(object, "host-nodes", &value)) {
		size_t n;

		if (!json_object_is_type(value, json_type_array))
			return -EBADMSG;
		n = json_object_array_length(value);
		for (size_t i = 0; i < n; i++) {
			int64_t nid = json_object_get_int64(json_object_array_get_idx(value, i));

			if (nid < 0 || nid >= 64)
				return -EBADMSG;
			b.host_nodes |= UINT64_C(1) << nid;
		}
	}
	return add_backend(c, &b);
}

static int option_backend(struct qemu_cmdline *c, const char *option)
{
	struct qemu_backend b = {};
	char type[64], text[128];
	int r;

	if (!option_get(option, NULL, type, sizeof(type)) &&
	    !option_get(option, "qom-type", type, sizeof(type)))
		return -EBADMSG;
	if (is_confidential(type)) {
		c->confidential = true;
		return 0;
	}
	if (backend_type(type, &b.type) < 0)
		return 0;
	if (!option_get(option, "id", b.id, sizeof(b.id)) ||
	    !option_get(option, "size", text, sizeof(text)))
		return -EBADMSG;
	r = parse_size(text, 1, &b.size);
	if (r < 0 || b.size == 0)
		return -EBADMSG;
	if (!option_get(option, "policy", b.policy, sizeof(b.policy)))
		b.policy[0] = '\0';
	/* A repeated host-nodes adds up in QEMU; the first is what libvirt and people write. */
	if (option_get(option, "host-nodes", text, sizeof(text)) &&
	    parse_node_list(text, &b.host_nodes) < 0)
		return -EBADMSG;
	b.hugetlb = option_is(option, "hugetlb", "on");
	/* A memfd backend is shared unless told otherwise. */
	b.share = b.type == QEMU_BACKEND_MEMFD ? !option_is(option, "share", "off")
					       : option_is(option, "share", "on");
	return add_backend(c, &b);
}

/* Memory backends with no option that matters here are still counted: their size must be known. */
static int parse_object(struct qemu_cmdline *c, const char *arg)
{
	json_object *object;
	int r;

	if (arg[0] != '{')
		return option_backend(c, arg);
	object = json_tokener_parse(arg);
	if (!object || !json_object_is_type(object, json_type_object))
		r = -EBADMSG;
	else
		r = json_backend(c, object);
	json_object_put(object);
	return r;
}

static void parse_device(struct qemu_cmdline *c, const char *arg)
{
	char driver[64] = "";

	if (arg[0] == '{') {
		json_object *object = json_tokener_parse(arg);

		if (object && json_object_is_type(object, json_type_object))
			copy_text(driver, sizeof(driver), json_text(object, "driver"));
		json_object_put(object);
	} else if (!option_get(arg, NULL, driver, sizeof(driver)) &&
		   !option_get(arg, "driver", driver, sizeof(driver))) {
		return;
	}
	if (!strncmp(driver, "vfio-", 5))
		c->vfio = true;
	else if (!strncmp(driver, "vhost-vdpa", 10))
		c->vdpa = true;
	else if (!strncmp(driver, "vhost-user", 10))
		c->vhost_user = true;
}

static void parse_netdev(struct qemu_cmdline *c, const char *arg)
{
	if (strstr(arg, "vhost-vdpa"))
		c->vdpa = true;
	else if (strstr(arg, "vhost-user"))
		c->vhost_user = true;
}

static int parse_uuid(const char *arg, char *uuid)
{
	if (strlen(arg) != QEMU_UUID_TEXT - 1)
		return -EBADMSG;
	for (size_t i = 0; i < QEMU_UUID_TEXT - 1; i++) {
		bool dash = i == 8 || i == 13 || i == 18 || i == 23;

		if (dash ? arg[i] != '-' : !isxdigit((unsigned char)arg[i]))
			return -EBADMSG;
		uuid[i] = (char)tolower((unsigned char)arg[i]);
	}
	uuid[QEMU_UUID_TEXT - 1] = '\0';
	return 0;
}

static int parse_option(struct qemu_cmdline *c, const char *name, const char *arg)
{
	char text[QEMU_NAME_MAX];

	if (!strcmp(name, "name")) {
		if (option_get(arg, "guest", text, sizeof(text)) ||
		    option_get(arg, NULL, text, sizeof(text)))
			copy_text(c->name, sizeof(c->name), text);
	} else if (!strcmp(name, "uuid")) {
		return parse_uuid(arg, c->uuid);
	} else if (!strcmp(name, "m")) {
		if (!option_get(arg, "size", text, sizeof(text)) &&
		    !option_get(arg, NULL, text, sizeof(text)))
			return -EBADMSG;
		return parse_size(text, UINT64_C(1) << 20, &c->ram_size);
	} else if (!strcmp(name, "object")) {
		return parse_object(c, arg);
	} else if (!strcmp(name, "device")) {
		parse_device(c, arg);
	} else if (!strcmp(name, "netdev")) {
		parse_netdev(c, arg);
	} else if (!strcmp(name, "overcommit")) {
		c->locked |= option_is(arg, "mem-lock", "on");
	} else if (!strcmp(name, "incoming")) {
		c->incoming = true;
	} else if (!strcmp(name, "accel")) {
		c->kvm |= !strncmp(arg, "kvm", 3);
	} else if (!strcmp(name, "machine") || !strcmp(name, "M")) {
		c->kvm |= option_is(arg, "accel", "kvm");
	}
	return 0;
}

int qemu_cmdline_parse(const char *cmdline, size_t len, struct qemu_cmdline *ret_cmdline)
{
	cleanup_free struct qemu_cmdline *c = calloc(1, sizeof(*c));
	const char *p = cmdline, *end = cmdline + len;

	if (!c)
		return -ENOMEM;
	while (p < end) {
		size_t arg_len = strnlen(p, (size_t)(end - p));
		const char *value = p + arg_len + 1;
		const char *name = p;
		size_t value_len;
		int r;

		if (p + arg_len == end) /* the last argument lost its zero byte: cut off */
			return -EBADMSG;
		if (*name != '-') {
			p = value;
			continue;
		}
		name += name[1] == '-' ? 2 : 1;
		c->kvm |= !strcmp(name, "enable-kvm");
		if (value >= end)
			break;
		value_len = strnlen(value, (size_t)(end - value));
		if (value + value_len == end)
			return -EBADMSG;
		if (value_len < OPTION_MAX && *value != '-') {
			r = parse_option(c, name, value);
			if (r < 0)
				return r;
			p = value + value_len + 1;
		} else {
			p = value;
		}
	}
	*ret_cmdline = *c;
	return 0;
}
