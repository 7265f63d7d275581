// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Sizes, settings of VMs, cramd.conf, domain XML, the state file: good input and bad.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "settings/domain.h"
#include "settings/settings.h"
#include "util/cleanup.h"
#include "util/duration.h"
#include "util/file.h"
#include "util/log.h"
#include "util/utf8.h"

#define NS "xmlns:cram='" CRAM_XML_NAMESPACE "'"

static void sizes_take_libvirts_units(void **state)
{
	static const struct {
		const char *text;
		uint64_t unit, bytes;
	} good[] = {
		{ "0", 1, 0 },
		{ "12", KiB, 12 * KiB },
		{ " 12 GiB ", 1, 12 * GiB },
		{ "12GiB", 1, 12 * GiB },
		{ "1 KB", 1, 1000 },
		{ "1 k", 1, 1024 },
		{ "3 tb", 1, 3000000000000 },
		{ "7 bytes", KiB, 7 },
		{ "5 b", KiB, 5 },
		{ "9223372036854775807", 1, INT64_MAX },
	};
	static const struct {
		const char *text;
		int r;
	} bad[] = {
		{ "", -EINVAL },
		{ "-1", -EINVAL },
		{ "1.5 GiB", -EINVAL },
		{ "1 XiB", -EINVAL },
		{ "GiB", -EINVAL },
		{ "1 Gi B", -EINVAL },
		{ "0x10", -EINVAL },
		{ "9223372036854775808", -ERANGE },
		{ "99999999999999999999999", -ERANGE },
		{ "8388608 TiB", -ERANGE },
		{ "1 GiBGiBGiBGiB", -EINVAL },
		{ "1 GiB x", -EINVAL },
	};
	uint64_t v;
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		assert_int_equal(cram_size_parse(good[i].text, good[i].unit, &v), 0);
		assert_int_equal(v, good[i].bytes);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		v = 42;
		assert_int_equal(cram_size_parse(bad[i].text, 1, &v), bad[i].r);
		assert_int_equal(v, 42);
	}
}

static void a_bare_size_is_refused_where_a_unit_is_needed(void **state)
{
	uint64_t v = 42;
	(void)state;

	assert_int_equal(cram_size_parse("5", 0, &v), -EINVAL);
	assert_int_equal(cram_size_parse(" 1024 ", 0, &v), -EINVAL);
	assert_int_equal(v, 42);
	assert_int_equal(cram_size_parse("5 KiB", 0, &v), 0);
	assert_int_equal(v, 5 * KiB);
	assert_int_equal(cram_size_parse("0", 0, &v), 0);
	assert_int_equal(v, 0);
}

static void times_take_units(void **state)
{
	static const struct {
		const char *text;
		uint64_t step, steps;
		int r;
	} cases[] = {
		{ "12", DURATION_MS, 12, 0 },
		{ "1s", DURATION_MS, 1000, 0 },
		{ "1000 ms", DURATION_S, 1, 0 },
		{ " 2 min ", DURATION_S, 120, 0 },
		{ "1 h", DURATION_US, 3600000000, 0 },
		{ "0", DURATION_S, 0, 0 },
		{ "1500 ms", DURATION_S, 0, -EDOM },
		{ "", DURATION_S, 0, -EINVAL },
		{ "s", DURATION_S, 0, -EINVAL },
		{ "-1 s", DURATION_S, 0, -EINVAL },
		{ "1 S", DURATION_S, 0, -EINVAL },
		{ "1 s s", DURATION_S, 0, -EINVAL },
		{ "1.5 s", DURATION_MS, 0, -EINVAL },
		/* A line break is no blank in a configuration file. */
		{ "1\n s", DURATION_S, 0, -EINVAL },
		{ "1 KiB", DURATION_S, 0, -EINVAL },
		{ "99999999999999999999", DURATION_US, 0, -ERANGE },
		{ "9999999999999999 h", DURATION_S, 0, -ERANGE },
	};
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t v = 42;

		assert_int_equal(cram_duration_parse(cases[i].text, cases[i].step, &v), cases[i].r);
		assert_int_equal(v, cases[i].r ? 42 : cases[i].steps);
	}
}

static void times_are_written_exactly_in_the_largest_unit_up_to_a_second(void **state)
{
	static const struct {
		uint64_t us;
		const char *text;
	} cases[] = {
		{ 0, "0 s" },
		{ 500 * DURATION_MS, "500 ms" },
		{ 1500 * DURATION_MS, "1500 ms" },
		{ 2 * DURATION_S, "2 s" },
		{ DURATION_H, "3600 s" },
		{ 1500, "1500 us" },
	};
	char buf[24];
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_string_equal(cram_duration_format(cases[i].us, buf, sizeof(buf)),
				    cases[i].text);
}

static void one_time_is_one_setting_however_it_is_written(void **state)
{
	static const char *const texts[] = { "[host]\nround = 3000\n", "[host]\nround = 3 s\n",
					     "[host]\nround = 3000ms\n",
					     "[host]\nround = 3000000 us\n" };
	struct cram_vm_layer l = { 0 };
	struct cram_conf conf;
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		assert_int_equal(cram_conf_parse("c", texts[i], strlen(texts[i]), &conf, NULL), 0);
		assert_int_equal(conf.host.round_ms, 3000);
		cram_conf_free(&conf);
	}
	assert_int_equal(cram_layer_set(&l, CRAM_SET_COLD_AGE, "2 min", 0, NULL), 0);
	assert_int_equal(l.cold_age_s, 120);
}

static void sizes_print_for_people(void **state)
{
	char buf[32];
	(void)state;

	assert_string_equal(cram_size_format(0, buf, sizeof(buf)), "0 bytes");
	assert_string_equal(cram_size_format(1536 * MiB, buf, sizeof(buf)), "1.50 GiB");
	assert_string_equal(cram_size_format(3 * TiB, buf, sizeof(buf)), "3 TiB");
	assert_string_equal(cram_size_format(CRAM_UNLIMITED, buf, sizeof(buf)), "unlimited");
}

static void sizes_print_exactly_in_the_largest_unit(void **state)
{
	static const struct {
		uint64_t bytes;
		const char *text;
	} cases[] = {
		{ 0, "0 bytes" },	    { 64 * MiB, "64 MiB" },
		{ 3 * GiB, "3 GiB" },	    { 53687091, "53687091 bytes" },
		{ 1536 * MiB, "1536 MiB" }, { CRAM_UNLIMITED, "unlimited" },
	};
	char buf[32];
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_string_equal(cram_size_format_exactly(cases[i].bytes, buf, sizeof(buf)),
				    cases[i].text);
}

