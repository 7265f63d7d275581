/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The compressed card's books, kept a second time by brute force: every sum is a
 * loop over all pages, the exposure is taken after each single store, and no
 * name is shared with the account. account_run() plays a sequence of stores,
 * looks, settlements, trims, resizes and settings, made from bytes, to both and
 * aborts where they differ. For the unit test and for the fuzzer.
 */
#pragma once

#include <stdio.h>
#include <stdlib.h>

/* First, as everywhere in QEMU. */
#include "qemu/osdep.h"

#include "cxl-compress-account.h"

#define MODEL_PAGES 48
#define MODEL_BATCH 8

/* A test that has others beside it may prefer to go on with them. */
#ifndef MODEL_CHECK
#define MODEL_CHECK(condition)                                                          \
	do {                                                                            \
		if (!(condition)) {                                                     \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
			abort();                                                        \
		}                                                                       \
	} while (0)
#endif

struct model {
	struct {
		unsigned int takes;
		bool written; /* since it was settled */
		bool gone;    /* did not fit */
		bool pardon;  /* written before a shrink by force, not since */
	} page[MODEL_PAGES];
	unsigned long long extra, size, meta, goal, worst, step;
	int told;		 /* of a shrink: 0 none, 1 announced, 2 accepted */
	uint64_t reports, since; /* that were made, and that were when it was announced */
	unsigned long long low, high;
	bool below;
	unsigned long long peak, excess, pardoned_bytes, lost, pardoned;
	/* What the account does not know of yet */
	bool unseen[MODEL_PAGES];
};

static unsigned long long model_taken(const struct model *m)
{
	unsigned long long sum = m->extra;

	for (int i = 0; i < MODEL_PAGES; i++)
		sum += m->page[i].takes;
	return sum;
}

static unsigned long long model_exposure(const struct model *m)
{
	unsigned long long sum = model_taken(m);

	for (int i = 0; i < MODEL_PAGES; i++)
		sum += m->page[i].written ? m->worst : 0;
	return sum;
}

static unsigned long long model_beyond(const struct model *m, unsigned long long bytes,
				       unsigned long long size)
{
	unsigned long long steps = bytes / m->step + (bytes % m->step != 0);

	return steps * m->step + m->meta > size ? steps * m->step + m->meta - size : 0;
}

/* Something happened: how much might be needed now? */
static void model_feel(struct model *m)
{
	unsigned long long exposure = model_exposure(m);
	unsigned long long beyond = model_beyond(m, exposure, m->size);

	if (exposure > m->peak)
		m->peak = exposure;
	if (beyond > m->pardoned_bytes && beyond - m->pardoned_bytes > m->excess)
		m->excess = beyond - m->pardoned_bytes;
}

/* Things have settled: what is forgiven is what is still too much. */
static void model_repent(struct model *m)
{
	unsigned long long beyond = model_beyond(m, model_exposure(m), m->size);

	if (beyond < m->pardoned_bytes)
		m->pardoned_bytes = beyond;
}

static void model_store(struct model *m, int page)
{
	m->page[page].written = true;
	m->page[page].pardon = false;
	m->unseen[page] = true;
	model_feel(m);
}

static void model_level(struct model *m, bool *ret_low, bool *ret_high)
{
	unsigned long long usable = m->size - m->meta, taken = model_taken(m);
	unsigned long long room = taken < usable ? usable - taken : 0;

	if (!m->below && room < MIN(m->low, usable)) {
		m->below = *ret_low = true;
	} else if (m->below && room >= MIN(m->high, usable)) {
		m->below = false;
		*ret_high = true;
	}
}

/* The end of what happens at one moment. */
static void model_moment(struct model *m, bool *ret_low, bool *ret_high)
{
	if (m->told == 2 && !model_beyond(m, model_taken(m), m->goal)) {
		m->size = m->goal;
		m->told = 0;
		model_level(m, ret_low, ret_high);
	}
	model_repent(m);
	model_feel(m);
	model_level(m, ret_low, ret_high);
}

/* Does it fit? As the card does it, page by page. */
static bool model_settle(struct model *m, int page, unsigned int takes, bool again)
{
	unsigned int before = m->page[page].takes;
	bool fits;

	m->page[page].takes = takes;
	fits = takes <= before || !model_beyond(m, model_taken(m), m->size);
	if (!fits) {
		m->page[page].takes = 0;
		m->lost += !m->page[page].gone;
		m->pardoned += !m->page[page].gone && m->page[page].pardon;
	}
	m->page[page].gone = !fits;
	if (!again)
		m->page[page].written = m->page[page].pardon = false;
	return fits;
}

