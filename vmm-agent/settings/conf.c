// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * cramd.conf and its drop-ins, read by libinih. An unknown section or key is an error with file
 * and line: a typo must not become a default.
 */
#include "settings/settings.h"

#include <dirent.h>
#include <errno.h>
#include <ini.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/cleanup.h"
#include "util/duration.h"
#include "util/file.h"

#define CONF_MAX (1U << 20) /* bytes per file */

struct parse {
	const char *file;
	const char *next; /* unread text */
	size_t left;	  /* bytes from there on; no terminator */
	unsigned int line;
	struct cram_conf *conf;
	struct cram_error *err;
	int failed; /* first error, 0: none */
};

static int fail(struct parse *p, int code, const char *advice, const char *why, const char *text)
{
	char object[192];

	if (p->failed == 0) {
		p->failed = code;
		snprintf(object, sizeof(object), "%s:%u", p->file, p->line);
		cram_error_set(p->err, code, object, NULL, advice, "%s \"%.64s\"", why, text);
	}
	return 0;
}

static bool node_number(const char **p, unsigned int *ret)
{
	size_t n = strspn(*p, "0123456789");

	if (n < 1 || n > 2)
		return false;
	*ret = (unsigned int)strtoul(*p, NULL, 10);
	*p += n;
	return *ret < 64;
}

/* "2-3,5": numbers and ascending ranges. */
static bool is_nodeset(const char *text)
{
	for (const char *p = text;; p++) {
		unsigned int first, last;

		if (!node_number(&p, &first))
			return false;
		if (*p == '-') {
			p++;
			if (!node_number(&p, &last) || last < first)
				return false;
		}
		if (*p != ',')
			return *p == '\0';
	}
}

static int set_choice(struct cram_host_settings *h, const struct cram_option *o, const char *text,
		      struct cram_error *err)
{
	char allowed[160] = "allowed:";
	size_t n = strlen(allowed);

	for (unsigned int i = 0; o->choices[i]; i++) {
		if (strcmp(text, o->choices[i]) == 0) {
			memcpy((char *)h + o->offset, &i, sizeof(i));
			return 0;
		}
		n += (size_t)snprintf(allowed + n, sizeof(allowed) - n, "%s %s", i ? "," : "",
				      o->choices[i]);
	}
	return cram_error_set(err, -EINVAL, o->key, NULL, allowed, "bad value \"%.64s\"", text);
}

static int set_option(struct cram_host_settings *h, const struct cram_option *o, const char *text,
		      struct cram_error *err)
{
	char *field = (char *)h + o->offset;
	char allowed[160], lo[32], hi[32];
	uint64_t v, step;
	int r = 0;

	switch (o->type) {
	case CRAM_OPT_U32:
		if (cram_duration_unit(o->unit, &step) == 0)
			r = cram_duration_parse(text, step, &v);
		else if (text[strspn(text, "0123456789")] != '\0')
			r = -EINVAL;
		else
			r = cram_size_parse(text, 1, &v);
		if (r == 0 && (v < o->min || v > o->max))
			r = -ERANGE;
		if (r == 0) {
			uint32_t u32 = (uint32_t)v;

			memcpy(field, &u32, sizeof(u32));
			return 0;
		}
		snprintf(allowed, sizeof(allowed), "allowed: %" PRIu64 " to %" PRIu64 " %s%s",
			 o->min, o->max, o->unit,
			 cram_duration_unit(o->unit, &step) == 0
				 ? ", whole ones, also as us ms s min h"
				 : "");
		break;
	case CRAM_OPT_BYTES:
		r = cram_size_parse(text, 0, &v);
		if (r == 0 && (v < o->min || v > o->max))
			r = -ERANGE;
		if (r == 0) {
			memcpy(field, &v, sizeof(v));
			return 0;
		}
		snprintf(allowed, sizeof(allowed),
			 "allowed: %s to %s, with a unit of b KB KiB MB MiB GB GiB TB TiB",
			 cram_size_format(o->min, lo, sizeof(lo)),
			 cram_size_format(o->max, hi, sizeof(hi)));
		break;
	case CRAM_OPT_NODES:
		if (strlen(text) <= o->max &&
		    (strcmp(text, "none") == 0 || strcmp(text, o->def) == 0 || is_nodeset(text))) {
			strcpy(field, text);
			return 0;
		}
		r = -EINVAL;
		snprintf(allowed, sizeof(allowed), "allowed: %s%s, or nodes 0 to 63 such as 2-3,5",
			 o->def, strcmp(o->def, "none") == 0 ? "" : ", none");
		break;
	case CRAM_OPT_TEXT:
		if (text[0] != '\0' && strlen(text) <= o->max) {
			strcpy(field, text);
			return 0;
		}
		r = -EINVAL;
		snprintf(allowed, sizeof(allowed), "allowed: 1 to %" PRIu64 " bytes", o->max);
		break;
	case CRAM_OPT_CHOICE:
		return set_choice(h, o, text, err);
	}
	return cram_error_set(err, r, o->key, NULL, allowed, "bad value \"%.64s\"", text);
}