static void an_error_says_object_attempt_cause_and_remedy(void **state)
{
	struct cram_error err = { 0 };
	char buf[CRAM_ERROR_TEXT];
	(void)state;

	assert_int_equal(cram_error_set(&err, -ERANGE, "quota", "set it", "lower it",
					"%d exceeds %d", 12, 8),
			 -ERANGE);
	assert_int_equal(cram_error_prefix(&err, "vm \"%s\"", "db1"), -ERANGE);
	assert_string_equal(cram_error_format(&err, buf, sizeof(buf)),
			    "vm \"db1\": quota: cannot set it: 12 exceeds 8; lower it");
	assert_int_equal(cram_error_set(NULL, -EIO, "x", NULL, NULL, "y"), -EIO);
}

static void log_lines_cannot_be_forged_and_are_rate_limited(void **state)
{
	struct cram_ratelimit rl = { .interval_ms = 1000, .burst = 2 };
	struct cram_log log = { .level = LOG_INFO, .priority = true };
	char buf[64] = "";
	uint32_t missed = 0;
	int p[2];
	(void)state;

	assert_int_equal(pipe(p), 0);
	log.fd = p[1];
	cram_log_warn(&log, "vm %s", "a\n<0>b\033[2J");
	cram_log_debug(&log, "not this");
	close(p[1]);
	assert_true(read(p[0], buf, sizeof(buf) - 1) > 0);
	close(p[0]);
	assert_string_equal(buf, "<4>vm a?<0>b?[2J\n");
	assert_true(cram_ratelimit_ok(&rl, 10, &missed));
	assert_true(cram_ratelimit_ok(&rl, 11, &missed));
	assert_false(cram_ratelimit_ok(&rl, 12, &missed));
	assert_true(cram_ratelimit_ok(&rl, 1500, &missed));
	assert_int_equal(missed, 1);
}

/* ------------------------------------------------------------------ layers */

static void every_setting_refuses_what_it_does_not_allow(void **state)
{
	static const struct {
		enum cram_setting s;
		const char *text, *allowed;
	} bad[] = {
		{ CRAM_SET_MODE, "on", "off, monitor or auto" },
		{ CRAM_SET_QUOTA, "-1", "integer" },
		{ CRAM_SET_QUOTA, "lots", "unlimited" },
		{ CRAM_SET_QUOTA, "5", "with a unit" },
		{ CRAM_SET_FLOOR, "4096", "with a unit" },
		{ CRAM_SET_HARD_LIMIT, "1 QiB", "TiB" },
		{ CRAM_SET_FLOOR, "101%", "0% to 100%" },
		{ CRAM_SET_FLOOR, "unlimited", "integer" },
		{ CRAM_SET_WEIGHT, "0", "1 to 10000" },
		{ CRAM_SET_WEIGHT, "10001", "1 to 10000" },
		{ CRAM_SET_WEIGHT, "1 KiB", "1 to 10000" },
		{ CRAM_SET_COLD_AGE, "0", "1 to 86400" },
		{ CRAM_SET_COLD_AGE, "86401", "auto" },
		{ CRAM_SET_COLD_AGE, "1500 ms", "whole seconds" },
		{ CRAM_SET_COLD_AGE, "25 h", "86400" },
		{ CRAM_SET_COLD_AGE, "1 sec", "min" },
		{ CRAM_SET_TIERS, "", "node" },
		{ CRAM_SET_TIERS, "node,disk", "node" },
		{ CRAM_SET_TIERS, "swap", "cram, node, zswap" },
		{ CRAM_SET_TIERS, "nodenodenodenodenode", "node" },
	};
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct cram_vm_layer l = { 0 }, zero = { 0 };
		struct cram_error err = { 0 };

		assert_true(cram_layer_set(&l, bad[i].s, bad[i].text, 0, &err) < 0);
		assert_memory_equal(&l, &zero, sizeof(l));
		assert_string_equal(err.object, cram_setting_name(bad[i].s));
		assert_non_null(strstr(err.advice, bad[i].allowed));
		assert_non_null(strstr(err.why, bad[i].text));
	}
}

static void the_strongest_source_wins_setting_by_setting(void **state)
{
	static const char text[] = "[vm]\nmode = auto\nweight = 200\nquota = 1 GiB\n"
				   "[match web]\nname = web-*\nweight = 300\ncold_age = 10\n"
				   "[match late]\nname = web-1\ncold_age = 20\n"
				   "[match other]\nflavour = m1.*\nfloor = 10%\n";
	struct cram_vm_layer xml = { 0 }, cli = { 0 }, persist = { 0 };
	struct cram_vm_identity id = { .name = "web-1" };
	struct cram_vm_settings set;
	struct cram_error err = { 0 };
	struct cram_conf conf;
	(void)state;

	assert_int_equal(cram_conf_parse("c", text, strlen(text), &conf, &err), 0);
	cram_layer_set(&xml, CRAM_SET_QUOTA, "2 GiB", 1, &err);
	cram_layer_set(&xml, CRAM_SET_FLOOR, "3 GiB", 1, &err);
	cram_layer_set(&persist, CRAM_SET_QUOTA, "5 GiB", 1, &err);
	cram_layer_set(&persist, CRAM_SET_HARD_LIMIT, "6 GiB", 1, &err);
	cram_layer_set(&cli, CRAM_SET_QUOTA, "7 GiB", 1, &err);
	cram_settings_resolve(&conf, &id, 8 * GiB, &xml, &cli, &persist, &set);
	assert_int_equal(set.mode, CRAM_MODE_AUTO);
	assert_int_equal(set.origin[CRAM_SET_MODE], CRAM_ORIGIN_HOST);
	assert_int_equal(set.weight, 300);
	assert_string_equal(set.match[CRAM_SET_WEIGHT], "web");
	assert_int_equal(set.cold_age_s, 20);
	assert_string_equal(set.match[CRAM_SET_COLD_AGE], "late");
	assert_int_equal(set.floor, 3 * GiB);
	assert_int_equal(set.origin[CRAM_SET_FLOOR], CRAM_ORIGIN_XML);
	assert_int_equal(set.hard_limit, 6 * GiB);
	assert_int_equal(set.origin[CRAM_SET_HARD_LIMIT], CRAM_ORIGIN_PERSIST);
	assert_int_equal(set.quota, 7 * GiB);
	assert_int_equal(set.origin[CRAM_SET_QUOTA], CRAM_ORIGIN_CLI);
	assert_int_equal(set.tiers, 1U << CRAM_TIER_CRAM);
	assert_int_equal(set.origin[CRAM_SET_TIERS], CRAM_ORIGIN_DEFAULT);

	id = (struct cram_vm_identity){ .name = "db", .flavour = "m1.large" };
	cram_settings_resolve(&conf, &id, 10 * GiB, NULL, NULL, NULL, &set);
	assert_int_equal(set.floor, GiB);
	assert_int_equal(set.quota, GiB);
	cram_conf_free(&conf);
}