static void model_compare(const struct model *m, const CXLCompressAccount *a)
{
	unsigned long long histogram[CXL_COMPRESS_BUCKETS] = { 0 }, dirty = 0;

	for (int i = 0; i < MODEL_PAGES; i++) {
		unsigned int bucket = 0;

		while (bucket < CXL_COMPRESS_BUCKETS - 1 && m->page[i].takes > bucket * 512)
			bucket++;
		histogram[bucket]++;
		dirty += m->page[i].written && !m->unseen[i];
		MODEL_CHECK(a->bytes[i] == m->page[i].takes);
	}
	MODEL_CHECK(dirty <= a->nr_dirty);
	for (int i = 0; i < CXL_COMPRESS_BUCKETS; i++)
		MODEL_CHECK(a->histogram[i] == histogram[i]);
	MODEL_CHECK(cxl_compress_account_taken(a) == model_taken(m));
	MODEL_CHECK(a->stored + m->extra == model_taken(m));
	MODEL_CHECK(a->physical == m->size && a->metadata == m->meta);
	MODEL_CHECK((a->target < a->physical) == (m->told != 0));
	MODEL_CHECK(!m->told || a->target == m->goal);
	MODEL_CHECK((int)a->shrink == m->told);
	MODEL_CHECK(a->below_low == m->below);
	MODEL_CHECK(a->over_capacity_pages == m->lost);
	MODEL_CHECK(a->excused_pages == m->pardoned);
}

/* The account hears of what was written, and looks; then both know the same. */
static void model_look(struct model *m, CXLCompressAccount *a)
{
	unsigned long long dirty = 0;

	for (int i = 0; i < MODEL_PAGES; i++) {
		if (m->unseen[i])
			cxl_compress_account_mark(a, (uint64_t)i);
		m->unseen[i] = false;
		dirty += m->page[i].written;
	}
	cxl_compress_account_look(a);
	model_repent(m);
	MODEL_CHECK(a->nr_dirty == dirty);
	MODEL_CHECK(a->peak_exposure == m->peak);
	MODEL_CHECK(a->peak_excess == m->excess);
	MODEL_CHECK(a->forgiven == m->pardoned_bytes);
}

struct model_input {
	const uint8_t *data;
	size_t size;
};

static unsigned int model_next(struct model_input *in)
{
	if (!in->size)
		return 0;
	in->size--;
	return *in->data++;
}

/* From nothing to the worst, every unit of 64 and some between. */
static unsigned int model_bytes(struct model_input *in, const struct model *m)
{
	unsigned int n = model_next(in);

	return n < 64	? 0
	       : n < 96 ? (unsigned int)m->worst
			: (n - 95) * 25 % ((unsigned int)m->worst + 1);
}

static void model_events(const CXLCompressEvents *ev, bool low, bool high, unsigned long long lost)
{
	MODEL_CHECK(ev->low == low);
	MODEL_CHECK(ev->high == high);
	MODEL_CHECK(ev->lost == lost);
}

static void run_stores(struct model *m, struct model_input *in)
{
	for (unsigned int n = model_next(in) % 16; n; n--)
		model_store(m, (int)(model_next(in) % MODEL_PAGES));
}

static void run_settle(struct model *m, CXLCompressAccount *a, struct model_input *in)
{
	int batch[MODEL_BATCH], nr = 0, first = (int)(model_next(in) % MODEL_PAGES);
	unsigned int bytes[MODEL_BATCH];
	unsigned long long lost = m->lost;
	CXLCompressEvents ev = { 0 };
	bool low = false, high = false, again[MODEL_PAGES];

	model_look(m, a);
	for (int i = 0; i < MODEL_PAGES && nr < MODEL_BATCH; i++) {
		int page = (first + i) % MODEL_PAGES;

		if (m->page[page].written) {
			batch[nr] = page;
			bytes[nr++] = model_bytes(in, m);
		}
	}
	/* Meanwhile the host writes on. */
	run_stores(m, in);
	memcpy(again, m->unseen, sizeof(again));
	model_look(m, a);
	for (int i = 0; i < nr; i++)
		MODEL_CHECK(model_settle(m, batch[i], bytes[i], again[batch[i]]) ==
			    cxl_compress_account_settle(a, (uint64_t)batch[i], (uint16_t)bytes[i],
							again[batch[i]], &ev));
	model_moment(m, &low, &high);
	cxl_compress_account_commit(a, &ev);
	model_events(&ev, low, high, m->lost - lost);
}