void cram_conf_init(struct cram_conf *conf)
{
	memset(conf, 0, sizeof(*conf));
	for (size_t i = 0; i < cram_n_options; i++)
		/* Defaults are values of the table: a bad one fails the unit test of the table. */
		set_option(&conf->host, &cram_options[i], cram_options[i].def, NULL);
}

void cram_conf_free(struct cram_conf *conf)
{
	for (size_t i = 0; i < conf->matches.n; i++) {
		free(conf->matches.v[i].glob);
		free(conf->matches.v[i].uuid);
		free(conf->matches.v[i].partition);
		free(conf->matches.v[i].flavour);
	}
	array_free(&conf->matches);
}

static const char *match_name(const char *section)
{
	return strncmp(section, "match ", 6) == 0 && section[6] != '\0' ? section + 6 : NULL;
}

static bool section_known(const char *section)
{
	if (strcmp(section, "vm") == 0)
		return true;
	if (match_name(section))
		return strlen(match_name(section)) < sizeof(((struct cram_match *)0)->name);
	for (size_t i = 0; i < cram_n_options; i++)
		if (strcmp(section, cram_options[i].section) == 0)
			return true;
	return false;
}

static struct cram_match *match_of(struct cram_conf *conf, const char *name)
{
	struct cram_match m = { 0 };

	for (size_t i = 0; i < conf->matches.n; i++)
		if (strcmp(conf->matches.v[i].name, name) == 0)
			return &conf->matches.v[i];
	snprintf(m.name, sizeof(m.name), "%s", name);
	if (array_push(&conf->matches, m) < 0)
		return NULL;
	return &conf->matches.v[conf->matches.n - 1];
}

static int set_condition(struct parse *p, struct cram_match *m, const char *key, const char *value)
{
	char **field = strcmp(key, "name") == 0	       ? &m->glob
		       : strcmp(key, "uuid") == 0      ? &m->uuid
		       : strcmp(key, "partition") == 0 ? &m->partition
		       : strcmp(key, "flavour") == 0   ? &m->flavour
						       : NULL;
	char *copy;

	if (!field)
		return -ENOENT;
	copy = strdup(value);
	if (!copy) {
		p->failed = -ENOMEM;
		return 0;
	}
	free(*field);
	*field = copy;
	return 0;
}