/* Names may have 255 characters, and a pattern is about all of them. */
static void a_pattern_matches_the_whole_name(void **state)
{
	static const char text[] = "[vm]\nweight = 100\n[match end]\nname = *-end\nweight = 300\n"
				   "[match part]\nname = prod\nweight = 400\n";
	struct cram_vm_identity id;
	struct cram_vm_settings set;
	struct cram_error err = { 0 };
	struct cram_conf conf;
	char name[256];
	(void)state;

	memset(name, 'x', 255);
	memcpy(name + 251, "-end", 5);
	assert_int_equal(cram_conf_parse("c", text, strlen(text), &conf, &err), 0);
	id = (struct cram_vm_identity){ .name = name };
	cram_settings_resolve(&conf, &id, GiB, NULL, NULL, NULL, &set);
	assert_int_equal(set.weight, 300);
	id.name = "prod-1";
	cram_settings_resolve(&conf, &id, GiB, NULL, NULL, NULL, &set);
	assert_int_equal(set.weight, 100);
	cram_conf_free(&conf);
}

/* libvirt's own limit on what QEMU may take, and a limit on locked memory, are neither ours. */
static void what_libvirt_allows_qemu_is_no_size_of_the_guest(void **state)
{
	static const char xml[] =
		"<domain><name>n</name><memory unit='GiB'>1</memory><memtune><hard_limit "
		"unit='TiB'>8</hard_limit></memtune><metadata><nova:instance xmlns:nova="
		"'http://openstack.org/xmlns/libvirt/nova/1.0'><nova:flavor name='m1.old'/>"
		"</nova:instance></metadata></domain>";
	struct cram_domain d;
	(void)state;

	assert_int_equal(cram_domain_parse(xml, strlen(xml), &d, NULL), 0);
	assert_int_equal(d.ram, GiB);
	assert_false(d.locked);
	assert_false(d.has_tiering);
	assert_string_equal(d.flavour, "m1.old"); /* as Nova wrote it before 1.1 */
}

static void an_unlisted_vm_is_only_monitored(void **state)
{
	struct cram_vm_identity id = { .name = "x" };
	struct cram_vm_settings set;
	struct cram_conf conf;
	(void)state;

	cram_conf_init(&conf);
	cram_settings_resolve(&conf, &id, 6 * GiB, NULL, NULL, NULL, &set);
	assert_int_equal(set.mode, CRAM_MODE_MONITOR);
	assert_int_equal(set.quota, CRAM_UNLIMITED);
	assert_int_equal(set.hard_limit, CRAM_UNLIMITED);
	assert_int_equal(set.floor, 3 * GiB);
	assert_int_equal(set.weight, 100);
	assert_int_equal(set.cold_age_s, 0);
}

static void a_floor_beyond_the_guest_is_the_guest(void **state)
{
	struct cram_vm_identity id = { .name = "x" };
	struct cram_vm_layer xml = { 0 };
	struct cram_vm_settings set;
	struct cram_conf conf;
	(void)state;

	cram_conf_init(&conf);
	cram_layer_set(&xml, CRAM_SET_FLOOR, "100 GiB", 1, NULL);
	cram_settings_resolve(&conf, &id, 6 * GiB, &xml, NULL, NULL, &set);
	assert_int_equal(set.floor, 6 * GiB);
}

static void printed_values_are_values_that_can_be_set(void **state)
{
	struct cram_vm_settings set = {
		.mode = CRAM_MODE_AUTO,
		.quota = 3 * GiB + 1,
		.hard_limit = CRAM_UNLIMITED,
		.floor = 4 * MiB,
		.weight = 7,
		.tiers = 1U << CRAM_TIER_NODE,
		.cold_age_s = 90,
	};
	(void)state;

	for (unsigned int s = 0; s < CRAM_N_SETTINGS; s++) {
		struct cram_vm_layer l = { 0 };
		char text[64];

		cram_settings_text(&set, (enum cram_setting)s, text, sizeof(text));
		assert_int_equal(cram_layer_set(&l, (enum cram_setting)s, text, 0, NULL), 0);
		if (s == CRAM_SET_QUOTA)
			assert_int_equal(l.quota, set.quota);
		if (s == CRAM_SET_TIERS)
			assert_int_equal(l.tiers, set.tiers);
	}
}

static void what_a_change_did_is_one_line(void **state)
{
	struct cram_vm_settings before = { .quota = CRAM_UNLIMITED,
					   .hard_limit = CRAM_UNLIMITED,
					   .floor = 4 * GiB,
					   .weight = 100,
					   .tiers = 1U << CRAM_TIER_CRAM },
				after = before;
	char text[256], little[64];
	(void)state;

	assert_false(cram_settings_changes(&before, &after, text, sizeof(text)));
	assert_string_equal(text, "");
	after.mode = CRAM_MODE_AUTO;
	after.quota = 3 * GiB;
	after.cold_age_s = 90;
	after.floor++;
	assert_true(cram_settings_changes(&before, &after, text, sizeof(text)));
	assert_string_equal(text,
			    "mode off -> auto, quota unlimited -> 3 GiB, floor 4 GiB -> 4.00 GiB, "
			    "cold_age auto -> 90 s");
	assert_true(cram_settings_changes(&before, &after, little, sizeof(little)));
	assert_string_equal(little, "mode off -> auto, quota unlimited -> 3 GiB, and 2 more");
}

/* What was an override is none any more, or is kept from now on: as much a change as a value. */
static void that_a_value_comes_from_elsewhere_is_a_change(void **state)
{
	struct cram_vm_settings before = { .quota = 3 * GiB, .floor = 512 * MiB }, after = before;
	char text[256];
	(void)state;

	after.origin[CRAM_SET_QUOTA] = CRAM_ORIGIN_PERSIST;
	after.origin[CRAM_SET_WEIGHT] = CRAM_ORIGIN_MATCH;
	strcpy(after.match[CRAM_SET_WEIGHT], "web");
	/* It will be another one when the VM's RAM is. */
	after.floor_percent = 50;
	assert_true(cram_settings_changes(&before, &after, text, sizeof(text)));
	assert_string_equal(text, "quota 3 GiB (default -> cli-persist), floor 512 MiB (default -> "
				  "default, 50%), weight 0 (default -> match web)");
}

