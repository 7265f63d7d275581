// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Settings of one VM: allowed values, and which of several sources wins. Where the sources are
 * read: conf.c, domain.c, overrides.c.
 */
#include "settings/settings.h"

#include <errno.h>
#include <fnmatch.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "util/cleanup.h"
#include "util/duration.h"

#define WEIGHT_MAX   10000 /* range of cgroup v2 weights */
#define COLD_AGE_MAX 86400

static const char *const setting_names[] = {
	[CRAM_SET_MODE] = "mode",
	[CRAM_SET_QUOTA] = "quota",
	[CRAM_SET_HARD_LIMIT] = "hard_limit",
	[CRAM_SET_FLOOR] = "floor",
	[CRAM_SET_WEIGHT] = "weight",
	[CRAM_SET_COLD_AGE] = "cold_age",
	[CRAM_SET_TIERS] = "tiers",
};

static const char *const origin_names[] = {
	[CRAM_ORIGIN_DEFAULT] = "default", [CRAM_ORIGIN_HOST] = "host",
	[CRAM_ORIGIN_MATCH] = "match",	   [CRAM_ORIGIN_XML] = "xml",
	[CRAM_ORIGIN_CLI] = "cli",	   [CRAM_ORIGIN_PERSIST] = "cli-persist",
};

_Static_assert(ARRAY_SIZE(setting_names) == CRAM_N_SETTINGS, "a name per setting");
_Static_assert(ARRAY_SIZE(origin_names) == CRAM_N_ORIGINS, "a name per origin");

/* What cramd.conf(5) and agent.md call the defaults of an unlisted VM. */
static const struct cram_vm_layer built_in = {
	.mode = CRAM_MODE_MONITOR,
	.quota = CRAM_UNLIMITED,
	.hard_limit = CRAM_UNLIMITED,
	.floor_percent = 50,
	.floor_is_percent = true,
	.weight = 100,
	.cold_age_s = 0,
	/* Alone: a card that fails must not quietly become something else. */
	.tiers = 1U << CRAM_TIER_CRAM,
};

const char *cram_setting_name(enum cram_setting s)
{
	return setting_names[s];
}

const char *cram_origin_name(enum cram_origin o)
{
	return origin_names[o];
}

int cram_setting_parse(const char *name, enum cram_setting *ret)
{
	for (size_t i = 0; i < ARRAY_SIZE(setting_names); i++) {
		if (strcmp(name, setting_names[i]) == 0) {
			*ret = (enum cram_setting)i;
			return 0;
		}
	}
	return -ENOENT;
}

bool cram_setting_is_size(enum cram_setting s)
{
	return s == CRAM_SET_QUOTA || s == CRAM_SET_HARD_LIMIT || s == CRAM_SET_FLOOR;
}

static int refuse(struct cram_error *err, int code, enum cram_setting s, const char *text,
		  const char *allowed)
{
	char advice[256];

	snprintf(advice, sizeof(advice), "allowed: %s", allowed);
	return cram_error_set(err, code, setting_names[s], NULL, advice, "bad value \"%.64s\"",
			      text);
}

static int parse_u32(const char *text, uint32_t min, uint32_t max, uint32_t *ret)
{
	uint64_t v;
	int r;

	if (text[strspn(text, "0123456789")] != '\0')
		return -EINVAL;
	r = cram_size_parse(text, 1, &v);
	if (r < 0)
		return r;
	if (v < min || v > max)
		return -ERANGE;
	*ret = (uint32_t)v;
	return 0;
}

static int set_limit(uint64_t *field, enum cram_setting s, const char *text, uint64_t unit,
		     struct cram_error *err)
{
	int r;

	if (strcmp(text, "unlimited") == 0) {
		*field = CRAM_UNLIMITED;
		return 0;
	}
	r = cram_size_parse(text, unit, field);
	if (r < 0)
		return refuse(err, r, s, text,
			      "an integer with a unit of b KB KiB MB MiB GB GiB TB TiB, below "
			      "2^63 bytes, or \"unlimited\"");
	return 0;
}

static int set_floor(struct cram_vm_layer *l, const char *text, uint64_t unit,
		     struct cram_error *err)
{
	size_t n = strlen(text);
	char number[8];
	uint64_t bytes;
	int r;

