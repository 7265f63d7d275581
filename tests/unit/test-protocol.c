// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The wire: framing, what a malformed request gets, streams that are not read, JSON and back.
 */
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "protocol/model.h"
#include "protocol/protocol.h"
#include "protocol/rows.h"
#include "util/cleanup.h"

#include "synthetic.h"

static struct cram_call *kept;
static int calls;

static int get(struct cram_call *call, struct json_object *parameters, void *userdata,
	       struct cram_error *err)
{
	struct json_object *o = json_object_new_object();
	static const char *const allowed[] = { "vm", NULL };
	const char *vm;
	int r;

	(void)userdata;
	calls++;
	r = cram_params_only(parameters, allowed, err);
	if (r < 0) {
		json_object_put(o);
		return r;
	}
	if (cram_param_text(parameters, "vm", &vm, NULL) == 0)
		json_object_object_add(o, "vm", json_object_new_string(vm));
	assert_int_equal(cram_call_reply(call, o), 0);
	assert_int_equal(cram_call_reply(call, json_object_new_object()), -EALREADY);
	return 0;
}

static int stream(struct cram_call *call, struct json_object *parameters, void *userdata,
		  struct cram_error *err)
{
	(void)parameters;
	(void)userdata;
	(void)err;
	kept = call;
	cram_call_keep(call);
	return 0;
}

static int broken(struct cram_call *call, struct json_object *parameters, void *userdata,
		  struct cram_error *err)
{
	(void)call;
	(void)parameters;
	(void)userdata;
	return cram_error_set(err, -EIO, "card", "read it", NULL, "it is gone");
}

static int silent(struct cram_call *call, struct json_object *parameters, void *userdata,
		  struct cram_error *err)
{
	(void)call;
	(void)parameters;
	(void)userdata;
	(void)err;
	return 0;
}

/* Two VMs; the name of the first is no UTF-8, that of the second is cut inside a character. */
static int odd(struct cram_call *call, struct json_object *parameters, void *userdata,
	       struct cram_error *err)
{
	struct cram_vm_report vms[2] = { { .name = "a\xff\xc3z", .ram = 1 },
					 { .name = "b\xc3\xa9\xe2\x82", .ram = 2 } };

	(void)parameters;
	(void)userdata;
	(void)err;
	return cram_call_reply(call, cram_reply_vms(vms, 2));
}

static const struct cram_method methods[] = {
	{ "Odd", false, odd },	     { "Get", false, get },	  { "Watch", true, stream },
	{ "Broken", false, broken }, { "Silent", false, silent }, { 0 },
};

static const struct cram_service service = { CRAM_IFACE_STATUS, methods, NULL, 0 };

/* Feed @text (NULs written as '|') to a new peer; returns what it answered, NULs as '|'. */
static char *exchange(const char *text, size_t chunk, int *ret_r)
{
	struct cram_peer *peer;
	char *in = strdup(text), *out;
	size_t n = strlen(text), out_n;
	const char *data;
	int r = 0;

	for (size_t i = 0; i < n; i++)
		if (in[i] == '|')
			in[i] = '\0';
	assert_int_equal(cram_peer_new(&service, &peer), 0);
	for (size_t i = 0; i < n && r == 0; i += chunk)
		r = cram_peer_input(peer, in + i, n - i < chunk ? n - i : chunk);
	data = cram_peer_output(peer, &out_n);
	out = calloc(1, out_n + 1);
	for (size_t i = 0; i < out_n; i++)
		out[i] = data[i] ? data[i] : '|';
	cram_peer_free(peer);
	free(in);
	*ret_r = r;
	return out;
}

static void assert_answer(const char *request, const char *expected, int r)
{
	static const size_t chunks[] = { 1, 7, 100000 };

	for (size_t i = 0; i < ARRAY_SIZE(chunks); i++) {
		int got;
		cleanup_free char *out = exchange(request, chunks[i], &got);

		if (strcmp(out, expected) != 0 || got != r)
			fail_msg("%s\n  gave %d %s\n  not  %d %s", request, got, out, r, expected);
	}
}