/* libinih's convention: 0 is an error. The first one is kept, the rest of the file is skipped. */
static int handle(void *user, const char *section, const char *key, const char *value)
{
	struct parse *p = user;
	struct cram_error inner = { 0 };
	struct cram_vm_layer *layer = NULL;
	char where[192];
	enum cram_setting s;
	int r = -ENOENT;

	if (p->failed)
		return 0;
	if (section[0] == '\0')
		return fail(p, -EINVAL, "begin with a section such as [vm]",
			    "outside of any section:", key);
	if (match_name(section)) {
		struct cram_match *m = match_of(p->conf, match_name(section));

		if (!m) {
			p->failed = -ENOMEM;
			return 0;
		}
		r = set_condition(p, m, key, value);
		layer = &m->layer;
	} else if (strcmp(section, "vm") == 0) {
		layer = &p->conf->vm;
	} else {
		for (size_t i = 0; i < cram_n_options; i++) {
			const struct cram_option *o = &cram_options[i];

			if (strcmp(section, o->section) == 0 && strcmp(key, o->key) == 0) {
				r = set_option(&p->conf->host, o, value, &inner);
				break;
			}
		}
	}
	if (r == -ENOENT && layer && cram_setting_parse(key, &s) == 0)
		r = cram_layer_set(layer, s, value, 0, &inner);
	if (r == -ENOENT)
		return fail(p, -EINVAL, "see cramd.conf(5)",
			    "no such option in this section:", key);
	if (r < 0) {
		snprintf(where, sizeof(where), "%s:%u", p->file, p->line);
		if (p->err)
			*p->err = inner;
		p->failed = r;
		cram_error_prefix(p->err, "%s", where);
		return 0;
	}
	return p->failed ? 0 : 1;
}

/*
 * libinih's reader. It also refuses what libinih would take silently: lines cut at its buffer,
 * indented lines (which it joins to the one before) and empty unknown sections.
 */
static char *next_line(char *buf, int size, void *stream)
{
	struct parse *p = stream;
	const char *end, *text;
	char section[64];
	size_t n;

	if (p->failed || p->left == 0)
		return NULL;
	p->line++;
	end = memchr(p->next, '\n', p->left);
	n = end ? (size_t)(end - p->next) + 1 : p->left;
	if (n >= (size_t)size) {
		memcpy(buf, p->next, (size_t)size - 1);
		buf[size - 1] = '\0';
		fail(p, -EINVAL, "shorten it", "the line is too long:", buf);
		return NULL;
	}
	memcpy(buf, p->next, n);
	buf[n] = '\0';
	p->next += n;
	p->left -= n;
	text = buf + strspn(buf, " \t\r\n");
	if (text != buf && *text != '\0' && *text != '#' && *text != ';') {
		fail(p, -EINVAL, "begin it in the first column", "the line is indented:", text);
		return NULL;
	}
	if (*text == '[') {
		size_t len = strcspn(text + 1, "]");

		if (text[1 + len] != ']' || len >= 50) { /* libinih cuts names at 50 bytes */
			fail(p, -EINVAL, NULL, "not a section of at most 49 bytes:", text);
			return NULL;
		}
		memcpy(section, text + 1, len);
		section[len] = '\0';
		if (!section_known(section)) {
			fail(p, -EINVAL,
			     "sections: host, policy, rates, detect, move, vm, \"match NAME\" with a "
			     "name of at most 31 bytes",
			     "no such section:", section);
			return NULL;
		}
	} else if (*text != '#' && *text != ';' && strcspn(text, "=:") >= 50) {
		fail(p, -EINVAL, NULL, "not an option:", text);
		return NULL;
	}
	return buf;
}

static int parse_text(const char *name, const char *text, size_t size, struct cram_conf *conf,
		      struct cram_error *err)
{
	struct parse p = { .file = name, .next = text, .left = size, .conf = conf, .err = err };
	int r;

	if (memchr(text, '\0', size)) {
		p.line = 1;
		fail(&p, -EINVAL, "save it as plain text", "the file holds a", "NUL");
		return p.failed;
	}
	r = ini_parse_stream(next_line, &p, handle, &p);
	if (p.failed)
		return p.failed;
	if (r != 0) {
		p.line = r > 0 ? (unsigned int)r : 0;
		fail(&p, -EINVAL, "write OPTION = VALUE", "not understood:", "line");
		return p.failed;
	}
	return 0;
}

