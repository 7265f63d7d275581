/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A GetMetrics reply as Prometheus' text format 0.0.4, by the field tables of protocol/model.c.
 * It knows no metric by name except cram_up, states and the _info ones.
 */
#pragma once

#include <json-c/json.h>
#include <stddef.h>

#include "protocol/rows.h"
#include "util/array.h"

/* Buffers kept from scrape to scrape. Zero-initialise. */
struct render {
	char *text;
	size_t n, cap;
	size_t *labels; /* where those of each VM begin and end in the text */
	size_t labels_cap;
	struct cram_vm_reports vms;
	CRAM_ARRAY(struct cram_dram_report) dram;
	CRAM_ARRAY(struct cram_node_report) nodes;
	int failed; /* -ENOMEM */
};

/*
 * Fill r->text with r->n bytes. @reply NULL or malformed: the agent is down, cram_up 0 and nothing
 * else. 0 or -ENOMEM.
 */
int render_metrics(struct render *r, struct json_object *reply);
void render_free(struct render *r);

/*
 * Takes the page out, so that it can be sent while the next one is written: the caller's, who gives
 * it back or frees it. *ret_n: its bytes, *ret_cap: the size of the memory.
 */
char *render_lend(struct render *r, size_t *ret_n, size_t *ret_cap);
void render_give_back(struct render *r, char *text, size_t cap);
