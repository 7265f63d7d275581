// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A client of the control socket: whatever it sends, every answer is a JSON object and a request
 * is carried out only if it decodes.
 */
#include <assert.h>
#include <string.h>

#include "protocol/model.h"
#include "protocol/protocol.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int set_quota(struct cram_call *call, struct json_object *parameters, void *userdata,
		     struct cram_error *err)
{
	struct cram_set_request req;

	(void)userdata;
	if (cram_decode_set(parameters, &req, err) < 0)
		return cram_call_fail(call, CRAM_ERR_INVALID_SETTING, err);
	assert(req.vm && (req.layer.set || req.clear));
	return cram_call_reply(call, NULL);
}

static int drain(struct cram_call *call, struct json_object *parameters, void *userdata,
		 struct cram_error *err)
{
	const char *vm;
	int r = cram_decode_vm(parameters, false, &vm, err);

	(void)userdata;
	return r < 0 ? r : cram_call_reply(call, NULL);
}

static int watch(struct cram_call *call, struct json_object *parameters, void *userdata,
		 struct cram_error *err)
{
	(void)parameters;
	(void)userdata;
	(void)err;
	cram_call_keep(call);
	cram_call_notify(call, json_object_new_object());
	return 0;
}

static const struct cram_method methods[] = {
	{ "SetQuota", false, set_quota },
	{ "Drain", false, drain },
	{ "Watch", true, watch },
	{ 0 },
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct cram_service service = { CRAM_IFACE_CONTROL, methods, NULL, 0 };
	struct cram_frames frames = { .max = CRAM_REPLY_MAX };
	struct cram_peer *peer;
	size_t step, n;
	const char *out;

	if (size == 0 || cram_peer_new(&service, &peer) < 0)
		return 0;
	step = data[0] % 64U + 1; /* the first byte chooses how the rest arrives */
	for (size_t i = 1; i < size; i += step)
		if (cram_peer_input(peer, (const char *)data + i,
				    size - i < step ? size - i : step) < 0)
			break;
	out = cram_peer_output(peer, &n);
	if (cram_frames_add(&frames, out, n) == 0) {
		const char *msg;
		size_t len;

		while (cram_frames_next(&frames, &msg, &len) == 1) {
			struct json_object *o = NULL;
			int r = cram_json_parse(msg, len, &o);

			assert(r == 0);
			(void)r;
			json_object_put(o);
		}
		assert(frames.bytes.used == 0);
	}
	cram_frames_free(&frames);
	cram_peer_free(peer);
	return 0;
}
