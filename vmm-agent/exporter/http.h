/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The little of HTTP/1.1 (RFC 9112) that a scrape needs: one GET or HEAD per connection, no body.
 * Pure: bytes in, verdict out.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define HTTP_REQUEST_MAX 8192

enum http_verdict {
	HTTP_INCOMPLETE, /* read on */
	HTTP_METRICS,	 /* GET or HEAD of /metrics */
	HTTP_INDEX,	 /* of / */
	HTTP_NOT_FOUND,
	HTTP_BAD_METHOD,
	HTTP_BAD_REQUEST,
	HTTP_TOO_LARGE,
};

/* Judge the @n bytes received so far. *ret_head: HEAD, the answer has no body. */
enum http_verdict http_judge(const char *request, size_t n, bool *ret_head);

/* Status line and headers for @verdict with a body of @length bytes, "Connection: close".
 * Returns the number of bytes written to @buf (size >= 256). */
size_t http_header(enum http_verdict verdict, size_t length, char *buf, size_t size);
/* The body of everything but HTTP_METRICS. */
const char *http_body(enum http_verdict verdict);
