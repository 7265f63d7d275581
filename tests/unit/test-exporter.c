// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The exporter's two pure halves: judging requests, writing metrics.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "exporter/http.h"
#include "exporter/render.h"
#include "util/cleanup.h"
#include "util/decimal.h"

#include "synthetic.h"

static void requests_are_judged(void **state)
{
	static const struct {
		const char *text;
		enum http_verdict verdict;
		bool head;
	} requests[] = {
		{ "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", HTTP_METRICS, false },
		{ "GET /metrics HTTP/1.0\n\n", HTTP_METRICS, false },
		{ "GET /metrics?a=b HTTP/1.1\r\n\r\n", HTTP_METRICS, false },
		{ "HEAD /metrics HTTP/1.1\r\n\r\n", HTTP_METRICS, true },
		{ "GET / HTTP/1.1\r\n\r\n", HTTP_INDEX, false },
		{ "GET /metricsx HTTP/1.1\r\n\r\n", HTTP_NOT_FOUND, false },
		{ "GET ?/metrics HTTP/1.1\r\n\r\n", HTTP_NOT_FOUND, false },
		{ "POST /metrics HTTP/1.1\r\n\r\n", HTTP_BAD_METHOD, false },
		{ "GET /metrics HTTP/2.0\r\n\r\n", HTTP_BAD_REQUEST, false },
		{ "GET /metrics\r\n\r\n", HTTP_BAD_REQUEST, false },
		{ "GET  HTTP/1.1\r\n\r\n", HTTP_BAD_REQUEST, false },
		{ " / HTTP/1.1\r\n\r\n", HTTP_BAD_REQUEST, false },
		{ "\r\n\r\n", HTTP_BAD_REQUEST, false },
		{ "\n\n", HTTP_BAD_REQUEST, false },
		{ "GET /metrics HTTP/1.1\r\nHost: x\r\n", HTTP_INCOMPLETE, false },
		{ "", HTTP_INCOMPLETE, false },
	};
	char big[HTTP_REQUEST_MAX];
	bool head;
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(requests); i++) {
		const char *t = requests[i].text;
		enum http_verdict v = http_judge(t, strlen(t), &head);

		if (v != requests[i].verdict || head != requests[i].head)
			fail_msg("%s: judged %d", t, (int)v);
	}
	memset(big, 'x', sizeof(big));
	assert_int_equal(http_judge(big, sizeof(big), &head), HTTP_TOO_LARGE);
	assert_int_equal(http_judge(big, sizeof(big) - 1, &head), HTTP_INCOMPLETE);
}

static bool has(const struct render *r, const char *line)
{
	return memmem(r->text, r->n, line, strlen(line));
}

/* The page of a host with @n VMs, by way of the message that carries it. */
static void render_synthetic(struct render *r, unsigned int n)
{
	struct cram_vm_report vms[4];
	struct cram_host_report host;
	struct cram_dram_report dram[2];
	struct cram_node_report node;
	struct json_object *o;

	assert_true(n <= ARRAY_SIZE(vms));
	for (unsigned int i = 0; i < n; i++)
		synthetic_vm(&vms[i], i);
	synthetic_host(&host, dram, &node, n);
	o = cram_reply_metrics(&(struct cram_status_reports){ &host, dram, 2, &node, 1 }, vms, n);
	assert_int_equal(render_metrics(r, o), 0);
	json_object_put(o);
}

static void each_home_node_has_series_of_its_own(void **state)
{
	struct render r = { 0 };
	(void)state;

	render_synthetic(&r, 1);
	assert_true(has(&r, "\ncram_dram_node_available_bytes{node=\"0\"} 42949672960\n"));
	assert_true(has(&r, "\ncram_dram_node_available_bytes{node=\"1\"} 42949672960\n"));
	render_free(&r);
}