static void what_a_new_configuration_changes_is_one_line(void **state)
{
	struct cram_conf before, after;
	char text[256];
	(void)state;

	cram_conf_init(&before);
	cram_conf_init(&after);
	assert_false(cram_conf_changes(&before, &after, text, sizeof(text)));
	after.host.reserve_bytes = 64 * MiB;
	after.host.round_ms = 3000;
	after.host.admission = CRAM_ADMISSION_STRICT;
	strcpy(after.host.state_dir, "/srv");
	assert_true(cram_conf_changes(&before, &after, text, sizeof(text)));
	assert_string_equal(
		text, "host.state_dir /var/lib/cramd -> /srv (from the next start on), host.round "
		      "2 s -> 3 s, host.reserve 1 GiB -> 64 MiB, host.admission warn -> "
		      "strict");
	cram_conf_free(&before);
	cram_conf_free(&after);
}

static struct cram_conf parsed(const char *text)
{
	struct cram_error err = {};
	struct cram_conf conf;

	assert_int_equal(cram_conf_parse("test", text, strlen(text), &conf, &err), 0);
	return conf;
}

/* Of what holds for VMs as much as of what the host does. */
static void a_new_configuration_changes_defaults_and_rules_for_vms_too(void **state)
{
	struct cram_conf a = parsed("[vm]\nquota = 3 GiB\n"
				    "[match web]\nname = web*\nmode = auto\n"
				    "[match old]\nname = old*\nweight = 7\n"
				    "[match db]\nname = db*\nfloor = 50%\n");
	struct cram_conf b = parsed("[vm]\nmode = auto\n"
				    "[match db]\npartition = /big\nfloor = 25%\n"
				    "[match web]\nname = web*\nmode = auto\n"
				    "[match new]\nflavour = m1.*\nmode = off\nweight = 9\n");
	char text[512], little[64];
	(void)state;

	assert_false(cram_conf_changes(&a, &a, text, sizeof(text)));
	assert_true(cram_conf_changes(&a, &b, text, sizeof(text)));
	assert_string_equal(
		text, "vm.mode unset -> auto, vm.quota 3 GiB -> unset, match old dropped: name "
		      "old*, weight 7, match db.name db* -> unset, match db.partition unset -> "
		      "/big, match db.floor 50% -> 25%, match new added: flavour m1.*, mode off, "
		      "weight 9, match rules in another order");
	assert_true(cram_conf_changes(&a, &b, little, sizeof(little)));
	assert_string_equal(little, "vm.mode unset -> auto, and 7 more");
	cram_conf_free(&a);
	cram_conf_free(&b);
}

/* ------------------------------------------------------------------ cramd.conf */

static void the_table_of_options_is_sound(void **state)
{
	struct cram_conf conf;
	(void)state;

	cram_conf_init(&conf);
	assert_int_equal(cram_conf_check(&conf, NULL), 0);
	for (size_t i = 0; i < cram_n_options; i++) {
		const struct cram_option *o = &cram_options[i];
		char text[256];
		struct cram_conf c;
		struct cram_error err = { 0 };

		/* Its own default must be accepted, and described. */
		snprintf(text, sizeof(text), "[%s]\n%s = %s\n", o->section, o->key, o->def);
		if (cram_conf_parse("t", text, strlen(text), &c, &err) < 0)
			fail_msg("[%s] %s: default %s refused: %s", o->section, o->key, o->def,
				 err.why);
		assert_memory_equal(&c.host, &conf.host, sizeof(c.host));
		cram_conf_free(&c);
		assert_true(strlen(o->reason) > 20);
		for (size_t j = 0; j < i; j++)
			assert_false(strcmp(o->key, cram_options[j].key) == 0 &&
				     strcmp(o->section, cram_options[j].section) == 0);
	}
	assert_true(conf.host.policy.give_back_permille < 50); /* shares within 5 % */
}

static void a_bad_configuration_is_refused_with_file_and_line(void **state)
{
	static const struct {
		const char *text, *object, *says;
	} bad[] = {
		{ "[vm]\nquotaa = 1\n", "f:2", "quotaa" },
		{ "[vmm]\n", "f:1", "vmm" },
		{ "[vmm]\nquota = 1\n", "f:1", "vmm" },
		{ "quota = 1\n", "f:1", "quota" },
		{ "[vm]\nquota = x\n", "f:2: quota", "\"x\"" },
		{ "[vm]\n\n# c\nweight = 0\n", "f:4: weight", "\"0\"" },
		{ "[host]\nround = 50\n", "f:2: round", "\"50\"" },
		{ "[host]\nround = 2 us\n", "f:2: round", "\"2 us\"" },
		{ "[host]\nreserve = 1024\n", "f:2: reserve", "\"1024\"" },
		{ "[vm]\nquota = 4096\n", "f:2: quota", "\"4096\"" },
		{ "[vm]\ntiers = cram swap\n", "f:2: tiers", "cram swap" },
		{ "[host]\nzswap_writeback = 1\n", "f:2: zswap_writeback", "bad value" },
		{ "[host]\ntier_nodes = 2;3\n", "f:2: tier_nodes", "2;3" },
		{ "[host]\ntier_nodes = 3-2\n", "f:2: tier_nodes", "3-2" },
		{ "[host]\ncompressing_nodes = auto\n", "f:2: compressing_nodes", "auto" },
		{ "[host]\ncompressing_nodes = 64\n", "f:2: compressing_nodes", "64" },
		{ "[policy]\nslo = 1 s\n", "f:2: slo", "1 s" },
		{ "[host]\nround\n", "f:2", "" },
		{ "[host]\nround = 100\n 200\n", "f:3", "200" },
		{ "[vm\nquota = 1\n", "f:1", "[vm" },
		{ "[match ]\nname = x\n", "f:1", "match" },
		{ "[match abcdefghijklmnopqrstuvwxyzabcdefghij]\nname = x\n", "f:1", "match" },
		{ "[match a]\nmode = auto\n", "[match a]", "every VM" },
		{ "[detect]\ndetector = magic\n", "f:2: detector", "magic" },
		{ "[policy]\ncold_age_min = 4000\n", "[policy] cold_age_min", "cold_age_max" },
		{ "[detect]\ndamon_sample = 999\n", "[detect] damon_sample", "too short" },
		{ "[move]\nbatch = 15\n", "f:2: batch", "15" },
		{ "[move]\nbatch = 513\n", "f:2: batch", "513" },
		{ "[detect]\nsecond_look = 0\n", "f:2: second_look", "0" },
		{ "[rates]\ndemote = 1 KiB\n", "f:2: demote", "1 KiB" },
	};
	char long_line[1000], nul[] = "[vm]\0\n";
	struct cram_error err = { 0 };
	struct cram_conf conf;
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		int r = cram_conf_parse("f", bad[i].text, strlen(bad[i].text), &conf, &err);

		if (r >= 0 || strcmp(err.object, bad[i].object) != 0 ||
		    !strstr(err.why, bad[i].says))
			fail_msg("%s: %d, %s: %s", bad[i].text, r, err.object, err.why);
	}
	memset(long_line, 'x', sizeof(long_line));
	memcpy(long_line, "[vm]\n", 5);
	assert_int_equal(cram_conf_parse("f", long_line, sizeof(long_line), &conf, &err), -EINVAL);
	assert_int_equal(cram_conf_parse("f", nul, sizeof(nul) - 1, &conf, &err), -EINVAL);
}