	if (n > 1 && n < sizeof(number) && text[n - 1] == '%') {
		memcpy(number, text, n - 1);
		number[n - 1] = '\0';
		r = parse_u32(number, 0, 100, &l->floor_percent);
		if (r == 0) {
			l->floor_is_percent = true;
			return 0;
		}
	} else {
		r = cram_size_parse(text, unit, &bytes);
		if (r == 0) {
			l->floor = bytes;
			l->floor_is_percent = false;
			return 0;
		}
	}
	return refuse(err, r, CRAM_SET_FLOOR, text,
		      "an integer with a unit of b KB KiB MB MiB GB GiB TB TiB, below 2^63 bytes, "
		      "or 0% to 100% of guest RAM");
}

static int set_tiers(struct cram_vm_layer *l, const char *text, struct cram_error *err)
{
	uint32_t mask = 0;
	const char *p = text;

	for (;;) {
		enum cram_tier tier;
		char name[16];
		size_t n;

		p += strspn(p, " ,");
		n = strcspn(p, " ,");
		if (n == 0)
			break;
		if (n >= sizeof(name))
			mask = 0;
		else {
			memcpy(name, p, n);
			name[n] = '\0';
		}
		if (n >= sizeof(name) || cram_tier_parse(name, &tier) < 0) {
			mask = 0;
			break;
		}
		mask |= 1U << tier;
		p += n;
	}
	if (mask == 0)
		return refuse(err, -EINVAL, CRAM_SET_TIERS, text, "cram, node, zswap");
	l->tiers = mask;
	return 0;
}

int cram_layer_set(struct cram_vm_layer *layer, enum cram_setting s, const char *text,
		   uint64_t default_unit, struct cram_error *err)
{
	struct cram_vm_layer l = *layer;
	uint64_t seconds;
	int r = 0;

	switch (s) {
	case CRAM_SET_MODE:
		r = cram_mode_parse(text, &l.mode);
		if (r < 0)
			return refuse(err, r, s, text, "off, monitor or auto");
		break;
	case CRAM_SET_QUOTA:
		r = set_limit(&l.quota, s, text, default_unit, err);
		break;
	case CRAM_SET_HARD_LIMIT:
		r = set_limit(&l.hard_limit, s, text, default_unit, err);
		break;
	case CRAM_SET_FLOOR:
		r = set_floor(&l, text, default_unit, err);
		break;
	case CRAM_SET_WEIGHT:
		r = parse_u32(text, 1, WEIGHT_MAX, &l.weight);
		if (r < 0)
			return refuse(err, r, s, text, "an integer from 1 to 10000");
		break;
	case CRAM_SET_COLD_AGE:
		if (strcmp(text, "auto") == 0) {
			l.cold_age_s = 0;
			break;
		}
		r = cram_duration_parse(text, DURATION_S, &seconds);
		if (r == 0 && (seconds < 1 || seconds > COLD_AGE_MAX))
			r = -ERANGE;
		if (r < 0)
			return refuse(
				err, r, s, text,
				"1 to 86400 s, in whole seconds (us ms s min h), or \"auto\"");
		l.cold_age_s = (uint32_t)seconds;
		break;
	case CRAM_SET_TIERS:
		r = set_tiers(&l, text, err);
		break;
	case CRAM_N_SETTINGS:
		return -EINVAL;
	}
	if (r < 0)
		return r;
	l.set |= 1U << s;
	*layer = l;
	return 0;
}

const char *cram_settings_text(const struct cram_vm_settings *set, enum cram_setting s, char *buf,
			       size_t size)
{
	const char *sep = "";
	uint64_t bytes;
	size_t n = 0;

	buf[0] = '\0';
	switch (s) {
	case CRAM_SET_MODE:
		snprintf(buf, size, "%s", cram_mode_name(set->mode));
		break;
	case CRAM_SET_QUOTA:
	case CRAM_SET_HARD_LIMIT:
	case CRAM_SET_FLOOR:
		bytes = s == CRAM_SET_QUOTA	   ? set->quota
			: s == CRAM_SET_HARD_LIMIT ? set->hard_limit
						   : set->floor;
		cram_size_format_exactly(bytes, buf, size);
		break;
	case CRAM_SET_WEIGHT:
		snprintf(buf, size, "%" PRIu32, set->weight);
		break;
	case CRAM_SET_COLD_AGE:
		if (set->cold_age_s == 0)
			snprintf(buf, size, "auto");
		else
			snprintf(buf, size, "%" PRIu32, set->cold_age_s);
		break;
	case CRAM_SET_TIERS:
		for (unsigned int t = 0; t < CRAM_N_TIERS; t++) {
			if (!(set->tiers & (1U << t)) || n >= size)
				continue;
			n += (size_t)snprintf(buf + n, size - n, "%s%s", sep,
					      cram_tier_name((enum cram_tier)t));
			sep = ",";
		}
		break;
	case CRAM_N_SETTINGS:
		break;
	}
	return buf;
}