static void requests_are_answered_in_order_however_they_arrive(void **state)
{
	(void)state;
	assert_answer("{\"method\":\"org.cramd.Status.Get\",\"parameters\":{\"vm\":\"a\"}}|"
		      "{\"method\":\"org.cramd.Status.Get\"}|",
		      "{\"parameters\":{\"vm\":\"a\"}}|{\"parameters\":{}}|", 0);
	assert_answer("{\"method\":\"org.cramd.Status.Get\",\"oneway\":true}|", "", 0);
	assert_answer("{\"method\":\"org.cramd.Status.Hello\",\"parameters\":{\"version\":1}}|",
		      "{\"parameters\":{\"version\":1,\"agent\":\"cramd\"}}|", 0);
}

static void text_of_one_vm_never_makes_an_answer_invalid(void **state)
{
	struct json_object *reply, *parameters, *list, *name;
	int r;
	cleanup_free char *out = exchange("{\"method\":\"org.cramd.Status.Odd\"}|", 100, &r);
	(void)state;

	assert_int_equal(r, 0);
	out[strlen(out) - 1] = '\0';
	assert_int_equal(cram_json_parse(out, strlen(out), &reply), 0);
	assert_true(json_object_object_get_ex(reply, "parameters", &parameters));
	assert_true(json_object_object_get_ex(parameters, "vms", &list));
	assert_int_equal(json_object_array_length(list), 2);
	json_object_object_get_ex(json_object_array_get_idx(list, 0), "name", &name);
	assert_string_equal(json_object_get_string(name), "a??z");
	json_object_object_get_ex(json_object_array_get_idx(list, 1), "name", &name);
	assert_string_equal(json_object_get_string(name), "b\xc3\xa9??");
	json_object_put(reply);
}

static void calls_that_cannot_be_served_get_a_named_error(void **state)
{
	(void)state;
	assert_answer("{\"method\":\"org.cramd.Status.Hello\",\"parameters\":{\"version\":2}}|",
		      "{\"error\":\"org.cramd.VersionMismatch\",\"parameters\":{\"supported\":1}}|",
		      0);
	assert_answer(
		"{\"method\":\"org.cramd.Status.Nope\"}|",
		"{\"error\":\"org.varlink.service.MethodNotFound\",\"parameters\":{\"method\":"
		"\"org.cramd.Status.Nope\"}}|",
		0);
	assert_answer("{\"method\":\"org.cramd.Control.SetQuota\"}|",
		      "{\"error\":\"org.varlink.service.InterfaceNotFound\",\"parameters\":"
		      "{\"interface\":\"org.cramd.Control\"}}|",
		      0);
	assert_answer("{\"method\":\"org.cramd.Status.Watch\"}|",
		      "{\"error\":\"org.varlink.service.ExpectedMore\",\"parameters\":{}}|", 0);
	assert_answer("{\"method\":\"org.cramd.Status.Broken\"}|",
		      "{\"error\":\"org.cramd.Internal\",\"parameters\":{\"message\":"
		      "\"card: cannot read it: it is gone\"}}|",
		      0);
	assert_answer("{\"method\":\"org.cramd.Status.Silent\"}|",
		      "{\"error\":\"org.cramd.Internal\",\"parameters\":{\"message\":"
		      "\"org.cramd.Status.Silent gave no answer\"}}|",
		      0);
	assert_answer("{\"method\":\"org.cramd.Status.Get\",\"parameters\":{\"x\":1}}|",
		      "{\"error\":\"org.varlink.service.InvalidParameter\",\"parameters\":"
		      "{\"parameter\":\"x: no such parameter in this protocol version\"}}|",
		      0);
}

