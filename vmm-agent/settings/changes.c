// SPDX-License-Identifier: GPL-2.0-or-later
/* What differs between two settings or configurations, as one line for a person. */
#include <inttypes.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "settings/settings.h"
#include "util/cleanup.h"
#include "util/duration.h"
#include "util/utf8.h"

/* A list that says how much of it had no room. */
struct line {
	char *buf;
	size_t size, n, listed, left_out;
};

#define MORE_MAX 20 /* ", and 99 more" */

static void add(struct line *l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void add(struct line *l, const char *fmt, ...)
{
	const char *comma = l->listed ? ", " : "";
	char text[768];
	va_list ap;
	size_t n;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	n = utf8_trim(text) + strlen(comma);
	if (l->n + n + MORE_MAX >= l->size || l->left_out) {
		l->left_out++;
		return;
	}
	l->n += (size_t)snprintf(l->buf + l->n, l->size - l->n, "%s%s", comma, text);
	l->listed++;
}

static bool done(struct line *l)
{
	if (l->left_out && l->size > MORE_MAX)
		snprintf(l->buf + l->n, l->size - l->n, "%s%zu more", l->listed ? ", and " : "",
			 l->left_out);
	return l->listed || l->left_out;
}

/* One value as people read it. */
static const char *value(const struct cram_vm_settings *set, enum cram_setting s, char buf[64])
{
	if (s == CRAM_SET_QUOTA)
		return cram_size_format(set->quota, buf, 64);
	if (s == CRAM_SET_HARD_LIMIT)
		return cram_size_format(set->hard_limit, buf, 64);
	if (s == CRAM_SET_FLOOR)
		return cram_size_format(set->floor, buf, 64);
	if (s == CRAM_SET_COLD_AGE && set->cold_age_s)
		return cram_duration_format(set->cold_age_s * DURATION_S, buf, 64);
	return cram_settings_text(set, s, buf, 64);
}

/* "xml", "match web", "cli, 50%", "cli, 4 GiB asked for": where a value comes from, and out of
 * what. */
static const char *source(const struct cram_vm_settings *set, enum cram_setting s, char buf[96])
{
	size_t n = (size_t)snprintf(buf, 96, "%s%s%s", cram_origin_name(set->origin[s]),
				    set->match[s][0] ? " " : "", set->match[s]);
	char asked[32];

	if (s == CRAM_SET_FLOOR && set->floor_percent)
		snprintf(buf + n, 96 - n, ", %" PRIu32 "%%", set->floor_percent);
	else if (s == CRAM_SET_FLOOR && set->floor_asked > set->floor)
		snprintf(buf + n, 96 - n, ", %s asked for",
			 cram_size_format(set->floor_asked, asked, sizeof(asked)));
	return buf;
}

bool cram_settings_changes(const struct cram_vm_settings *before,
			   const struct cram_vm_settings *after, char *buf, size_t size)
{
	struct line l = { .buf = buf, .size = size };

	buf[0] = '\0';
	for (unsigned int i = 0; i < CRAM_N_SETTINGS; i++) {
		enum cram_setting s = (enum cram_setting)i;
		char was[64], is[64], old[96], new[96];

		/* Sizes that are printed alike may differ in the last digits. */
		cram_settings_text(before, s, was, sizeof(was));
		cram_settings_text(after, s, is, sizeof(is));
		if (strcmp(was, is) != 0)
			add(&l, "%s %s -> %s", cram_setting_name(s), value(before, s, was),
			    value(after, s, is));
		else if (strcmp(source(before, s, old), source(after, s, new)) != 0)
			add(&l, "%s %s (%s -> %s)", cram_setting_name(s), value(after, s, is), old,
			    new);
	}
	return done(&l);
}

static const char *option_text(const struct cram_option *o, const struct cram_host_settings *h,
			       char *buf, size_t size)
{
	const char *field = (const char *)h + o->offset;
	uint64_t u64, unit_us;
	uint32_t u32;

	switch (o->type) {
	case CRAM_OPT_U32:
		memcpy(&u32, field, sizeof(u32));
		if (cram_duration_unit(o->unit, &unit_us) == 0)
			cram_duration_format(u32 * unit_us, buf, size);
		else
			snprintf(buf, size, "%" PRIu32 " %s", u32, o->unit);
		break;
	case CRAM_OPT_BYTES:
		memcpy(&u64, field, sizeof(u64));
		cram_size_format_exactly(u64, buf, size);
		break;
	case CRAM_OPT_CHOICE:
		memcpy(&u32, field, sizeof(u32));
		snprintf(buf, size, "%s", o->choices[u32]);
		break;
	case CRAM_OPT_TEXT:
	case CRAM_OPT_NODES:
		snprintf(buf, size, "%s", field);
		break;
	}
	return buf;
}

static void add_options(struct line *l, const struct cram_host_settings *before,
			const struct cram_host_settings *after)
{
	for (size_t i = 0; i < cram_n_options; i++) {
		const struct cram_option *o = &cram_options[i];
		char was[256], is[256];

		option_text(o, before, was, sizeof(was));
		option_text(o, after, is, sizeof(is));
		if (strcmp(was, is) != 0)
			add(l, "%s.%s %s -> %s%s", o->section, o->key, was, is,
			    o->at_start ? " (from the next start on)" : "");
	}
}

/* @section: "vm" or "match NAME". */
static void add_layer(struct line *l, const char *section, const struct cram_vm_layer *before,
		      const struct cram_vm_layer *after)
{
	for (unsigned int i = 0; i < CRAM_N_SETTINGS; i++) {
		enum cram_setting s = (enum cram_setting)i;
		char was[64], is[64];

		cram_layer_text(before, s, was, sizeof(was));
		cram_layer_text(after, s, is, sizeof(is));
		if (strcmp(was, is) != 0)
			add(l, "%s.%s %s -> %s", section, cram_setting_name(s), was, is);
	}
}

static const struct {
	const char *key;
	size_t offset; /* in struct cram_match */
} conditions[] = {
	{ "name", offsetof(struct cram_match, glob) },
	{ "uuid", offsetof(struct cram_match, uuid) },
	{ "partition", offsetof(struct cram_match, partition) },
	{ "flavour", offsetof(struct cram_match, flavour) },
};

/* NULL: any. */
static const char *condition(const struct cram_match *m, size_t i)
{
	const char *pattern;

	memcpy(&pattern, (const char *)m + conditions[i].offset, sizeof(pattern));
	return pattern;
}

/* A rule that came or went: "match web added: name web*, weight 200". */
static void add_rule(struct line *l, const struct cram_match *m, const char *what)
{
	char text[512], setting[64];
	struct line rule = { .buf = text, .size = sizeof(text) };

	text[0] = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(conditions); i++)
		if (condition(m, i))
			add(&rule, "%s %s", conditions[i].key, condition(m, i));
	for (unsigned int i = 0; i < CRAM_N_SETTINGS; i++) {
		enum cram_setting s = (enum cram_setting)i;

		if (m->layer.set & 1U << i)
			add(&rule, "%s %s", cram_setting_name(s),
			    cram_layer_text(&m->layer, s, setting, sizeof(setting)));
	}
	done(&rule);
	add(l, "match %s %s: %s", m->name, what, text);
}