int cram_conf_check(const struct cram_conf *conf, struct cram_error *err)
{
	const struct cram_host_settings *h = &conf->host;

	if (h->policy.cold_age_min_s > h->policy.cold_age_max_s)
		return cram_error_set(err, -EINVAL, "[policy] cold_age_min", NULL,
				      "lower it or raise cold_age_max",
				      "%u s exceeds cold_age_max, %u s", h->policy.cold_age_min_s,
				      h->policy.cold_age_max_s);
	if (h->policy.demote_start_min_bytes > h->policy.demote_start_max_bytes)
		return cram_error_set(err, -EINVAL, "[policy] demote_start_min", NULL,
				      "lower it or raise demote_start_max",
				      "it exceeds demote_start_max");
	if (h->damon_min_regions > h->damon_max_regions)
		return cram_error_set(err, -EINVAL, "[detect] damon_min_regions", NULL,
				      "lower it or raise damon_max_regions",
				      "%u exceeds damon_max_regions, %u", h->damon_min_regions,
				      h->damon_max_regions);
	if (h->damon_sample_us && h->damon_sample_us < 1000)
		return cram_error_set(err, -ERANGE, "[detect] damon_sample", NULL,
				      "give at least 1 ms, or 0 for what suits damon_aggregation",
				      "%u us is too short", h->damon_sample_us);
	if (h->damon_sample_us > h->damon_aggr_us)
		return cram_error_set(err, -EINVAL, "[detect] damon_sample", NULL,
				      "lower it or raise damon_aggregation",
				      "%u us exceeds damon_aggregation, %u us", h->damon_sample_us,
				      h->damon_aggr_us);
	for (size_t i = 0; i < conf->matches.n; i++) {
		const struct cram_match *m = &conf->matches.v[i];
		char object[64];

		if (m->glob || m->uuid || m->partition || m->flavour)
			continue;
		snprintf(object, sizeof(object), "[match %s]", m->name);
		return cram_error_set(err, -EINVAL, object, NULL,
				      "add name, uuid, partition or flavour, or use [vm]",
				      "it has no condition and would match every VM");
	}
	return 0;
}

int cram_conf_parse(const char *name, const char *text, size_t size, struct cram_conf *ret_conf,
		    struct cram_error *err)
{
	struct cram_conf conf;
	int r;

	cram_conf_init(&conf);
	r = parse_text(name, text, size, &conf, err);
	if (r == 0)
		r = cram_conf_check(&conf, err);
	if (r < 0) {
		cram_conf_free(&conf);
		return r;
	}
	*ret_conf = conf;
	return 0;
}

static int parse_file(const char *path, bool optional, struct cram_conf *conf,
		      struct cram_error *err)
{
	cleanup_free char *text = NULL;
	size_t size;
	int r;

	r = cram_file_read(path, CONF_MAX, &text, &size);
	if (r == -ENOENT && optional)
		return 0;
	if (r < 0)
		return cram_error_set(err, r, path, "read", NULL, "%s", strerror(-r));
	return parse_text(path, text, size, conf, err);
}

static int is_drop_in(const struct dirent *d)
{
	size_t n = strlen(d->d_name);

	return d->d_name[0] != '.' && n > 5 && strcmp(d->d_name + n - 5, ".conf") == 0;
}

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static int parse_drop_ins(const char *path, struct cram_conf *conf, struct cram_error *err)
{
	struct dirent **list = NULL;
	char dir[512], file[1024];
	int n, r = 0;

	if (snprintf(dir, sizeof(dir), "%s.d", path) >= (int)sizeof(dir))
		return -ENAMETOOLONG;
	n = scandir(dir, &list, is_drop_in, by_bytes);
	if (n < 0)
		return errno == ENOENT ? 0
				       : cram_error_set(err, -errno, dir, "read", NULL, "%s",
							strerror(errno));
	for (int i = 0; i < n; i++) {
		snprintf(file, sizeof(file), "%s/%s", dir, list[i]->d_name);
		if (r == 0)
			r = parse_file(file, false, conf, err);
		free(list[i]);
	}
	free(list);
	return r;
}

int cram_conf_load(const char *path, struct cram_conf *ret_conf, struct cram_error *err)
{
	struct cram_conf conf;
	int r;

	cram_conf_init(&conf);
	r = parse_file(path, true, &conf, err);
	if (r == 0)
		r = parse_drop_ins(path, &conf, err);
	if (r == 0) {
		r = cram_conf_check(&conf, err);
		if (r < 0)
			cram_error_prefix(err, "%s", path);
	}
	if (r < 0) {
		cram_conf_free(&conf);
		return r;
	}
	*ret_conf = conf;
	return 0;
}