static void malformed_input_is_an_error_a_closed_connection_and_nothing_else(void **state)
{
	static const char *const bad[] = {
		"|",
		"x|",
		"[]|",
		"{}|",
		"{\"method\":1}|",
		"{\"method\":\"org.cramd.Status.Get\",\"parameters\":[]}|",
		"{\"method\":\"org.cramd.Status.Get\",\"more\":1}|",
		"{\"method\":\"org.cramd.Status.Get\",\"upgrade\":true}|",
		"{\"method\":\"org.cramd.Status.Get\",\"more\":true,\"oneway\":true}|",
		"{\"method\":\"org.cramd.Status.Get\"} x|",
		"{\"method\":\"org.cramd.Status.Get\xff\"}|",
		"{\"method\":\"org.cramd.Status.Get\",\"parameters\":{\"a\":[[[[[[[[[[[[[[[[[[[[[[[[[[["
		"[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}}|",
	};
	static const char error[] = "{\"error\":\"org.varlink.service.InvalidParameter\"";
	char huge[CRAM_REQUEST_MAX + 100];
	(void)state;

	for (size_t i = 0; i <= ARRAY_SIZE(bad); i++) {
		cleanup_free char *out = NULL;
		char text[sizeof(huge) + 100];
		int r;

		memset(huge, 'x', sizeof(huge) - 1);
		huge[sizeof(huge) - 1] = '\0';
		calls = 0;
		/* A good request after the bad one must not be carried out. */
		snprintf(text, sizeof(text), "%s{\"method\":\"org.cramd.Status.Get\"}|",
			 i < ARRAY_SIZE(bad) ? bad[i] : huge);
		out = exchange(text, 4096, &r);
		assert_int_equal(r, -EBADMSG);
		assert_int_equal(calls, 0);
		assert_int_equal(strncmp(out, error, strlen(error)), 0);
		assert_ptr_equal(strchr(out, '|'), out + strlen(out) - 1);
	}
}

static void a_reader_too_slow_loses_events_and_is_told_how_many(void **state)
{
	static const char watch[] = "{\"method\":\"org.cramd.Status.Watch\",\"more\":true}";
	struct cram_peer *peer;
	size_t n, delivered = 0, dropped = 0;
	const char *out;
	(void)state;

	assert_int_equal(cram_peer_new(&service, &peer), 0);
	assert_int_equal(cram_peer_input(peer, watch, sizeof(watch)), 0);
	for (int i = 0; i < 100000; i++) {
		struct json_object *o = json_object_new_object();

		json_object_object_add(o, "text",
				       json_object_new_string("0123456789012345678901234"));
		if (cram_call_notify(kept, o))
			dropped++;
		else
			delivered++;
	}
	cram_peer_output(peer, &n);
	assert_true(n <= CRAM_QUEUE_MAX);
	assert_true(dropped > 0 && delivered > 0);
	cram_peer_consume(peer, n);
	assert_int_equal(cram_call_notify(kept, json_object_new_object()), 0);
	out = cram_peer_output(peer, &n);
	{
		char expected[80];

		snprintf(expected, sizeof(expected),
			 "{\"parameters\":{\"lost\":%zu},\"continues\":true}", dropped);
		assert_string_equal(out, expected);
	}
	cram_peer_consume(peer, n);
	assert_int_equal(cram_call_reply(kept, NULL), 0);
	assert_string_equal(cram_peer_output(peer, &n), "{\"parameters\":{}}");
	cram_peer_free(peer);
}

static void a_client_that_goes_away_ends_its_stream(void **state)
{
	static const char watch[] = "{\"method\":\"org.cramd.Status.Watch\",\"more\":true}";
	struct cram_peer *peer;
	short events;
	int fds[2];
	(void)state;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	assert_int_equal(cram_peer_new(&service, &peer), 0);
	assert_int_equal(write(fds[0], watch, sizeof(watch)), (int)sizeof(watch));
	assert_int_equal(cram_peer_io(peer, fds[1], POLLIN, &events), 0);
	assert_int_equal(events, POLLIN);
	close(fds[0]);
	assert_int_equal(cram_peer_io(peer, fds[1], POLLIN | POLLHUP, &events), -ENOTCONN);
	cram_peer_free(peer); /* frees the kept call: the sanitizer would tell */
	close(fds[1]);
}

