/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The error object: which object, what was attempted, why it failed, what to do.
 * It carries text for a person; code branches on the -errno a function returns, never on the text.
 */
#pragma once

#include <stddef.h>

#define CRAM_ERROR_TEXT 1024

struct cram_error {
	int code;	   /* negative errno, 0: no error recorded */
	char object[192];  /* `vm "db1"`, `/etc/cramd/cramd.conf:12`; may be empty */
	char attempt[128]; /* completes "cannot ..."; may be empty */
	char why[384];
	char advice[256]; /* imperative, may be empty */
};

/*
 * Record an error and return @code (a negative errno), so that callers write
 * `return cram_error_set(err, -ERANGE, ...)`. @err may be NULL. Text too long for its field is
 * cut between two characters, what is no UTF-8 is escaped: never an error. @object, @attempt and
 * @advice may be NULL.
 */
int cram_error_set(struct cram_error *err, int code, const char *object, const char *attempt,
		   const char *advice, const char *why, ...) __attribute__((format(printf, 6, 7)));

/* Put an outer object before the recorded one ("vm \"db1\": <quota>"); returns err->code. */
int cram_error_prefix(struct cram_error *err, const char *object, ...)
	__attribute__((format(printf, 2, 3)));

/* "OBJECT: cannot ATTEMPT: WHY; ADVICE", the parts that are empty left out. Returns @buf. */
const char *cram_error_format(const struct cram_error *err, char *buf, size_t size);