static void write_file(const char *dir, const char *name, const char *text)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	assert_int_equal(cram_file_replace(path, text, strlen(text), 0644), 0);
}

static void what_a_killed_writer_left_is_swept_up_and_nothing_else(void **state)
{
	static const struct {
		const char *name;
		bool stays;
	} files[] = {
		{ "settings", true },	      { "settings.new-aB3xYz", false },
		{ "settings.backup", true },  { "settings.new-aB3xYz~", true },
		{ "other.new-aB3xYz", true }, { "settings.new-", true },
	};
	char dir[] = "/tmp/cram-test-XXXXXX", path[256], cmd[300];
	(void)state;

	assert_non_null(mkdtemp(dir));
	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		write_file(dir, files[i].name, "text");
	snprintf(path, sizeof(path), "%s/settings", dir);
	cram_file_sweep(path);
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, files[i].name);
		assert_int_equal(access(path, F_OK) == 0, files[i].stays);
	}
	cram_file_sweep("/tmp/cram-test-no-such-directory/settings");
	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	assert_int_equal(system(cmd), 0);
}

static void drop_ins_are_read_in_order_and_a_missing_file_is_empty(void **state)
{
	char dir[] = "/tmp/cram-test-XXXXXX", path[256], sub[256], cmd[300];
	struct cram_error err = { 0 };
	struct cram_conf conf;
	(void)state;

	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/cramd.conf", dir);
	snprintf(sub, sizeof(sub), "%s/cramd.conf.d", dir);
	assert_int_equal(cram_conf_load(path, &conf, &err), 0);
	assert_int_equal(conf.host.round_ms, 2000);
	cram_conf_free(&conf);
	assert_int_equal(mkdir(sub, 0755), 0);
	write_file(dir, "cramd.conf", "[host]\nround = 1000\n[vm]\nweight = 1\n");
	write_file(sub, "20.conf", "[vm]\nweight = 20\n");
	write_file(sub, "10.conf", "[vm]\nweight = 10\nmode = auto\n");
	write_file(sub, "30.conf~", "[vm]\nweight = 30\n");
	assert_int_equal(cram_conf_load(path, &conf, &err), 0);
	assert_int_equal(conf.host.round_ms, 1000);
	assert_int_equal(conf.vm.weight, 20);
	assert_int_equal(conf.vm.mode, CRAM_MODE_AUTO);
	cram_conf_free(&conf);
	write_file(sub, "15.conf", "[vm]\nwait = 20\n");
	assert_int_equal(cram_conf_load(path, &conf, &err), -EINVAL);
	assert_non_null(strstr(err.object, "15.conf:2"));
	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	assert_int_equal(system(cmd), 0);
}

/* ------------------------------------------------------------------ XML */

static void one_parser_takes_every_form_libvirt_hands_out(void **state)
{
	static const char *const forms[] = {
		/* as written, in a domain */
		"<domain type='kvm'><name>a</name><metadata><cram:tiering " NS
		" mode='auto'><cram:quota unit='GiB'>3</cram:quota><cram:hard_limit unit='GiB'>8"
		"</cram:hard_limit><cram:floor>4194304</cram:floor><cram:weight>500</cram:weight>"
		"<cram:cold age='120'/></cram:tiering></metadata></domain>",
		/* namespace declared on the domain, another prefix */
		"<domain xmlns:x='" CRAM_XML_NAMESPACE "'><metadata><x:tiering mode='auto'>"
		"<x:quota unit='GiB'>3</x:quota><x:hard_limit unit='GiB'>8</x:hard_limit>"
		"<x:floor>4194304</x:floor><x:weight>500</x:weight><x:cold age='120'/></x:tiering>"
		"</metadata></domain>",
		/* default namespace */
		"<domain><metadata><tiering xmlns='" CRAM_XML_NAMESPACE "' mode='auto'>"
		"<quota unit='GiB'>3</quota><hard_limit unit='GiB'>8</hard_limit>"
		"<floor>4194304</floor><weight> 500\n</weight><cold age='120'/></tiering>"
		"</metadata></domain>",
		/* /run/libvirt/qemu/NAME.xml */
		"<domstatus state='running' pid='7'><domain><metadata><cram:tiering " NS
		" mode='auto'><cram:quota unit='MiB'>3072</cram:quota><cram:hard_limit "
		"unit='GiB'>8</cram:hard_limit><cram:floor unit='MiB'>4096</cram:floor>"
		"<cram:weight>500</cram:weight><cram:cold age='120'/></cram:tiering></metadata>"
		"</domain></domstatus>",
	};
	static const char element[] =
		"<tiering mode='auto'><quota unit='GiB'>3</quota><hard_limit unit='GiB'>8"
		"</hard_limit><floor unit='KiB'>4194304</floor><weight>500</weight>"
		"<cold age='120'/></tiering>";
	(void)state;

	for (size_t i = 0; i <= ARRAY_SIZE(forms); i++) {
		struct cram_error err = { 0 };
		struct cram_vm_layer l;
		char warning[256];

		if (i < ARRAY_SIZE(forms)) {
			struct cram_domain d;

			assert_int_equal(cram_domain_parse(forms[i], strlen(forms[i]), &d, &err),
					 0);
			assert_true(d.has_tiering);
			assert_string_equal(d.warning, "");
			l = d.tiering;
		} else { /* virDomainGetMetadata: our namespace stripped */
			assert_int_equal(cram_tiering_parse(element, strlen(element), &l, warning,
							    sizeof(warning), &err),
					 0);
			assert_string_equal(warning, "");
		}
		assert_int_equal(l.set, (1U << CRAM_SET_TIERS) - 1);
		assert_int_equal(l.mode, CRAM_MODE_AUTO);
		assert_int_equal(l.quota, 3 * GiB);
		assert_int_equal(l.hard_limit, 8 * GiB);
		assert_int_equal(l.floor, 4 * GiB);
		assert_int_equal(l.weight, 500);
		assert_int_equal(l.cold_age_s, 120);
	}
}