/* Three of them in one go, the last of which wants no answer. */
static const char many[] = "{\"method\":\"org.cramd.Status.Get\"}\0"
			   "{\"method\":\"org.cramd.Status.Get\"}\0"
			   "{\"method\":\"org.cramd.Status.Get\",\"oneway\":true}";

/* A client at @ret_fds[0] has sent them, and the service a peer for it, at the other end. */
static struct cram_peer *ask_many(int ret_fds[2])
{
	struct cram_peer *peer;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ret_fds), 0);
	assert_int_equal(cram_peer_new(&service, &peer), 0);
	assert_int_equal(write(ret_fds[0], many, sizeof(many)), (int)sizeof(many));
	calls = 0;
	return peer;
}

static void requests_that_come_at_once_are_answered_turn_by_turn(void **state)
{
	int fds[2];
	struct cram_peer *peer = ask_many(fds);
	short events;
	(void)state;

	assert_int_equal(cram_peer_io(peer, fds[1], POLLIN, &events), 0);
	for (int turn = 1; turn < 3; turn++) {
		assert_int_equal(calls, turn);
		/* Called again at once, and no more is read until all is done. */
		assert_int_equal(events, POLLOUT);
		assert_int_equal(cram_peer_io(peer, fds[1], events, &events), 0);
	}
	assert_int_equal(calls, 3);
	assert_int_equal(events, POLLIN);
	cram_peer_free(peer);
	close(fds[0]);
	close(fds[1]);
}

static void what_was_asked_before_going_away_is_done(void **state)
{
	int fds[2];
	struct cram_peer *peer = ask_many(fds);
	short events;
	(void)state;

	close(fds[0]);
	for (int turn = 1; turn <= 3; turn++) {
		assert_int_equal(cram_peer_io(peer, fds[1], POLLIN | POLLHUP, &events), 0);
		assert_int_equal(calls, turn);
	}
	assert_int_equal(cram_peer_io(peer, fds[1], POLLIN | POLLHUP, &events), -ENOTCONN);
	cram_peer_free(peer);
	close(fds[1]);
}

static void a_client_that_floods_and_does_not_read_is_not_served_further(void **state)
{
	static const char request[] =
		"{\"method\":\"org.varlink.service.GetInterfaceDescription\",\"parameters\":"
		"{\"interface\":\"org.cramd.Status\"}}";
	char flood[sizeof(request) * 400];
	struct cram_peer *peer;
	size_t n;
	(void)state;

	for (int i = 0; i < 400; i++)
		memcpy(flood + (size_t)i * sizeof(request), request, sizeof(request));
	assert_int_equal(cram_peer_new(&service, &peer), 0);
	for (int i = 0; i < 20; i++)
		assert_int_equal(cram_peer_input(peer, flood, sizeof(flood)), 0);
	cram_peer_output(peer, &n);
	assert_true(n > 0 && n < CRAM_QUEUE_MAX + 100000);
	cram_peer_free(peer);
}

static void every_method_is_described(void **state)
{
	static const char *const wanted[] = { "GetStatus", "ListVms",	 "ShowVm",
					      "ExplainVm", "ListNodes",	 "Check",
					      "Monitor",   "GetMetrics", "Record" };
	int r;
	cleanup_free char *out = exchange(
		"{\"method\":\"org.varlink.service.GetInterfaceDescription\",\"parameters\":"
		"{\"interface\":\"org.cramd.Status\"}}|",
		1000, &r);
	(void)state;

	assert_int_equal(r, 0);
	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
		char text[64];

		snprintf(text, sizeof(text), "method %s(", wanted[i]);
		assert_non_null(strstr(out, text));
	}
	/* A field of each type has one. */
	assert_non_null(strstr(out, "\\n  value: object,\\n"));
	assert_non_null(strstr(out, "\\n  origin: string\\n"));
	/* What does not come from a table. */
	assert_non_null(strstr(out, "method Fits(ram: int) -> (fits: bool, known: bool, room: int, "
				    "message: string)"));
}

/* ------------------------------------------------------------------ messages */

