// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Judging a request and heading an answer.
 */
#include "exporter/http.h"

#include <stdio.h>
#include <string.h>

static bool token_is(const char *p, size_t n, const char *word)
{
	return n == strlen(word) && memcmp(p, word, n) == 0;
}

/* Does a blank line end the header section? Bare LF is taken too (RFC 9112, 2.2). */
static bool complete(const char *request, size_t n)
{
	for (size_t i = 0; i + 1 < n; i++) {
		if (request[i] != '\n')
			continue;
		if (request[i + 1] == '\n' ||
		    (i + 2 < n && request[i + 1] == '\r' && request[i + 2] == '\n'))
			return true;
	}
	return false;
}

enum http_verdict http_judge(const char *request, size_t n, bool *ret_head)
{
	const char *end = memchr(request, '\n', n), *method, *target, *version;
	size_t line, method_n, target_n, query;

	*ret_head = false;
	if (n > HTTP_REQUEST_MAX)
		return HTTP_TOO_LARGE;
	if (!complete(request, n))
		return n == HTTP_REQUEST_MAX ? HTTP_TOO_LARGE : HTTP_INCOMPLETE;
	line = (size_t)(end - request);
	if (line > 0 && request[line - 1] == '\r')
		line--;
	method = request;
	target = memchr(method, ' ', line);
	if (!target)
		return HTTP_BAD_REQUEST;
	method_n = (size_t)(target++ - method);
	version = memchr(target, ' ', line - method_n - 1);
	if (!version)
		return HTTP_BAD_REQUEST;
	target_n = (size_t)(version++ - target);
	line -= (size_t)(version - request);
	if (line != 8 || memcmp(version, "HTTP/1.", 7) != 0 || method_n == 0 || target_n == 0)
		return HTTP_BAD_REQUEST;
	*ret_head = token_is(method, method_n, "HEAD");
	if (!*ret_head && !token_is(method, method_n, "GET"))
		return HTTP_BAD_METHOD;
	/* Prometheus may add parameters of its job to the path. */
	for (query = 0; query < target_n && target[query] != '?';)
		query++;
	if (token_is(target, query, "/metrics"))
		return HTTP_METRICS;
	return token_is(target, query, "/") ? HTTP_INDEX : HTTP_NOT_FOUND;
}

static const struct {
	const char *status;
	const char *type;
	const char *body;
} answers[] = {
	[HTTP_INCOMPLETE] = { "408 Request Timeout", "text/plain", "no request came in time\n" },
	[HTTP_METRICS] = { "200 OK", "text/plain; version=0.0.4; charset=utf-8", "" },
	[HTTP_INDEX] = { "200 OK", "text/plain", "cram-exporter: see /metrics\n" },
	[HTTP_NOT_FOUND] = { "404 Not Found", "text/plain", "only /metrics is here\n" },
	[HTTP_BAD_METHOD] = { "405 Method Not Allowed", "text/plain", "only GET and HEAD\n" },
	[HTTP_BAD_REQUEST] = { "400 Bad Request", "text/plain", "not an HTTP/1 request\n" },
	[HTTP_TOO_LARGE] = { "431 Request Header Fields Too Large", "text/plain",
			     "the request is too large\n" },
};

size_t http_header(enum http_verdict verdict, size_t length, char *buf, size_t size)
{
	int n = snprintf(buf, size,
			 "HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n%s"
			 "Connection: close\r\n\r\n",
			 answers[verdict].status, answers[verdict].type, length,
			 verdict == HTTP_BAD_METHOD ? "Allow: GET, HEAD\r\n" : "");

	return n < 0 ? 0 : (size_t)n;
}

const char *http_body(enum http_verdict verdict)
{
	return answers[verdict].body;
}
