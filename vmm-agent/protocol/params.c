// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Typed access to the parameters of a request. Strict: what is not understood is refused.
 */
#include "protocol/protocol.h"

#include <errno.h>
#include <string.h>

static int wrong(struct cram_error *err, const char *key, const char *expected)
{
	return cram_error_set(err, -EINVAL, key, NULL, NULL, "must be %s", expected);
}

int cram_param_text(struct json_object *parameters, const char *key, const char **ret,
		    struct cram_error *err)
{
	struct json_object *o;
	const char *text;

	if (!json_object_object_get_ex(parameters, key, &o))
		return cram_error_set(err, -ENOENT, key, NULL, NULL, "is missing");
	if (!json_object_is_type(o, json_type_string))
		return wrong(err, key, "a string");
	text = json_object_get_string(o);
	/* A NUL inside would make two readers see two different names. */
	if (strlen(text) != (size_t)json_object_get_string_len(o))
		return wrong(err, key, "a string without NUL");
	*ret = text;
	return 0;
}

int cram_param_bool(struct json_object *parameters, const char *key, bool *ret,
		    struct cram_error *err)
{
	struct json_object *o;

	if (!json_object_object_get_ex(parameters, key, &o))
		return cram_error_set(err, -ENOENT, key, NULL, NULL, "is missing");
	if (!json_object_is_type(o, json_type_boolean))
		return wrong(err, key, "true or false");
	*ret = json_object_get_boolean(o);
	return 0;
}

int cram_param_u64(struct json_object *parameters, const char *key, uint64_t *ret,
		   struct cram_error *err)
{
	struct json_object *o;
	uint64_t v;

	if (!json_object_object_get_ex(parameters, key, &o))
		return cram_error_set(err, -ENOENT, key, NULL, NULL, "is missing");
	if (!json_object_is_type(o, json_type_int) || json_object_get_int64(o) < 0)
		return wrong(err, key, "an integer >= 0");
	v = json_object_get_uint64(o);
	if (v > INT64_MAX)
		return wrong(err, key, "an integer < 2^63");
	*ret = v;
	return 0;
}

int cram_params_only(struct json_object *parameters, const char *const *allowed,
		     struct cram_error *err)
{
	json_object_object_foreach(parameters, key, value)
	{
		const char *const *a = allowed;

		(void)value;
		while (*a && strcmp(*a, key) != 0)
			a++;
		if (!*a)
			return cram_error_set(err, -EINVAL, key, NULL, NULL,
					      "no such parameter in this protocol version");
	}
	return 0;
}