static void reports_survive_the_wire(void **state)
{
	struct cram_vm_report vm, back;
	struct json_object *o, *parsed = NULL;
	const char *text;
	size_t n;
	(void)state;

	synthetic_vm(&vm, 1);
	o = cram_encode_as(vm, &vm);
	text = json_object_to_json_string_length(o, JSON_C_TO_STRING_PLAIN, &n);
	assert_int_equal(cram_json_parse(text, n, &parsed), 0);
	assert_int_equal(cram_decode_as(vm, parsed, &back, NULL), 0);
	assert_memory_equal(&vm, &back, sizeof(vm));
	json_object_put(parsed);
	json_object_put(o);
}

static void rows_of_many_vms_survive_the_wire(void **state)
{
	struct json_object *o = json_object_new_object(), *parsed = NULL;
	struct cram_vm_reports back = { 0 };
	struct cram_vm_report vms[3];
	const char *text;
	size_t n;
	(void)state;

	for (unsigned int i = 0; i < ARRAY_SIZE(vms); i++)
		synthetic_vm(&vms[i], i);
	vms[2].ram = UINT64_MAX - 1;
	vms[2].weight = UINT32_MAX;
	vms[2].paused = true;
	assert_int_equal(cram_rows_encode(o, vms, ARRAY_SIZE(vms)), 0);
	text = json_object_to_json_string_length(o, JSON_C_TO_STRING_PLAIN, &n);
	assert_int_equal(cram_json_parse(text, n, &parsed), 0);
	assert_int_equal(cram_rows_decode(parsed, &back), 0);
	assert_int_equal(back.n, ARRAY_SIZE(vms));
	for (size_t v = 0; v < back.n; v++) {
		assert_string_equal(back.v[v].name, vms[v].name);
		assert_string_equal(back.v[v].uuid, vms[v].uuid);
		for (size_t i = 0; i < cram_n_vm_fields; i++) {
			const struct cram_field *f = &cram_vm_fields[i];

			if (f->kind == CRAM_METRIC_INFO)
				assert_string_equal(cram_field_text(f, &back.v[v]),
						    cram_field_text(f, &vms[v]));
			else if (f->kind != CRAM_METRIC_NONE)
				assert_int_equal(cram_field_number(f, &back.v[v]),
						 cram_field_number(f, &vms[v]));
		}
	}
	array_free(&back);
	json_object_put(parsed);
	json_object_put(o);
}

static void numbers_outside_their_field_are_refused(void **state)
{
	static const char *const bad[] = {
		"{\"nid\":2147483648}", "{\"nid\":-2147483649}", "{\"nid\":null}",
		"{\"capacity\":-1}",	"{\"capacity\":1.5}",	 "{\"capacity\":true}",
	};
	struct cram_node_report node;
	struct json_object *o;
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		o = json_tokener_parse(bad[i]);
		if (cram_decode_as(node, o, &node, NULL) != -EBADMSG)
			fail_msg("%s was taken", bad[i]);
		json_object_put(o);
	}
	o = json_tokener_parse("{\"nid\":-2147483648,\"capacity\":18446744073709551614,"
			       "\"free\":null}");
	assert_int_equal(cram_decode_as(node, o, &node, NULL), 0);
	assert_int_equal(node.nid, INT32_MIN);
	assert_true(node.capacity == UINT64_MAX - 1 && node.free == CRAM_UNLIMITED);
	json_object_put(o);
}

static void replies_of_older_and_newer_agents_are_understood(void **state)
{
	struct cram_node_report node;
	struct cram_error err = { 0 };
	struct json_object *o;
	(void)state;

	o = json_tokener_parse("{\"nid\":3,\"future\":{\"x\":1}}");
	assert_int_equal(cram_decode_as(node, o, &node, &err), 0);
	assert_int_equal(node.nid, 3);
	assert_int_equal(node.free, 0);
	json_object_put(o);
	o = json_tokener_parse("{\"nid\":\"3\"}");
	assert_int_equal(cram_decode_as(node, o, &node, &err), -EBADMSG);
	assert_string_equal(err.object, "nid");
	json_object_put(o);
	assert_int_equal(cram_decode_as(node, NULL, &node, &err), -EBADMSG);
}