static void run_release(struct model *m, CXLCompressAccount *a, struct model_input *in)
{
	int page = (int)(model_next(in) % MODEL_PAGES);
	int nr = (int)(model_next(in) % MODEL_PAGES), end = MIN(MODEL_PAGES, page + nr);
	CXLCompressEvents ev = { 0 };
	bool low = false, high = false, again[MODEL_PAGES];

	model_look(m, a);
	run_stores(m, in);
	memcpy(again, m->unseen, sizeof(again));
	model_look(m, a);
	for (; page < end; page++) {
		MODEL_CHECK(cxl_compress_account_release(a, (uint64_t)page, again[page]) ==
			    m->page[page].takes);
		m->page[page].takes = 0;
		m->page[page].gone = false;
		if (!again[page])
			m->page[page].written = m->page[page].pardon = false;
	}
	model_moment(m, &low, &high);
	cxl_compress_account_commit(a, &ev);
	model_events(&ev, low, high, 0);
}

static void run_resize(struct model *m, CXLCompressAccount *a, struct model_input *in)
{
	unsigned long long size = m->meta + 1 + model_next(in) * 1024ull;
	bool force = model_next(in) & 1, low = false, high = false;
	CXLCompressEvents ev = { 0 };

	model_look(m, a);
	cxl_compress_account_resize(a, size, force, m->reports + 1, &ev);
	if (size < m->size && !force) {
		m->goal = size;
		m->told = 1;
		m->since = m->reports;
	} else {
		if (size < m->size) {
			m->pardoned_bytes = model_beyond(m, model_exposure(m), size);
			for (int i = 0; i < MODEL_PAGES; i++)
				m->page[i].pardon = m->page[i].written;
		}
		m->size = size;
		m->told = 0;
		model_level(m, &low, &high);
	}
	MODEL_CHECK(ev.resized == (m->told == 0));
	model_events(&ev, low, high, 0);
}

static void run_settings(struct model *m, CXLCompressAccount *a, unsigned int op,
			 struct model_input *in)
{
	CXLCompressWatermarks wm = { 0 };
	CXLCompressEvents ev = { 0 };
	bool low = false, high = false, below = m->below;
	uint64_t heard;

	if (op == 4 || op == 5) {
		wm.low = model_next(in) * 512;
		wm.high = wm.low + model_next(in) * 512;
		m->low = wm.low;
		m->high = wm.high;
		m->below = false;
		m->high = UINT64_MAX; /* where it stands does not hang on it */
		model_level(m, &low, &high);
		m->high = wm.high;
	}
	switch (op) {
	case 4:
		cxl_compress_account_set_watermarks(a, wm, &ev);
		model_events(&ev, m->below, below && !m->below, 0);
		break;
	case 5:
		cxl_compress_account_reset(a, wm);
		m->told = m->told ? 1 : 0;
		break;
	case 6:
		m->reports++;
		break;
	case 7:
		/* The host may have got an old report. */
		heard = m->reports - model_next(in) % (m->reports + 1);
		cxl_compress_account_accept(a, heard);
		m->told = m->told == 1 && heard > m->since ? 2 : m->told;
		break;
	case 8:
		model_look(m, a);
		m->extra = model_next(in) * 64ull;
		/* It might be too much this very moment. */
		model_moment(m, &low, &high);
		cxl_compress_account_set_overhead(a, m->extra, &ev);
		model_events(&ev, low, high, 0);
		break;
	}
}

static void account_run(const uint8_t *data, size_t size)
{
	static const unsigned int worst[] = { 4096, 4160, 8192 }, steps[] = { 1, 4096, 16384 };
	struct model_input in = { data, size };
	CXLCompressAccount a;
	struct model m = {
		.meta = MODEL_PAGES * 8,
		.worst = worst[model_next(&in) % 3],
		.step = steps[model_next(&in) % 3],
	};

	m.size = m.meta + 1 + model_next(&in) * 1024ull;
	cxl_compress_account_init(&a, MODEL_PAGES, m.size, (uint32_t)m.worst, m.step);
	while (in.size) {
		unsigned int op = model_next(&in) % 12;

		switch (op) {
		case 0:
		case 9:
			run_stores(&m, &in);
			break;
		case 1:
		case 10:
			run_settle(&m, &a, &in);
			break;
		case 2:
			run_release(&m, &a, &in);
			break;
		case 3:
			run_resize(&m, &a, &in);
			break;
		case 11:
			model_look(&m, &a);
			break;
		default:
			run_settings(&m, &a, op, &in);
		}
		model_compare(&m, &a);
	}
	model_look(&m, &a);
	cxl_compress_account_free(&a);
}
