// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Cutting a byte stream into NUL-terminated messages, and the checks every message must pass
 * before anything looks inside.
 */
#include "protocol/protocol.h"

#include <errno.h>
#include <string.h>

int cram_frames_add(struct cram_frames *f, const char *data, size_t n)
{
	struct cram_bytes *b = &f->bytes;
	int r = cram_bytes_add(b, data, n);

	if (r < 0)
		return r;
	/* Only an unfinished message can make the buffer grow without end. */
	if (b->used > f->max && !memchr(b->buf + b->start + f->scanned, '\0', b->used - f->scanned))
		return -EMSGSIZE;
	return 0;
}

int cram_frames_next(struct cram_frames *f, const char **ret_msg, size_t *ret_size)
{
	struct cram_bytes *b = &f->bytes;
	char *msg, *end;
	size_t size;

	if (b->used == 0)
		return 0;
	msg = b->buf + b->start;
	end = memchr(msg + f->scanned, '\0', b->used - f->scanned);
	if (!end) {
		f->scanned = b->used;
		return b->used > f->max ? -EMSGSIZE : 0;
	}
	size = (size_t)(end - msg);
	if (size > f->max)
		return -EMSGSIZE;
	cram_bytes_consume(b, size + 1);
	f->scanned = 0;
	*ret_msg = msg;
	*ret_size = size;
	return 1;
}

bool cram_frames_any(const struct cram_frames *f)
{
	const struct cram_bytes *b = &f->bytes;

	return b->used && memchr(b->buf + b->start + f->scanned, '\0', b->used - f->scanned);
}

void cram_frames_free(struct cram_frames *f)
{
	cram_bytes_free(&f->bytes);
	f->scanned = 0;
}

int cram_json_parse(const char *text, size_t size, struct json_object **ret)
{
	struct json_tokener *tok;
	struct json_object *o;
	int r = 0;

	if (size > CRAM_REPLY_MAX)
		return -EBADMSG;
	tok = json_tokener_new_ex(32);
	if (!tok)
		return -ENOMEM;
	json_tokener_set_flags(tok, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
	/* With the NUL included the tokener also sees the end of a bare number. */
	o = json_tokener_parse_ex(tok, text, (int)size + 1);
	if (json_tokener_get_error(tok) != json_tokener_success ||
	    json_tokener_get_parse_end(tok) < size || !json_object_is_type(o, json_type_object)) {
		json_object_put(o);
		r = -EBADMSG;
	} else {
		*ret = o;
	}
	json_tokener_free(tok);
	return r;
}
