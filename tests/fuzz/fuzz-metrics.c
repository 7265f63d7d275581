// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * An answer to GetMetrics: whatever it holds, the page is whole lines of text, and it has series
 * beyond cram_up only if the answer was taken.
 */
#include <assert.h>
#include <string.h>

#include "exporter/render.h"
#include "protocol/protocol.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct json_object *o = NULL;
	struct render r = { 0 };
	char *text = malloc(size + 1);

	if (!text)
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	if (strlen(text) == size && cram_json_parse(text, size, &o) == 0 &&
	    render_metrics(&r, o) == 0) {
		assert(r.n > 0 && r.text[r.n - 1] == '\n');
		assert(memchr(r.text, '\0', r.n) == NULL);
		assert(!memmem(r.text, r.n, "\ncram_up 0\n", 11) ||
		       !memmem(r.text, r.n, "\ncram_vm", 8));
	}
	json_object_put(o);
	render_free(&r);
	free(text);
	return 0;
}