static void bad_settings_name_element_value_and_range_and_keep_the_vm(void **state)
{
	static const struct {
		const char *inner, *object, *why, *advice;
	} bad[] = {
		{ "mode='on'/>", "<tiering mode>", "\"on\"", "off, monitor or auto" },
		{ "><cram:quota unit='GB2'>1</cram:quota></cram:tiering>", "<quota>", "\"GB2\"",
		  "GiB" },
		{ "><cram:quota>-5</cram:quota></cram:tiering>", "<quota>", "\"-5\"", "integer" },
		{ "><cram:quota>5 GiB</cram:quota></cram:tiering>", "<quota>", "not a size",
		  "unit=" },
		{ "><cram:quota/></cram:tiering>", "<quota>", "\"\"", "integer" },
		{ "><cram:weight>10001</cram:weight></cram:tiering>", "<weight>", "\"10001\"",
		  "1 to 10000" },
		{ "><cram:cold age='0'/></cram:tiering>", "<cold age>", "\"0\"", "1 to 86400" },
		{ "><cram:floor>200%</cram:floor></cram:tiering>", "<floor>", "\"200%\"", "100%" },
		{ "><cram:quota>1</cram:quota><cram:quota>2</cram:quota></cram:tiering>", "<quota>",
		  "twice", "one" },
		{ "tiers='tape'/>", "<tiering tiers>", "\"tape\"", "node" },
	};
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct cram_error err = { 0 };
		struct cram_domain d;
		char xml[1024];

		snprintf(xml, sizeof(xml),
			 "<domain><name>v</name><memory unit='MiB'>64</memory><metadata>"
			 "<cram:tiering " NS " %s</metadata></domain>",
			 bad[i].inner);
		if (cram_domain_parse(xml, strlen(xml), &d, &err) != -EDOM ||
		    strcmp(err.object, bad[i].object) != 0 || !strstr(err.why, bad[i].why) ||
		    !strstr(err.advice, bad[i].advice))
			fail_msg("%s: %s: %s; %s", bad[i].inner, err.object, err.why, err.advice);
		assert_string_equal(d.name, "v");
		assert_int_equal(d.ram, 64 * MiB);
		assert_false(d.has_tiering);
		assert_int_equal(d.tiering.set, 0);
	}
}

static void unknown_elements_are_ignored_and_reported(void **state)
{
	static const char *const xml[] = {
		"<domain><metadata><c:tiering xmlns:c='" CRAM_XML_NAMESPACE
		"' mode='off'><c:future/></c:tiering></metadata></domain>",
		"<domain><metadata><c:tiering xmlns:c='" CRAM_XML_NAMESPACE
		"' mode='off' x='1'/></metadata></domain>",
		"<domain><metadata><c:tiering xmlns:c='" CRAM_XML_NAMESPACE
		"' mode='off'><quota>1</quota></c:tiering></metadata></domain>",
	};
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(xml); i++) {
		struct cram_domain d;

		assert_int_equal(cram_domain_parse(xml[i], strlen(xml[i]), &d, NULL), 0);
		assert_int_equal(d.tiering.set, 1U << CRAM_SET_MODE);
		assert_non_null(strstr(d.warning, "ignored"));
	}
}

/* A name of two-byte characters at every place where our own sentence about it may be cut. */
static void what_is_said_of_an_unknown_element_is_cut_between_characters(void **state)
{
	(void)state;

	for (size_t n = 30; n < 200; n++) {
		char xml[1024], escaped[4 * sizeof(((struct cram_domain *)0)->warning)];
		struct cram_domain d;
		size_t len;

		len = (size_t)snprintf(xml, sizeof(xml),
				       "<domain><metadata><c:tiering xmlns:c='" CRAM_XML_NAMESPACE
				       "' mode='off'><c:a");
		for (size_t i = 0; i < n; i++)
			len += (size_t)snprintf(xml + len, sizeof(xml) - len, "\xc3\xa9");
		snprintf(xml + len, sizeof(xml) - len, "/></c:tiering></metadata></domain>");
		assert_int_equal(cram_domain_parse(xml, strlen(xml), &d, NULL), 0);
		assert_non_null(strstr(d.warning, "a\xc3\xa9\xc3\xa9"));
		/* Whatever is no UTF-8 would be escaped. */
		utf8_copy(escaped, sizeof(escaped), d.warning, strlen(d.warning));
		assert_string_equal(escaped, d.warning);
	}
}

static void what_is_not_a_domain_is_refused(void **state)
{
	static const char *const xml[] = {
		"",
		"<",
		"<domain>",
		"<network/>",
		"<domstatus/>",
		"<!DOCTYPE d [<!ENTITY a 'b'>]><domain><name>&a;</name></domain>",
		"<!DOCTYPE d [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><domain>&x;</domain>",
		"<domain xmlns:a='b'><a:b></domain>",
	};
	struct cram_domain d;
	struct cram_error err;
	cleanup_free char *big = malloc(CRAM_DOMAIN_XML_MAX + 1);
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(xml); i++) {
		err = (struct cram_error){ 0 };
		assert_int_equal(cram_domain_parse(xml[i], strlen(xml[i]), &d, &err), -EINVAL);
		assert_true(err.why[0] != '\0');
	}
	memset(big, ' ', CRAM_DOMAIN_XML_MAX + 1);
	assert_int_equal(cram_domain_parse(big, CRAM_DOMAIN_XML_MAX + 1, &d, &err), -EINVAL);
}