static int decode_set(const char *text, struct cram_set_request *ret, struct cram_error *err)
{
	struct json_object *o = json_tokener_parse(text);
	int r = cram_decode_set(o, ret, err);

	json_object_put(o);
	return r;
}

static void quota_requests_are_checked_before_anything_is_done(void **state)
{
	static const char *const bad[] = {
		"{}",
		"{\"vm\":\"a\"}",
		"{\"vm\":1,\"quota\":1}",
		"{\"vm\":\"a\",\"quota\":-1}",
		"{\"vm\":\"a\",\"quota\":1.5}",
		"{\"vm\":\"a\",\"quota\":18446744073709551615}",
		"{\"vm\":\"a\",\"quota\":[]}",
		"{\"vm\":\"a\",\"weight\":0}",
		"{\"vm\":\"a\",\"quota\":1,\"persist\":1}",
		"{\"vm\":\"a\",\"quota\":1,\"qouta\":1}",
		"{\"vm\":\"a\\u0000b\",\"quota\":1}",
	};
	struct cram_set_request req;
	struct cram_error err;
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		err = (struct cram_error){ 0 };
		if (decode_set(bad[i], &req, &err) >= 0 || err.code == 0)
			fail_msg("%s was taken", bad[i]);
	}
	err = (struct cram_error){ 0 };
	assert_int_equal(decode_set("{\"vm\":\"a\",\"quota\":3221225472,\"floor\":\"50%\",\"mode\":"
				    "\"auto\",\"weight\":null,\"persist\":true}",
				    &req, &err),
			 0);
	assert_int_equal(err.code, 0);
	assert_int_equal(req.layer.quota, 3 * GiB);
	assert_true(req.layer.floor_is_percent && req.persist);
	assert_int_equal(req.clear, 1U << CRAM_SET_WEIGHT);
	assert_int_equal(req.layer.set,
			 1U << CRAM_SET_QUOTA | 1U << CRAM_SET_FLOOR | 1U << CRAM_SET_MODE);
}

/* ------------------------------------------------------------------ tables */

static void check_table(const struct cram_field *f, size_t n, const char *prefix)
{
	for (size_t i = 0; i < n; i++) {
		assert_true(f[i].help[strlen(f[i].help) - 1] == '.');
		for (size_t j = 0; j < i; j++)
			assert_string_not_equal(f[i].name, f[j].name);
		if (f[i].kind == CRAM_METRIC_STATE) {
			assert_int_equal(strncmp(f[i].metric, prefix, strlen(prefix)), 0);
			assert_int_equal(f[i].type, CRAM_FIELD_TEXT);
			continue;
		}
		if (f[i].kind != CRAM_METRIC_GAUGE && f[i].kind != CRAM_METRIC_COUNTER) {
			assert_null(f[i].metric);
			assert_true(f[i].kind == CRAM_METRIC_NONE || f[i].type == CRAM_FIELD_TEXT);
			continue;
		}
		assert_int_equal(strncmp(f[i].metric, prefix, strlen(prefix)), 0);
		assert_int_not_equal(f[i].type, CRAM_FIELD_TEXT);
		/* A negative number has no decimal form here. */
		assert_int_not_equal(f[i].type, CRAM_FIELD_I32);
		/* promtool's rule: counters, and only they, end in _total */
		assert_int_equal(f[i].kind == CRAM_METRIC_COUNTER,
				 strcmp(f[i].metric + strlen(f[i].metric) - 6, "_total") == 0);
	}
}

static void the_tables_of_metrics_are_sound(void **state)
{
	size_t per_vm = 1; /* cram_vm_info */
	(void)state;

	check_table(cram_host_fields, cram_n_host_fields, "cram_");
	check_table(cram_dram_fields, cram_n_dram_fields, "cram_dram_node_");
	check_table(cram_node_fields, cram_n_node_fields, "cram_node_");
	check_table(cram_vm_fields, cram_n_vm_fields, "cram_vm_");
	for (size_t i = 0; i < cram_n_vm_fields; i++)
		per_vm += cram_vm_fields[i].metric != NULL;
	assert_in_range(per_vm, 10, 40);
}

