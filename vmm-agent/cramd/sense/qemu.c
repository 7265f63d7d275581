// SPDX-License-Identifier: GPL-2.0-or-later
/* QEMU command lines in both spellings, key=value and JSON; see qemu.h. */
#include "qemu.h"

#include <ctype.h>
#include <errno.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "sysroot.h"
#include "util/cleanup.h"
#include "util/utf8.h"

/* Longest option argument that is looked into; longer ones are not ours. */
#define OPTION_MAX 4096

/* What most machines get without -m. */
#define RAM_DEFAULT (UINT64_C(128) << 20)

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

/* A boolean as QEMU reads it, of the value of @key; as it is when absent. -EBADMSG: none. */
static int option_bool(const char *option, const char *key, bool *value)
{
	static const char *const on[] = { "on", "yes", "true", "y" };
	static const char *const off[] = { "off", "no", "false", "n" };
	char text[OPTION_MAX];

	if (!option_get(option, key, text, sizeof(text)))
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(on); i++) {
		if (strcmp(text, on[i]) != 0 && strcmp(text, off[i]) != 0)
			continue;
		*value = strcmp(text, on[i]) == 0;
		return 0;
	}
	return -EBADMSG;
}

static int unit_of(char suffix, uint64_t *unit)
{
	static const char suffixes[] = "bkmgtpe";
	const char *at = strchr(suffixes, tolower((unsigned char)suffix));

	if (!suffix || !at)
		return -EBADMSG;
	*unit = UINT64_C(1) << 10 * (at - suffixes);
	return 0;
}

int qemu_parse_size(const char *text, uint64_t unit, uint64_t *ret_bytes)
{
	uint64_t value, fraction = 0, scale = 1, part;
	const char *p = text;
	bool hex = p[0] == '0' && (p[1] == 'x' || p[1] == 'X');

	if (hex)
		p += 2;
	if (parse_u64(&p, hex ? 16 : 10, &value) < 0)
		return -EBADMSG;
	if (*p == '.' && !hex) {
		/* Digits beyond the ninth are less than a byte of a GiB. */
		for (p++; *p >= '0' && *p <= '9'; p++)
			if (scale < 1000000000) {
				fraction = fraction * 10 + (uint64_t)(*p - '0');
				scale *= 10;
			}
	}
	if (*p && (unit_of(*p++, &unit) < 0 || *p))
		return -EBADMSG;
	if (__builtin_mul_overflow(value, unit, &value))
		return -EBADMSG;
	part = (uint64_t)((__uint128_t)fraction * unit / scale);
	if (__builtin_add_overflow(value, part, ret_bytes))
		return -EBADMSG;
	return 0;
}

static void copy_text(char *to, size_t size, const char *from)
{
	utf8_copy(to, size, from, strlen(from));
}

/* Remembers that the option "-@name @arg" is beyond us. */
static void not_understood(struct qemu_cmdline *c, const char *name, const char *arg)
{
	char text[2 * QEMU_PATH_MAX];

	if (c->unknown[0])
		return;
	snprintf(text, sizeof(text), "-%.32s %s", name, arg);
	copy_text(c->unknown, sizeof(c->unknown), text);
}

static enum qemu_backend_type backend_type(const char *qom_type)
{
	if (!strcmp(qom_type, "memory-backend-ram"))
		return QEMU_BACKEND_RAM;
	if (!strcmp(qom_type, "memory-backend-memfd"))
		return QEMU_BACKEND_MEMFD;
	if (!strcmp(qom_type, "memory-backend-file"))
		return QEMU_BACKEND_FILE;
	if (!strcmp(qom_type, "memory-backend-shm"))
		return QEMU_BACKEND_SHM;
	return QEMU_BACKEND_UNKNOWN;
}