static void what_makes_a_vm_ineligible_is_seen(void **state)
{
	static const char xml[] =
		"<domain type='kvm'><name>n</name><uuid>01234567-89ab-cdef-0123-456789abcdef</uuid>"
		"<memory unit='KiB'>1048576</memory><currentMemory unit='KiB'>524288</currentMemory>"
		"<resource><partition>/machine/gold</partition></resource>"
		"<memoryBacking><hugepages/><locked/><source type='memfd'/><access mode='shared'/>"
		"</memoryBacking><cputune><vcpusched vcpus='0' scheduler='fifo' priority='1'/>"
		"</cputune><launchSecurity type='sev'/><cpu><numa><cell id='0' cpus='0' "
		"memory='512' unit='MiB'/><cell id='1' cpus='1' memory='524288' "
		"memAccess='private'/></numa></cpu><numatune><memory mode='strict' nodeset='0'/>"
		"</numatune><devices>%s<memory model='dimm'/><memballoon model='virtio' "
		"freePageReporting='on'/></devices><metadata><nova:instance xmlns:nova="
		"'http://openstack.org/xmlns/libvirt/nova/1.1'><nova:flavor name='m1.big'/>"
		"</nova:instance></metadata></domain>";
	static const struct {
		const char *device;
		bool pinned, vhost_user;
	} devices[] = {
		{ "<hostdev mode='subsystem' type='pci'/>", true, false },
		{ "<hostdev mode='subsystem' type='usb'/>", false, false },
		{ "<hostdev mode='subsystem' type='mdev'/>", true, false },
		{ "<interface type='hostdev'/>", true, false },
		{ "<interface type='vdpa'/>", true, false },
		{ "<interface type='vhostuser'/>", false, true },
		{ "<interface type='bridge'/>", false, false },
		{ "<disk type='nvme'/>", true, false },
		{ "<disk type='vhostvdpa'/>", true, false },
		{ "<filesystem type='mount'><driver type='virtiofs'/></filesystem>", false, true },
	};
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(devices); i++) {
		struct cram_domain d;
		char text[4096];

		snprintf(text, sizeof(text), xml, devices[i].device);
		assert_int_equal(cram_domain_parse(text, strlen(text), &d, NULL), 0);
		assert_int_equal(d.iommu_pinned, devices[i].pinned);
		assert_int_equal(d.vhost_user, devices[i].vhost_user);
		assert_string_equal(d.uuid, "01234567-89ab-cdef-0123-456789abcdef");
		assert_string_equal(d.partition, "/machine/gold");
		assert_string_equal(d.flavour, "m1.big");
		assert_int_equal(d.ram, GiB);
		assert_int_equal(d.current, GiB / 2);
		assert_int_equal(d.source, CRAM_MEMORY_MEMFD);
		assert_true(d.shared && d.hugepages && d.locked && d.realtime);
		assert_true(d.launch_security && d.free_page_reporting);
		assert_int_equal(d.n_cells, 2);
		assert_int_equal(d.cells[0].bytes, GiB / 2);
		assert_true(d.cells[0].shared && !d.cells[1].shared);
		assert_int_equal(d.cells[1].bytes, GiB / 2);
		assert_int_equal(d.n_memory_devices, 1);
		assert_string_equal(d.numatune_mode, "strict");
	}
}

/* ------------------------------------------------------------------ state file */

static void overrides_survive_a_restart(void **state)
{
	static const char uuid[] = "01234567-89ab-cdef-0123-456789abcdef";
	char path[] = "/tmp/cram-overrides-XXXXXX";
	struct cram_overrides o = { 0 }, again;
	struct cram_vm_layer l = { 0 };
	const struct cram_override *found;
	struct cram_override put = { .uuid = "01234567-89AB-CDEF-0123-456789ABCDEF" };
	struct cram_error err = { 0 };
	int fd = mkstemp(path);
	(void)state;

	assert_true(fd >= 0);
	close(fd);
	cram_layer_set(&l, CRAM_SET_QUOTA, "3 GiB", 1, NULL);
	cram_layer_set(&l, CRAM_SET_FLOOR, "25%", 1, NULL);
	cram_layer_set(&l, CRAM_SET_COLD_AGE, "auto", 1, NULL);
	put.layer = l;
	put.drained = true;
	put.started = UINT64_C(1) << 40;
	o.paused = true;
	assert_int_equal(cram_overrides_put(&o, &put), 0);
	assert_int_equal(cram_overrides_save(path, &o, &err), 0);
	assert_int_equal(cram_overrides_load(path, &again, &err), 0);
	found = cram_overrides_find(&again, uuid);
	assert_non_null(found);
	assert_int_equal(found->layer.set, l.set);
	assert_int_equal(found->layer.quota, 3 * GiB);
	assert_true(found->layer.floor_is_percent && found->layer.floor_percent == 25);
	assert_true(again.paused && !again.drained && found->drained && !found->paused);
	assert_true(found->started == UINT64_C(1) << 40);
	put.layer = (struct cram_vm_layer){ 0 };
	assert_int_equal(cram_overrides_put(&again, &put), 0);
	assert_non_null(cram_overrides_find(&again, uuid));
	put.drained = false;
	assert_int_equal(cram_overrides_put(&again, &put), 0);
	assert_null(cram_overrides_find(&again, uuid));
	cram_overrides_free(&again);
	cram_overrides_free(&o);
	unlink(path);
	assert_int_equal(cram_overrides_load(path, &again, &err), 0);
	assert_int_equal(again.v.n, 0);
	/* a directory that is not there: the error says so, nothing is left behind */
	assert_int_equal(cram_overrides_save("/proc/nonexistent/x", &o, &err), -ENOENT);
}

static void what_is_kept_is_found_by_name_as_long_as_that_is_one_vms(void **state)
{
	static const char *const uuids[] = { "01234567-89ab-cdef-0123-456789abcdef",
					     "11234567-89ab-cdef-0123-456789abcdef" };
	char path[] = "/tmp/cram-overrides-XXXXXX", text[128];
	struct cram_overrides o = { 0 }, again;
	const struct cram_override *found;
	struct cram_override put = { .name = "d\"\xc3\xa9", .paused = true };
	struct cram_error err = { 0 };
	int fd = mkstemp(path);
	(void)state;

	assert_true(fd >= 0);
	close(fd);
	cram_layer_set(&put.layer, CRAM_SET_QUOTA, "3 GiB", 1, NULL);
	cram_layer_set(&put.layer, CRAM_SET_FLOOR, "25%", 1, NULL);
	strcpy(put.uuid, uuids[0]);
	assert_int_equal(cram_overrides_put(&o, &put), 0);
	assert_int_equal(cram_overrides_save(path, &o, &err), 0);
	assert_int_equal(cram_overrides_load(path, &again, &err), 0);
	assert_int_equal(again.left_out, 0);
	assert_int_equal(cram_overrides_named(&again, put.name, &found), 0);
	assert_string_equal(found->uuid, uuids[0]);
	assert_int_equal(
		cram_overrides_named(&again, "01234567-89AB-cdef-0123-456789abcdef", &found), 0);
	assert_string_equal(cram_override_text(found, text, sizeof(text)),
			    "quota 3 GiB, floor 25%, paused");
	assert_int_equal(cram_overrides_named(&again, "db", &found), -ENOENT);
	strcpy(put.uuid, uuids[1]);
	assert_int_equal(cram_overrides_put(&again, &put), 0);
	assert_int_equal(cram_overrides_named(&again, put.name, &found), -ENOTUNIQ);
	assert_int_equal(cram_overrides_named(&again, uuids[1], &found), 0);
	cram_overrides_free(&again);
	cram_overrides_free(&o);
	unlink(path);
}

