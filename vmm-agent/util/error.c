// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Recording and rendering of the error object. Not for logging: see log.h.
 */
#include "util/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "util/utf8.h"

static void copy_text(char *dst, size_t size, const char *src)
{
	utf8_copy(dst, size, src ? src : "", src ? strlen(src) : 0);
}

int cram_error_set(struct cram_error *err, int code, const char *object, const char *attempt,
		   const char *advice, const char *why, ...)
{
	char text[CRAM_ERROR_TEXT];
	va_list ap;

	if (!err)
		return code;
	err->code = code;
	copy_text(err->object, sizeof(err->object), object);
	copy_text(err->attempt, sizeof(err->attempt), attempt);
	copy_text(err->advice, sizeof(err->advice), advice);
	va_start(ap, why);
	vsnprintf(text, sizeof(text), why, ap);
	va_end(ap);
	copy_text(err->why, sizeof(err->why), text);
	return code;
}

int cram_error_prefix(struct cram_error *err, const char *object, ...)
{
	char outer[sizeof(err->object)], both[2 * sizeof(err->object) + 2];
	va_list ap;

	if (!err)
		return 0;
	va_start(ap, object);
	vsnprintf(outer, sizeof(outer), object, ap);
	va_end(ap);
	snprintf(both, sizeof(both), "%s%s%s", outer, err->object[0] ? ": " : "", err->object);
	copy_text(err->object, sizeof(err->object), both);
	return err->code;
}

const char *cram_error_format(const struct cram_error *err, char *buf, size_t size)
{
	snprintf(buf, size, "%s%s%s%s%s%s%s%s", err->object, err->object[0] ? ": " : "",
		 err->attempt[0] ? "cannot " : "", err->attempt, err->attempt[0] ? ": " : "",
		 err->why, err->advice[0] ? "; " : "", err->advice);
	utf8_trim(buf);
	return buf;
}
