// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * cramd.conf: what is taken is consistent, what is refused says where.
 */
#include <assert.h>

#include "settings/settings.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cram_error err = { 0 };
	struct cram_conf conf;
	char *text = malloc(size + 1);

	if (!text)
		return 0;
	for (size_t i = 0; i < size; i++)
		text[i] = (char)data[i];
	text[size] = '\0';
	if (cram_conf_parse("f", text, size, &conf, &err) == 0) {
		assert(cram_conf_check(&conf, &err) == 0);
		assert(conf.host.policy.backoff_factor > 0);
		cram_conf_free(&conf);
	} else {
		assert(err.code < 0 && err.why[0] != '\0');
	}
	free(text);
	return 0;
}