static void an_absent_agent_is_cram_up_0_and_nothing_stale(void **state)
{
	struct render r = { 0 };
	(void)state;

	render_synthetic(&r, 2);
	assert_true(has(&r, "\ncram_up 1\n"));
	assert_int_equal(render_metrics(&r, NULL), 0);
	assert_true(has(&r, "\ncram_up 0\n"));
	assert_false(has(&r, "cram_vm"));
	assert_false(has(&r, "cram_sold"));
	render_free(&r);
}

static void malformed_answers_count_as_an_absent_agent(void **state)
{
#define ROWS(texts, numbers, rows) \
	"{\"host\":{},\"nodes\":[],\"texts\":" texts ",\"numbers\":" numbers ",\"rows\":" rows "}"
	static const char *const bad[] = {
		"{}",
		"{\"host\":{},\"nodes\":[],\"texts\":[],\"numbers\":[],\"rows\":[],\"durations\":{\"move\":[1]}}",
		"{\"host\":{},\"nodes\":[],\"texts\":[],\"numbers\":[],\"rows\":[],\"durations\":{\"move\":1}}",
		"{\"host\":{},\"nodes\":[],\"texts\":[],\"numbers\":[]}",
		"{\"host\":{},\"nodes\":[],\"texts\":[],\"rows\":[]}",
		"{\"host\":{\"vms\":-1},\"nodes\":[],\"texts\":[],\"numbers\":[],\"rows\":[]}",
		"{\"host\":{},\"dram\":{},\"nodes\":[],\"texts\":[],\"numbers\":[],\"rows\":[]}",
		"{\"host\":{},\"nodes\":{},\"texts\":[],\"numbers\":[],\"rows\":[]}",
		"{\"host\":{},\"nodes\":[1],\"texts\":[],\"numbers\":[],\"rows\":[]}",
		ROWS("[]", "[\"ram\"]", "[1]"),
		ROWS("[]", "[\"ram\"]", "[[]]"),
		ROWS("[]", "[\"ram\"]", "[[1]]"),
		ROWS("[]", "[\"ram\"]", "[[\"\"]]"),
		ROWS("[]", "[\"ram\"]", "[[\"x\"]]"),
		ROWS("[]", "[\"ram\"]", "[[\"1 2\"]]"),
		ROWS("[]", "[\"ram\"]", "[[\"1 \"]]"),
		ROWS("[]", "[\"ram\"]", "[[\"1\\u0000\"]]"),
		ROWS("[]", "[\"ram\"]", "[[\"1\", \"2\"]]"),
		ROWS("[]", "[\"ram\"]", "[[\"18446744073709551616\"]]"),
		ROWS("[]", "[\"ram\", \"dram\"]", "[[\"1\"]]"),
		ROWS("[]", "[\"ram\", \"dram\"]", "[[\"1  2\"]]"),
		ROWS("[]", "[\"weight\"]", "[[\"4294967296\"]]"),
		ROWS("[]", "[\"weight\"]", "[[\"-\"]]"),
		ROWS("[]", "[\"paused\"]", "[[\"2\"]]"),
		ROWS("[\"name\"]", "[]", "[[1, \"\"]]"),
		ROWS("[\"name\"]", "[]", "[[\"\"]]"),
		ROWS("[\"ram\"]", "[]", "[[\"1\", \"\"]]"),
		ROWS("[]", "[\"name\"]", "[[\"1\"]]"),
		ROWS("{}", "[]", "[]"),
	};
	struct render r = { 0 };
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct json_object *o = json_tokener_parse(bad[i]);

		assert_non_null(o);
		assert_int_equal(render_metrics(&r, o), 0);
		if (!has(&r, "\ncram_up 0\n"))
			fail_msg("taken: %s", bad[i]);
		json_object_put(o);
	}
	render_free(&r);
}