static void a_damaged_state_file_is_refused_whole(void **state)
{
	static const char *const bad[] = {
		"",
		"{",
		"[]",
		"{}",
		"{\"version\":2,\"paused\":1,\"vms\":{}}",
		"{\"version\":1}",
		"{\"version\":1,\"vms\":{}} x",
	};
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct cram_overrides o = { 0 };
		struct cram_error err = { 0 };

		if (cram_overrides_parse(bad[i], strlen(bad[i]), &o, &err) != -EBADMSG)
			fail_msg("%s was taken", bad[i]);
		assert_int_equal(o.v.n, 0);
	}
}

/* By another version of the agent, or by hand. */
static void what_is_not_understood_of_a_state_file_is_left_out_alone(void **state)
{
	static const char *const odd[] = {
		"{\"version\":4,\"paused\":true,\"vms\":{%s}}",
		"{\"version\":2,\"paused\":true,\"vms\":{\"x\":{\"quota\":\"1\"},%s}}",
		"{\"version\":2,\"paused\":true,\"vms\":{\"11111111-89ab-cdef-0123-456789abcdef\":7,%s}}",
		"{\"version\":2,\"paused\":true,\"vms\":{\"11111111-89ab-cdef-0123-456789abcdef\":{\"quota\":1},%s}}",
		"{\"version\":2,\"paused\":true,\"vms\":{\"11111111-89ab-cdef-0123-456789abcdef\":{\"q\":\"1\"},%s}}",
		"{\"version\":2,\"paused\":true,\"vms\":{\"11111111-89ab-cdef-0123-456789abcdef\":{\"quota\":true},%s}}",
	};
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(odd); i++) {
		struct cram_overrides o = { 0 };
		struct cram_error err = { 0 };
		char text[1024];

		snprintf(text, sizeof(text), odd[i],
			 "\"01234567-89ab-cdef-0123-456789abcdef\":"
			 "{\"weight\":\"7\",\"drained\":true}");
		assert_int_equal(cram_overrides_parse(text, strlen(text), &o, &err), 0);
		assert_int_equal(o.left_out, 1);
		assert_int_equal(err.code, -EBADMSG);
		assert_int_equal(o.v.n, 1);
		assert_int_equal(o.v.v[0].layer.weight, 7);
		assert_true(o.paused && o.v.v[0].drained);
		cram_overrides_free(&o);
	}
}

static void a_setting_with_a_bad_value_is_left_out_alone(void **state)
{
	static const char text[] =
		"{\"version\":2,\"vms\":{\"01234567-89ab-cdef-0123-456789abcdef\":"
		"{\"weight\":\"0\",\"quota\":\"1 GiB\"}}}";
	struct cram_overrides o = { 0 };
	struct cram_error err = { 0 };
	(void)state;

	assert_int_equal(cram_overrides_parse(text, strlen(text), &o, &err), 0);
	assert_int_equal(o.left_out, 1);
	assert_int_equal(o.v.n, 1);
	assert_int_equal(o.v.v[0].layer.set, 1U << CRAM_SET_QUOTA);
	cram_overrides_free(&o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sizes_take_libvirts_units),
		cmocka_unit_test(a_bare_size_is_refused_where_a_unit_is_needed),
		cmocka_unit_test(times_take_units),
		cmocka_unit_test(times_are_written_exactly_in_the_largest_unit_up_to_a_second),
		cmocka_unit_test(one_time_is_one_setting_however_it_is_written),
		cmocka_unit_test(sizes_print_for_people),
		cmocka_unit_test(sizes_print_exactly_in_the_largest_unit),
		cmocka_unit_test(an_error_says_object_attempt_cause_and_remedy),
		cmocka_unit_test(log_lines_cannot_be_forged_and_are_rate_limited),
		cmocka_unit_test(every_setting_refuses_what_it_does_not_allow),
		cmocka_unit_test(the_strongest_source_wins_setting_by_setting),
		cmocka_unit_test(a_pattern_matches_the_whole_name),
		cmocka_unit_test(what_libvirt_allows_qemu_is_no_size_of_the_guest),
		cmocka_unit_test(an_unlisted_vm_is_only_monitored),
		cmocka_unit_test(a_floor_beyond_the_guest_is_the_guest),
		cmocka_unit_test(printed_values_are_values_that_can_be_set),
		cmocka_unit_test(what_a_change_did_is_one_line),
		cmocka_unit_test(that_a_value_comes_from_elsewhere_is_a_change),
		cmocka_unit_test(what_a_new_configuration_changes_is_one_line),
		cmocka_unit_test(a_new_configuration_changes_defaults_and_rules_for_vms_too),
		cmocka_unit_test(the_table_of_options_is_sound),
		cmocka_unit_test(a_bad_configuration_is_refused_with_file_and_line),
		cmocka_unit_test(what_a_killed_writer_left_is_swept_up_and_nothing_else),
		cmocka_unit_test(drop_ins_are_read_in_order_and_a_missing_file_is_empty),
		cmocka_unit_test(one_parser_takes_every_form_libvirt_hands_out),
		cmocka_unit_test(bad_settings_name_element_value_and_range_and_keep_the_vm),
		cmocka_unit_test(unknown_elements_are_ignored_and_reported),
		cmocka_unit_test(what_is_said_of_an_unknown_element_is_cut_between_characters),
		cmocka_unit_test(what_is_not_a_domain_is_refused),
		cmocka_unit_test(what_makes_a_vm_ineligible_is_seen),
		cmocka_unit_test(overrides_survive_a_restart),
		cmocka_unit_test(what_is_kept_is_found_by_name_as_long_as_that_is_one_vms),
		cmocka_unit_test(a_damaged_state_file_is_refused_whole),
		cmocka_unit_test(what_is_not_understood_of_a_state_file_is_left_out_alone),
		cmocka_unit_test(a_setting_with_a_bad_value_is_left_out_alone),
	};

	return cmocka_run_group_tests_name("settings", tests, NULL, NULL);
}
