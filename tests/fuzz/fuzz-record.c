// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A recorded snapshot from a stranger's bug report: parsed, decided on, advanced; the limits hold
 * whatever it says.
 */
#include <assert.h>
#include <stdlib.h>

#include "protocol/record.h"
#include "settings/settings.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Decided on thrice, and freed. */
static void judge(struct cram_record *rec)
{
	struct cram_policy_workspace *ws = NULL;
	struct cram_decision d = { 0 };

	d.actions = calloc(rec->snap.n_vms + 1, sizeof(*d.actions));
	if (d.actions && cram_policy_workspace_reserve(&ws, rec->snap.n_vms) == 0) {
		for (int round = 0; round < 3; round++) {
			if (cram_policy_decide(&rec->params, &rec->snap, ws, &d) < 0)
				break;
			for (size_t i = 0; i < rec->snap.n_vms; i++) {
				const struct cram_vm_input *vm = &rec->vms[i];
				const struct cram_vm_action *a = &d.actions[i];

				assert(a->promote_bytes <= vm->tier_bytes);
				if (a->demote_bytes == 0)
					continue;
				assert(a->demote_bytes <= vm->dram);
				assert(vm->hard_limit == CRAM_UNLIMITED ||
				       vm->tier_bytes + a->demote_bytes <= vm->hard_limit);
			}
			cram_record_advance(rec, &d, 2000);
		}
	}
	cram_policy_workspace_free(ws);
	free(d.actions);
	cram_record_free(rec);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cram_records records;
	struct cram_error err = { 0 };
	struct cram_record rec;
	struct cram_conf conf;
	FILE *f;

	cram_conf_init(&conf);
	/* A text by itself, and as cramctl policy simulate reads a file of them. */
	if (cram_record_parse("r", (const char *)data, size, &conf.host.policy, &rec, &err) == 0)
		judge(&rec);
	f = size ? fmemopen((void *)(uintptr_t)data, size, "r") : NULL;
	if (!f)
		return 0;
	if (cram_records_open(&records, f, "r") == 0)
		while (cram_records_next(&records, &conf.host.policy, &rec, &err) > 0)
			judge(&rec);
	cram_records_close(&records);
	fclose(f);
	return 0;
}
