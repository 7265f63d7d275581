// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A scraper's request, arriving byte by byte: the verdict never depends on how it arrives.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "exporter/http.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum http_verdict first = HTTP_INCOMPLETE;
	bool head = false, head_then = false;
	char header[512];

	for (size_t n = 0; n <= size && first == HTTP_INCOMPLETE; n++) {
		/* A copy of exactly that size, so that the sanitizer sees a byte too many read. */
		char *copy = malloc(n ? n : 1);

		if (!copy)
			return 0;
		memcpy(copy, data, n);
		first = http_judge(copy, n, &head);
		free(copy);
	}
	if (size <= HTTP_REQUEST_MAX) {
		enum http_verdict whole = http_judge((const char *)data, size, &head_then);

		assert(whole == first && head == head_then);
		(void)whole;
	}
	assert(http_header(first, size, header, sizeof(header)) < sizeof(header));
	return 0;
}