static void add_changed_rule(struct line *l, const struct cram_match *before,
			     const struct cram_match *after)
{
	char section[sizeof(after->name) + 8];

	snprintf(section, sizeof(section), "match %s", after->name);
	for (size_t i = 0; i < ARRAY_SIZE(conditions); i++) {
		const char *was = condition(before, i), *is = condition(after, i);

		if (strcmp(was ? was : "", is ? is : "") != 0)
			add(l, "%s.%s %s -> %s", section, conditions[i].key, was ? was : "unset",
			    is ? is : "unset");
	}
	add_layer(l, section, &before->layer, &after->layer);
}

/* Where @conf has a rule of that name; the number of rules: it has none. */
static size_t place_of(const struct cram_conf *conf, const char *name)
{
	size_t i = 0;

	while (i < conf->matches.n && strcmp(conf->matches.v[i].name, name) != 0)
		i++;
	return i;
}

static void add_rules(struct line *l, const struct cram_conf *before, const struct cram_conf *after)
{
	bool reordered = false;
	size_t last = 0;

	for (size_t i = 0; i < before->matches.n; i++)
		if (place_of(after, before->matches.v[i].name) == after->matches.n)
			add_rule(l, &before->matches.v[i], "dropped");
	for (size_t i = 0; i < after->matches.n; i++) {
		const struct cram_match *is = &after->matches.v[i];
		size_t was = place_of(before, is->name);

		if (was == before->matches.n) {
			add_rule(l, is, "added");
			continue;
		}
		add_changed_rule(l, &before->matches.v[was], is);
		reordered |= was < last;
		last = was;
	}
	/* The last that sets a value wins. */
	if (reordered)
		add(l, "match rules in another order");
}

bool cram_conf_changes(const struct cram_conf *before, const struct cram_conf *after, char *buf,
		       size_t size)
{
	struct line l = { .buf = buf, .size = size };

	buf[0] = '\0';
	add_options(&l, &before->host, &after->host);
	add_layer(&l, "vm", &before->vm, &after->vm);
	add_rules(&l, before, after);
	return done(&l);
}