const char *cram_layer_text(const struct cram_vm_layer *l, enum cram_setting s, char *buf,
			    size_t size)
{
	const struct cram_vm_settings set = {
		.mode = l->mode,
		.quota = l->quota,
		.hard_limit = l->hard_limit,
		.floor = l->floor,
		.weight = l->weight,
		.cold_age_s = l->cold_age_s,
		.tiers = l->tiers,
	};

	if (!(l->set & 1U << s))
		snprintf(buf, size, "unset");
	else if (s == CRAM_SET_FLOOR && l->floor_is_percent)
		snprintf(buf, size, "%" PRIu32 "%%", l->floor_percent);
	else
		cram_settings_text(&set, s, buf, size);
	return buf;
}

static void apply(struct cram_vm_settings *ret, const struct cram_vm_layer *l, enum cram_setting s,
		  uint64_t ram, enum cram_origin origin, const char *match)
{
	uint64_t floor;

	switch (s) {
	case CRAM_SET_MODE:
		ret->mode = l->mode;
		break;
	case CRAM_SET_QUOTA:
		ret->quota = l->quota;
		break;
	case CRAM_SET_HARD_LIMIT:
		ret->hard_limit = l->hard_limit;
		break;
	case CRAM_SET_FLOOR:
		floor = l->floor_is_percent
				? ram / 100 * l->floor_percent + ram % 100 * l->floor_percent / 100
				: l->floor;
		ret->floor_asked = floor;
		ret->floor_percent = l->floor_is_percent ? l->floor_percent : 0;
		ret->floor = floor < ram ? floor : ram;
		break;
	case CRAM_SET_WEIGHT:
		ret->weight = l->weight;
		break;
	case CRAM_SET_COLD_AGE:
		ret->cold_age_s = l->cold_age_s;
		break;
	case CRAM_SET_TIERS:
		ret->tiers = l->tiers;
		break;
	case CRAM_N_SETTINGS:
		return;
	}
	ret->origin[s] = origin;
	snprintf(ret->match[s], sizeof(ret->match[s]), "%s", match);
}

static bool condition_holds(const char *pattern, const char *value)
{
	return !pattern || (value && fnmatch(pattern, value, 0) == 0);
}

static bool match_holds(const struct cram_match *m, const struct cram_vm_identity *id)
{
	return condition_holds(m->glob, id->name) && condition_holds(m->uuid, id->uuid) &&
	       condition_holds(m->partition, id->partition) &&
	       condition_holds(m->flavour, id->flavour);
}

void cram_settings_resolve(const struct cram_conf *conf, const struct cram_vm_identity *id,
			   uint64_t ram, const struct cram_vm_layer *xml,
			   const struct cram_vm_layer *cli, const struct cram_vm_layer *persist,
			   struct cram_vm_settings *ret)
{
	const struct {
		const struct cram_vm_layer *layer;
		enum cram_origin origin;
	} late[] = {
		{ xml, CRAM_ORIGIN_XML },
		{ persist, CRAM_ORIGIN_PERSIST },
		{ cli, CRAM_ORIGIN_CLI },
	};

	memset(ret, 0, sizeof(*ret));
	for (unsigned int i = 0; i < CRAM_N_SETTINGS; i++) {
		enum cram_setting s = (enum cram_setting)i;
		uint32_t bit = 1U << i;

		apply(ret, &built_in, s, ram, CRAM_ORIGIN_DEFAULT, "");
		if (conf->vm.set & bit)
			apply(ret, &conf->vm, s, ram, CRAM_ORIGIN_HOST, "");
		for (size_t m = 0; m < conf->matches.n; m++)
			if (conf->matches.v[m].layer.set & bit &&
			    match_holds(&conf->matches.v[m], id))
				apply(ret, &conf->matches.v[m].layer, s, ram, CRAM_ORIGIN_MATCH,
				      conf->matches.v[m].name);
		for (size_t l = 0; l < ARRAY_SIZE(late); l++)
			if (late[l].layer && late[l].layer->set & bit)
				apply(ret, late[l].layer, s, ram, late[l].origin, "");
	}
}
