// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Domain XML and the tiering element: whatever is taken must resolve to settings that can be
 * printed and read again.
 */
#include <assert.h>
#include <string.h>

#include "settings/domain.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void settings_are_sound(const struct cram_vm_layer *xml)
{
	struct cram_vm_identity id = { .name = "x" };
	struct cram_vm_settings set;
	struct cram_conf conf;

	cram_conf_init(&conf);
	cram_settings_resolve(&conf, &id, 4 * GiB, xml, NULL, NULL, &set);
	assert(set.floor <= 4 * GiB);
	assert(set.weight >= 1 && set.weight <= 10000);
	assert(set.mode < CRAM_N_MODES);
	for (unsigned int s = 0; s < CRAM_N_SETTINGS; s++) {
		struct cram_vm_layer again = { 0 };
		char text[64];
		int r;

		cram_settings_text(&set, (enum cram_setting)s, text, sizeof(text));
		r = cram_layer_set(&again, (enum cram_setting)s, text, 1, NULL);
		assert(r == 0);
		(void)r;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cram_error err = { 0 };
	struct cram_vm_layer layer;
	struct cram_domain domain;
	char warning[256], text[CRAM_ERROR_TEXT];

	if (cram_tiering_parse((const char *)data, size, &layer, warning, sizeof(warning), &err) ==
	    0)
		settings_are_sound(&layer);
	else
		cram_error_format(&err, text, sizeof(text));
	if (cram_domain_parse((const char *)data, size, &domain, &err) == 0) {
		assert(memchr(domain.name, '\0', sizeof(domain.name)));
		assert(domain.n_cells <= CRAM_MAX_CELLS);
		settings_are_sound(&domain.tiering);
	}
	return 0;
}
