/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reports of many VMs as compact rows: a row is an array of the texts, then all numbers in one
 * string. A value of its own in JSON costs some 1,500 instructions from one end to the other, ten
 * times what its digits cost; a scrape of 500 VMs carries 15,000 of them. Not for other reports.
 */
#pragma once

#include <json-c/json.h>

#include "protocol/model.h"
#include "util/array.h"

/*
 * Adds "texts" and "numbers" (names of the fields that have a metric, a label or a name, in the
 * order of the table) and "rows" to @reply. 0 or -ENOMEM.
 */
int cram_rows_encode(struct json_object *reply, const struct cram_vm_report *vms, size_t n_vms);

struct cram_vm_reports {
	struct cram_vm_report *v;
	size_t n, cap;
};

/*
 * Fills @ret from what cram_rows_encode() wrote. Fields of a newer agent are passed over, fields
 * that an older one lacks stay zero. -EBADMSG: not such a reply (@ret is empty); -ENOMEM.
 */
int cram_rows_decode(struct json_object *reply, struct cram_vm_reports *ret);