static void a_newer_agents_fields_are_passed_over(void **state)
{
	struct json_object *o = json_tokener_parse(
		ROWS("[\"name\", \"colour\"]", "[\"future\", \"ram\", \"quota\"]",
		     "[[\"a\", \"red\", \"18446744073709551615 7 -\"]]"));
	struct render r = { 0 };
	(void)state;

	assert_int_equal(render_metrics(&r, o), 0);
	assert_true(has(&r, "\ncram_up 1\n"));
	assert_true(has(&r, "\ncram_vm_ram_bytes{domain=\"a\",uuid=\"\"} 7\n"));
	assert_true(has(&r, "\ncram_vm_quota_bytes{domain=\"a\",uuid=\"\"} +Inf\n"));
	assert_false(has(&r, "\"red\""));
	json_object_put(o);
	render_free(&r);
}

static void values_and_labels_are_written_as_prometheus_reads_them(void **state)
{
	static const char *const lines[] = {
		"\ncram_vm_ram_bytes{domain=\"vm-0\",uuid=\"00000000-0000-4000-8000-000000000000\"} "
		"8589934592\n",
		"\ncram_vm_quota_bytes{domain=\"a\\\"b\\\\c\\nd\033[31m\","
		"uuid=\"00000000-0000-4000-8000-000000000001\"} +Inf\n",
		"\ncram_vm_worst_batch_seconds{domain=\"vm-0\","
		"uuid=\"00000000-0000-4000-8000-000000000000\"} 0.0015\n",
		"\ncram_agent_cpu_seconds_total 1.234567\n",
		"\ncram_node_info{node=\"1\",tier=\"node\"} 1\n",
		"\ncram_vm_state{domain=\"vm-0\",uuid=\"00000000-0000-4000-8000-000000000000\","
		"state=\"steady\"} 1\n",
		"\ncram_libvirt_connected 1\n",
	};
	struct render r = { 0 };
	(void)state;

	render_synthetic(&r, 2);
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
		if (!has(&r, lines[i]))
			fail_msg("missing: %s", lines[i]);
	render_free(&r);
}

static void a_page_being_sent_is_not_written_over(void **state)
{
	struct render r = { 0 };
	size_t n, cap, other_cap;
	char *lent, *other;
	(void)state;

	render_synthetic(&r, 4);
	lent = render_lend(&r, &n, &cap);
	assert_non_null(memmem(lent, n, "\ncram_up 1\n", 11));
	assert_int_equal(render_metrics(&r, NULL), 0);
	assert_non_null(memmem(lent, n, "\ncram_up 1\n", 11));
	/* Both are out; the second to come back is one too many. */
	other = render_lend(&r, &n, &other_cap);
	render_give_back(&r, lent, cap);
	render_give_back(&r, other, other_cap);
	assert_ptr_equal(r.text, lent);
	assert_int_equal(r.cap, cap);
	render_free(&r);
}

static void numbers_are_exact(void **state)
{
	static const struct {
		uint64_t value;
		unsigned int decimals;
		const char *text;
	} cases[] = {
		{ 0, 0, "0" },
		{ 0, 6, "0" },
		{ 1, 6, "0.000001" },
		{ 1500, 6, "0.0015" },
		{ 2500, 3, "2.5" },
		{ 3000, 3, "3" },
		{ UINT64_MAX, 0, "18446744073709551615" },
		{ UINT64_MAX, 6, "18446744073709.551615" },
		{ UINT64_MAX, 18, "18.446744073709551615" },
	};
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char text[DECIMAL_MAX + 1];

		*decimal_put_scaled(text, cases[i].value, cases[i].decimals) = '\0';
		assert_string_equal(text, cases[i].text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests_are_judged),
		cmocka_unit_test(each_home_node_has_series_of_its_own),
		cmocka_unit_test(an_absent_agent_is_cram_up_0_and_nothing_stale),
		cmocka_unit_test(malformed_answers_count_as_an_absent_agent),
		cmocka_unit_test(a_newer_agents_fields_are_passed_over),
		cmocka_unit_test(values_and_labels_are_written_as_prometheus_reads_them),
		cmocka_unit_test(a_page_being_sent_is_not_written_over),
		cmocka_unit_test(numbers_are_exact),
	};

	return cmocka_run_group_tests_name("exporter", tests, NULL, NULL);
}
