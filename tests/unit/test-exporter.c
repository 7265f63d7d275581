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

static void an_absent_agent_is_cram_up_0_and_nothing_stale(void **state)
{
	struct cram_vm_report vms[2];
	struct cram_host_report host;
	struct cram_node_report node;
	struct render r = { 0 };
	struct json_object *o;
	(void)state;

	for (unsigned int i = 0; i < 2; i++)
		synthetic_vm(&vms[i], i);
	synthetic_host(&host, &node, 2);
	o = cram_reply_metrics(&host, &node, 1, vms, 2);
	assert_int_equal(render_metrics(&r, o), 0);
	assert_non_null(memmem(r.text, r.n, "\ncram_up 1\n", 11));
	assert_int_equal(render_metrics(&r, NULL), 0);
	assert_non_null(memmem(r.text, r.n, "\ncram_up 0\n", 11));
	assert_null(memmem(r.text, r.n, "cram_vm", 7));
	assert_null(memmem(r.text, r.n, "cram_sold", 9));
	json_object_put(o);
	render_free(&r);
}

static void malformed_answers_count_as_an_absent_agent(void **state)
{
	static const char *const bad[] = {
		"{}",
		"{\"host\":{},\"nodes\":[],\"columns\":[]}",
		"{\"host\":{},\"nodes\":[],\"columns\":[\"ram\"],\"rows\":[[1,2]]}",
		"{\"host\":{},\"nodes\":[],\"columns\":[\"ram\"],\"rows\":[[\"x\"]]}",
		"{\"host\":{},\"nodes\":[],\"columns\":[\"ram\"],\"rows\":[1]}",
		"{\"host\":{\"vms\":-1},\"nodes\":[],\"columns\":[],\"rows\":[]}",
		"{\"host\":{},\"nodes\":{},\"columns\":[],\"rows\":[]}",
		"{\"host\":{},\"nodes\":[1],\"columns\":[],\"rows\":[]}",
	};
	struct render r = { 0 };
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct json_object *o = json_tokener_parse(bad[i]);

		assert_int_equal(render_metrics(&r, o), 0);
		assert_non_null(memmem(r.text, r.n, "\ncram_up 0\n", 11));
		json_object_put(o);
	}
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
		"\ncram_node_info{node=\"1\",tier=\"node\",state=\"online\"} 1\n",
		"\ncram_libvirt_connected 1\n",
	};
	struct cram_vm_report vms[2];
	struct cram_host_report host;
	struct cram_node_report node;
	struct render r = { 0 };
	struct json_object *o;
	(void)state;

	for (unsigned int i = 0; i < 2; i++)
		synthetic_vm(&vms[i], i);
	synthetic_host(&host, &node, 2);
	o = cram_reply_metrics(&host, &node, 1, vms, 2);
	assert_int_equal(render_metrics(&r, o), 0);
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
		if (!memmem(r.text, r.n, lines[i], strlen(lines[i])))
			fail_msg("missing: %s", lines[i]);
	json_object_put(o);
	render_free(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests_are_judged),
		cmocka_unit_test(an_absent_agent_is_cram_up_0_and_nothing_stale),
		cmocka_unit_test(malformed_answers_count_as_an_absent_agent),
		cmocka_unit_test(values_and_labels_are_written_as_prometheus_reads_them),
	};

	return cmocka_run_group_tests_name("exporter", tests, NULL, NULL);
}