static bool is_backend(const char *qom_type)
{
	return !strncmp(qom_type, "memory-backend-", 15);
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
		return -EBADMSG;
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

/* The same of JSON, where a boolean is no text. */
static int json_read_bool(json_object *object, const char *key, bool *value)
{
	json_object *found;

	if (!json_object_object_get_ex(object, key, &found))
		return 0;
	if (!json_object_is_type(found, json_type_boolean))
		return -EBADMSG;
	*value = json_object_get_boolean(found);
	return 0;
}

/* Backends whose pages other processes see, unless told otherwise. */
static bool shared_by_default(enum qemu_backend_type type)
{
	return type == QEMU_BACKEND_MEMFD || type == QEMU_BACKEND_SHM;
}

static int json_nodes(json_object *array, uint64_t *ret_nodes)
{
	uint64_t nodes = 0;

	if (!json_object_is_type(array, json_type_array))
		return -EBADMSG;
	for (size_t i = 0; i < json_object_array_length(array); i++) {
		int64_t nid = json_object_get_int64(json_object_array_get_idx(array, i));

		if (nid < 0 || nid >= 64)
			return -EBADMSG;
		nodes |= UINT64_C(1) << nid;
	}
	*ret_nodes = nodes;
	return 0;
}

static int json_backend(struct qemu_cmdline *c, json_object *object)
{
	const char *type = json_text(object, "qom-type");
	struct qemu_backend b = { .use = QEMU_USE_OTHER };
	json_object *value;
	int64_t size;

	if (is_confidential(type)) {
		c->confidential = true;
		return 0;
	}
	if (!is_backend(type))
		return 0;
	b.type = backend_type(type);
	copy_text(b.id, sizeof(b.id), json_text(object, "id"));
	copy_text(b.path, sizeof(b.path), json_text(object, "mem-path"));
	copy_text(b.policy, sizeof(b.policy), json_text(object, "policy"));
	if (!json_object_object_get_ex(object, "size", &value) ||
	    !json_object_is_type(value, json_type_int))
		return -EBADMSG;
	size = json_object_get_int64(value);
	if (size <= 0)
		return -EBADMSG;
	b.size = (uint64_t)size;
	b.share = shared_by_default(b.type);
	if (json_read_bool(object, "hugetlb", &b.hugetlb) < 0 ||
	    json_read_bool(object, "share", &b.share) < 0)
		return -EBADMSG;
	if (json_object_object_get_ex(object, "host-nodes", &value) &&
	    json_nodes(value, &b.host_nodes) < 0)
		return -EBADMSG;
	return add_backend(c, &b);
}

/* All of a repeated "host-nodes": they add up. */
static int option_nodes(const char *option, uint64_t *ret_nodes)
{
	const char *at = option;
	uint64_t nodes = 0;

	while ((at = strstr(at, "host-nodes"))) {
		const char *value = at + strcspn(at, "=,");
		char text[128];
		uint64_t more;
		size_t len;

		if (*value == '=') {
			value++;
			len = strcspn(value, ",");
			if (len >= sizeof(text))
				return -EBADMSG;
			memcpy(text, value, len);
			text[len] = '\0';
			if (parse_node_list(text, &more) < 0)
				return -EBADMSG;
			nodes |= more;
		}
		at = value;
	}
	*ret_nodes = nodes;
	return 0;
}

static int option_backend(struct qemu_cmdline *c, const char *option)
{
	struct qemu_backend b = { .use = QEMU_USE_OTHER };
	char type[64], text[128];

	if (!option_get(option, NULL, type, sizeof(type)) &&
	    !option_get(option, "qom-type", type, sizeof(type)))
		return 0;
	if (is_confidential(type)) {
		c->confidential = true;
		return 0;
	}
	if (!is_backend(type))
		return 0;
	b.type = backend_type(type);
	if (!option_get(option, "id", b.id, sizeof(b.id)) ||
	    !option_get(option, "size", text, sizeof(text)) ||
	    qemu_parse_size(text, 1, &b.size) < 0 || b.size == 0)
		return -EBADMSG;
	if (option_get(option, "policy", text, sizeof(text)))
		copy_text(b.policy, sizeof(b.policy), text);
	if (option_nodes(option, &b.host_nodes) < 0)
		return -EBADMSG;
	if (option_get(option, "mem-path", text, sizeof(text)))
		copy_text(b.path, sizeof(b.path), text);
	b.share = shared_by_default(b.type);
	if (option_bool(option, "hugetlb", &b.hugetlb) < 0 ||
	    option_bool(option, "share", &b.share) < 0)
		return -EBADMSG;
	return add_backend(c, &b);
}

/* "key=value" or JSON: what both have of it. */
static bool get(const char *arg, json_object *json, const char *key, char *buf, size_t size)
{
	json_object *value;

	if (!json)
		return option_get(arg, key, buf, size);
	if (!json_object_object_get_ex(json, key, &value) ||
	    strlen(json_object_get_string(value)) >= size)
		return false;
	strcpy(buf, json_object_get_string(value));
	return true;
}

/* Which backend is used for what; they may be named before they are made. */
struct uses {
	size_t n;
	struct {
		char id[QEMU_ID_MAX];
		enum qemu_use use;
		uint64_t requested;
	} v[2 * QEMU_BACKENDS_MAX];
};

static int add_use(struct uses *uses, const char *id, enum qemu_use use, uint64_t requested)
{
	if (uses->n == ARRAY_SIZE(uses->v))
		return -EBADMSG;
	copy_text(uses->v[uses->n].id, QEMU_ID_MAX, id);
	uses->v[uses->n].use = use;
	uses->v[uses->n].requested = requested;
	uses->n++;
	return 0;
}

static int parse_device(struct qemu_cmdline *c, struct uses *uses, const char *arg,
			json_object *json)
{
	char driver[64] = "", memdev[QEMU_ID_MAX], text[64];
	uint64_t requested = 0;

	if (!(json ? get(arg, json, "driver", driver, sizeof(driver))
		   : option_get(arg, NULL, driver, sizeof(driver)) ||
			      option_get(arg, "driver", driver, sizeof(driver))))
		return 0;
	if (!strncmp(driver, "vfio-", 5))
		c->vfio = true;
	else if (!strncmp(driver, "vhost-vdpa", 10))
		c->vdpa = true;
	else if (!strncmp(driver, "vhost-user", 10))
		c->vhost_user = true;
	if (!get(arg, json, "memdev", memdev, sizeof(memdev)))
		return 0;
	if (!strcmp(driver, "pc-dimm"))
		return add_use(uses, memdev, QEMU_USE_DIMM, 0);
	if (!strncmp(driver, "virtio-mem", 10)) {
		if (get(arg, json, "requested-size", text, sizeof(text)) &&
		    qemu_parse_size(text, 1, &requested) < 0)
			return -EBADMSG;
		return add_use(uses, memdev, QEMU_USE_VIRTIO_MEM, requested);
	}
	return 0;
}

static void parse_netdev(struct qemu_cmdline *c, const char *arg)
{
	if (strstr(arg, "vhost-vdpa"))
		c->vdpa = true;
	else if (strstr(arg, "vhost-user"))
		c->vhost_user = true;
}

static int parse_memory(struct qemu_cmdline *c, const char *arg)
{
	char text[64];

	if (!option_get(arg, "size", text, sizeof(text)) &&
	    !option_get(arg, NULL, text, sizeof(text)))
		return strstr(arg, "size=") ? -EBADMSG : 0; /* "-m slots=2,maxmem=8G" */
	return qemu_parse_size(text, UINT64_C(1) << 20, &c->ram_size);
}

static int parse_machine(struct qemu_cmdline *c, struct uses *uses, const char *arg)
{
	char text[QEMU_ID_MAX];

	if (option_get(arg, "memory-backend", text, sizeof(text)))
		return add_use(uses, text, QEMU_USE_RAM, 0);
	if (option_get(arg, "memory.size", text, sizeof(text)))
		return qemu_parse_size(text, UINT64_C(1) << 20, &c->ram_size);
	return 0;
}

static int parse_overcommit(struct qemu_cmdline *c, const char *arg)
{
	char text[OPTION_MAX];
	/* The word alone means "on", and "on-fault" locks whatever is touched. */
	bool locked = option_is(arg, NULL, "mem-lock") || option_is(arg, "mem-lock", "on-fault");

	if (!locked && !option_get(arg, "mem-lock", text, sizeof(text)))
		return strstr(arg, "mem-lock") ? -EBADMSG : 0;
	if (!locked && option_bool(arg, "mem-lock", &locked) < 0)
		return -EBADMSG;
	c->locked |= locked;
	return 0;
}

/* What -mem-path makes of the RAM that QEMU makes up itself. */
struct made_up {
	char path[QEMU_PATH_MAX];
};

static int parse_option(struct qemu_cmdline *c, struct uses *uses, struct made_up *made_up,
			const char *name, const char *arg, json_object *json)
{
	char text[OPTION_MAX];

	if (!strcmp(name, "name")) {
		if (option_get(arg, "guest", text, sizeof(text)) ||
		    option_get(arg, NULL, text, sizeof(text)))
			copy_text(c->name, sizeof(c->name), text);
	} else if (!strcmp(name, "uuid")) {
		return cram_uuid_parse(arg, c->uuid);
	} else if (!strcmp(name, "m")) {
		return parse_memory(c, arg);
	} else if (!strcmp(name, "object")) {
		return json ? json_backend(c, json) : option_backend(c, arg);
	} else if (!strcmp(name, "numa")) {
		if (get(arg, json, "memdev", text, sizeof(text)))
			return add_use(uses, text, QEMU_USE_RAM, 0);
	} else if (!strcmp(name, "device")) {
		return parse_device(c, uses, arg, json);
	} else if (!strcmp(name, "mem-path")) {
		copy_text(made_up->path, sizeof(made_up->path), arg);
	} else if (!strcmp(name, "netdev")) {
		parse_netdev(c, arg);
	} else if (!strcmp(name, "overcommit")) {
		return parse_overcommit(c, arg);
	} else if (!strcmp(name, "incoming")) {
		c->incoming = true;
	} else if (!strcmp(name, "readconfig")) {
		return -EBADMSG; /* What is in that file is not here, and may be the RAM. */
	} else if (!strcmp(name, "machine") || !strcmp(name, "M")) {
		return parse_machine(c, uses, arg);
	}
	return 0;
}

/* One option and its value. */
static void take_option(struct qemu_cmdline *c, struct uses *uses, struct made_up *made_up,
			const char *name, const char *arg)
{
	json_object *json = arg[0] == '{' ? json_tokener_parse(arg) : NULL;

	/* What looks like JSON and is none is nothing that QEMU would have started with. */
	if ((arg[0] == '{' && !json_object_is_type(json, json_type_object)) ||
	    parse_option(c, uses, made_up, name, arg, json) < 0)
		not_understood(c, name, arg);
	json_object_put(json);
}

/* Says of every backend what it is for. */
static void connect_backends(struct qemu_cmdline *c, const struct uses *uses,
			     const struct made_up *made_up)
{
	struct qemu_backend b = { .size = c->ram_size };
	bool ram_named = false;

	for (size_t u = 0; u < uses->n; u++) {
		bool found = false;

		for (size_t i = 0; i < c->n_backends && !found; i++) {
			if (strcmp(c->backends[i].id, uses->v[u].id) != 0)
				continue;
			c->backends[i].use = uses->v[u].use;
			c->backends[i].requested = uses->v[u].requested;
			found = true;
		}
		if (!found)
			not_understood(c, "object", uses->v[u].id);
		ram_named |= uses->v[u].use == QEMU_USE_RAM;
	}
	if (ram_named)
		return;
	if (made_up->path[0]) {
		b.type = QEMU_BACKEND_FILE;
		memcpy(b.path, made_up->path, sizeof(b.path));
	}
	if (add_backend(c, &b) < 0)
		not_understood(c, "object", "…: more memory backends than are tracked");
}

int qemu_cmdline_parse(const char *cmdline, size_t len, struct qemu_cmdline *ret_cmdline)
{
	cleanup_free struct qemu_cmdline *c = calloc(1, sizeof(*c));
	const char *p = cmdline, *end = cmdline + len;
	struct made_up made_up = {};
	struct uses uses = {};

	if (!c)
		return -ENOMEM;
	c->ram_size = RAM_DEFAULT;
	while (p < end) {
		size_t arg_len = strnlen(p, (size_t)(end - p));
		const char *value = p + arg_len + 1;
		const char *name = p;
		size_t value_len;

		if (p + arg_len == end) { /* the last argument lost its zero byte: cut off */
			not_understood(c, "…", "its command line is cut off");
			break;
		}
		if (*name != '-') {
			p = value;
			continue;
		}
		name += name[1] == '-' ? 2 : 1;
		if (value >= end)
			break;
		value_len = strnlen(value, (size_t)(end - value));
		if (value + value_len == end) {
			not_understood(c, name, "…: its command line is cut off");
			break;
		}
		if (*value == '-') {
			p = value;
			continue;
		}
		if (value_len < OPTION_MAX)
			take_option(c, &uses, &made_up, name, value);
		else if (!strcmp(name, "object") || !strcmp(name, "numa"))
			not_understood(c, name, "…: it is too long");
		p = value + value_len + 1;
	}
	connect_backends(c, &uses, &made_up);
	*ret_cmdline = *c;
	return 0;
}