static void a_decision_is_explained_in_sentences(void **state)
{
	static const struct {
		struct cram_reason_entry e;
		const char *text;
	} cases[] = {
		{ { CRAM_REASON_QUOTA, 16609444, 16 * MiB },
		  "15.84 of 16 MiB quota used; 32 MiB cold must stay" },
		{ { CRAM_REASON_QUOTA, GiB, 16 * MiB }, "1 GiB of 16 MiB quota used" },
		{ { CRAM_REASON_FLOOR, 96 * MiB, 64 * MiB },
		  "96 MiB in DRAM, of which the floor keeps 64 MiB; 32 MiB cold must stay" },
		{ { CRAM_REASON_FLOOR, 32 * MiB, 64 * MiB },
		  "32 MiB in DRAM, less than its floor of 64 MiB" },
		{ { CRAM_REASON_MODE, 0, 0 },
		  "its mode is monitor: nothing goes out, and 8 MiB come home" },
		{ { CRAM_REASON_WARMUP, 1500, 0 },
		  "not observed for one cold age yet, 2 s are left" },
		{ { CRAM_REASON_COLD, 40 * MiB, 120 },
		  "40 MiB in DRAM have not been used for 120 s" },
		{ { CRAM_REASON_COLD, 0, 120 }, "nothing in DRAM has not been used for 120 s" },
		{ { CRAM_REASON_RATE, 4 * MiB, 0 },
		  "4 MiB would move, and the rates let nothing in this round" },
		{ { CRAM_REASON_DRAIN, 0, 0 }, "it is drained, and nothing is on the tier" },
		{ { CRAM_REASON_PAUSED, 0, 0 }, "demotion is paused" },
	};
	struct cram_vm_report vm = { .mode = "monitor",
				     .tier_bytes = 8 * MiB,
				     .cold = 40 * MiB,
				     .demote_pending = 8 * MiB };
	char text[256];
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		cram_reason_sentence(&cases[i].e, &vm, text, sizeof(text));
		assert_string_equal(text, cases[i].text);
	}
	/* Each has one, whatever its numbers are. */
	for (unsigned int r = CRAM_REASON_NONE; r < CRAM_N_REASONS; r++) {
		cram_reason_sentence(&(struct cram_reason_entry){ .code = (enum cram_reason)r },
				     &vm, text, sizeof(text));
		assert_true(strlen(text) > 8);
		assert_null(strstr(text, "0 bytes"));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests_are_answered_in_order_however_they_arrive),
		cmocka_unit_test(text_of_one_vm_never_makes_an_answer_invalid),
		cmocka_unit_test(calls_that_cannot_be_served_get_a_named_error),
		cmocka_unit_test(malformed_input_is_an_error_a_closed_connection_and_nothing_else),
		cmocka_unit_test(a_reader_too_slow_loses_events_and_is_told_how_many),
		cmocka_unit_test(a_client_that_goes_away_ends_its_stream),
		cmocka_unit_test(requests_that_come_at_once_are_answered_turn_by_turn),
		cmocka_unit_test(what_was_asked_before_going_away_is_done),
		cmocka_unit_test(a_client_that_floods_and_does_not_read_is_not_served_further),
		cmocka_unit_test(every_method_is_described),
		cmocka_unit_test(reports_survive_the_wire),
		cmocka_unit_test(rows_of_many_vms_survive_the_wire),
		cmocka_unit_test(numbers_outside_their_field_are_refused),
		cmocka_unit_test(replies_of_older_and_newer_agents_are_understood),
		cmocka_unit_test(quota_requests_are_checked_before_anything_is_done),
		cmocka_unit_test(the_tables_of_metrics_are_sound),
		cmocka_unit_test(a_decision_is_explained_in_sentences),
	};

	return cmocka_run_group_tests_name("protocol", tests, NULL, NULL);
}
