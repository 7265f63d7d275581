// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The state file: taken whole or refused whole.
 */
#include <assert.h>

#include "settings/settings.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cram_overrides o = { 0 };
	struct cram_error err = { 0 };

	if (cram_overrides_parse((const char *)data, size, &o, &err) == 0) {
		for (size_t i = 0; i < o.v.n; i++)
			assert(cram_overrides_find(&o, o.v.v[i].uuid) &&
			       (o.v.v[i].layer.set || o.v.v[i].paused || o.v.v[i].drained));
		cram_overrides_free(&o);
	} else {
		assert(o.v.n == 0);
	}
	return 0;
}
