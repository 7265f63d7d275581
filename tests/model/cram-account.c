// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * "No overrun", over every state that a small card and a kernel that keeps its
 * accounts (cram_account.h) can get into, in any order of their steps.
 *
 * One transition of the kernel or of the card is atomic; everything between two
 * of them may happen: copies that stop half-way, cache lines that are written
 * back late, trims that fail, are late or are executed after their time-out,
 * reports that are late, repeated or overtaken, shrinks, growth by itself. The
 * oracle is the card's: what it stores, and the worst of each frame written
 * since its newest snapshot, never exceed what it has; and no frame with data
 * is ever trimmed.
 *
 * A breadth-first search, so a violation is shown with a shortest way to it.
 * Then each of a list of mistakes is made in turn, and has to be found.
 */
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The kernel's own header, in the kernel's types. */
typedef uint64_t u64;
#include <linux/cram_account.h>

enum {
	FRAMES = 3,
	SNAPSHOTS = 2,
	WORST = 2
};

/* Where a frame is. HELD: taken from the free list, a copy may be going into it. */
enum place {
	KEPT,
	FREE,
	HELD,
	WRITTEN,
	DYING,
	TRIMMING,
	UNKNOWN,
	ZEROING
};

struct frame {
	uint8_t place;
	uint8_t size;	 /* what the card stores of it, as of its newest snapshot */
	bool dirty : 1;	 /* written since: of a size that shows when the card settles */
	bool cached : 1; /* a CPU cache may still write lines of it back */
	bool filled : 1; /* a copy has begun to write it */
	bool trim : 1;	 /* the card has a trim of it that it has not executed */
};

struct card {
	struct frame frame[FRAMES];
	uint8_t physical;
	uint8_t target;	   /* announced; 0: none */
	bool granted;	   /* a request has accepted it */
	uint8_t lingering; /* trimmed, but its space is not back yet */
	uint8_t generation;
	uint8_t snapshots;
	struct cram_report snapshot[SNAPSHOTS]; /* newest last */
	/* What it may still do by itself, once in a run. */
	uint8_t growth, fall, changes;
};

struct state {
	struct card card;
	struct cram_account account;
	uint8_t untold; /* frames WRITTEN that the account does not know of yet */
	bool erased;	/* the card trimmed data */
};

/* A card and what is assumed of it. */
struct config {
	const char *name;
	uint8_t frames;
	uint8_t snapshots; /* taken and not yet delivered; 2: reports can overtake each other */
	uint8_t physical, changes, shrunk;
	bool repeats;	      /* gives an old snapshot a new generation */
	uint8_t lag;	      /* bytes that a fresh report may leave out */
	uint8_t step;	      /* space is taken in steps of so many bytes */
	uint8_t growth, fall; /* A1, A2 */
	bool trims;	      /* else the processor zeroes */
	uint8_t zeros;	      /* the most that it stores of a page of zeros */
};

enum {
	PLAIN,
	OVERTAKING,
	REPEATING,
	RESIZED,
	LAGGING,
	STEPS,
	GROWTH,
	FALL,
	NO_TRIM,
	NO_TRIM_RESIZED,
	TOGETHER,
	CONFIGS
};

static const struct config configs[CONFIGS] = {
	[PLAIN] = { .name = "a card that only compresses",
		    .frames = 3,
		    .snapshots = 1,
		    .physical = 3,
		    .trims = true },
	[OVERTAKING] = { .name = "reports overtake each other",
			 .frames = 2,
			 .snapshots = 2,
			 .physical = 3,
			 .trims = true },
	[REPEATING] = { .name = "old snapshots come as new reports, beside a shrink",
			.frames = 2,
			.snapshots = 2,
			.physical = 3,
			.shrunk = 2,
			.changes = 1,
			.repeats = true,
			.trims = true },
	[RESIZED] = { .name = "the card shrinks and grows",
		      .frames = 2,
		      .snapshots = 1,
		      .physical = 4,
		      .shrunk = 2,
		      .changes = 2,
		      .trims = true },
	[LAGGING] = { .name = "reports leave out the newest byte",
		      .frames = 2,
		      .snapshots = 1,
		      .physical = 4,
		      .lag = 1,
		      .trims = true },
	[STEPS] = { .name = "space is taken in steps",
		    .frames = 2,
		    .snapshots = 1,
		    .physical = 4,
		    .step = 2,
		    .trims = true },
	[GROWTH] = { .name = "stored bytes grow by themselves",
		     .frames = 2,
		     .snapshots = 1,
		     .physical = 4,
		     .growth = 1,
		     .trims = true },
	[FALL] = { .name = "physical falls unannounced",
		   .frames = 2,
		   .snapshots = 1,
		   .physical = 4,
		   .fall = 1,
		   .trims = true },
	[NO_TRIM] = { .name = "a card that cannot trim",
		      .frames = 3,
		      .snapshots = 1,
		      .physical = 5,
		      .zeros = WORST },
	[NO_TRIM_RESIZED] = { .name = "a card that cannot trim shrinks",
			      .frames = 2,
			      .snapshots = 1,
			      .physical = 6,
			      .shrunk = 3,
			      .changes = 1 },
	[TOGETHER] = { .name = "steps, growth and a shrink together",
		       .frames = 2,
		       .snapshots = 1,
		       .physical = 5,
		       .shrunk = 4,
		       .changes = 1,
		       .step = 2,
		       .growth = 1,
		       .trims = true },
};

enum mistake {
	NONE,
	WRITTEN_BEFORE_THE_COPY,
	SETTLED_AT_THE_END_OF_THE_COPY,
	NOT_CREDITED_UNTIL_IT_IS_TOLD,
	FLUSH_FORGOTTEN,
	FREED_WITHOUT_FLUSH,
	CREDIT_AT_FREE,
	CREDIT_BEFORE_THE_TRIM_IS_ACKNOWLEDGED,
	FAILED_COPY_TAKEN_FOR_UNWRITTEN,
	TAKING_BACK_A_FRAME_IN_USE,
	REPORT_APPLIED_OUT_OF_ORDER,
	REPORT_TAKEN_FOR_THE_NEWEST_ANSWER,
	OLD_SNAPSHOT_TAKEN_FOR_A_NEW_ONE,
	SETTLED_WHEN_ASKED,
	TIMED_OUT_TRIM_TAKEN_FOR_FAILED,
	TIMED_OUT_TRIM_TAKEN_FOR_DONE,
	SHRINK_GRANTED_UNSEEN,
	TARGET_IGNORED,
	ZEROING_IS_FREE,
	ZEROS_SETTLED_TOO_EARLY,
	ZEROS_AT_THE_TARGET,
	ACCEPTED_BEFORE_IT_FITS,
	FENCE_WITH_A_HOLE,
	NO_RESERVE,
	GIVEN_ONE_TOO_MANY,
	MISTAKES
};

/* A mistake, and where it shows. */
static const struct {
	uint8_t config;
	const char *name;
} mistakes[MISTAKES] = {
	[WRITTEN_BEFORE_THE_COPY] = { PLAIN,
				      "a frame is settled from the copy's begin, not its end" },
	[SETTLED_AT_THE_END_OF_THE_COPY] = { PLAIN,
					     "a frame is settled at the end of the copy, not by a report" },
	[NOT_CREDITED_UNTIL_IT_IS_TOLD] = { PLAIN,
					    "a written frame is neither credited nor unsettled for a while" },
	[FLUSH_FORGOTTEN] = { PLAIN, "no cache flush after the copy" },
	[FREED_WITHOUT_FLUSH] = { PLAIN,
				  "no cache flush before the trim of a frame that was never mapped" },
	[CREDIT_AT_FREE] = { PLAIN,
			     "a freed frame goes back to the allocator untrimmed, as credit" },
	[CREDIT_BEFORE_THE_TRIM_IS_ACKNOWLEDGED] = { PLAIN,
						     "a frame counts as trimmed when the trim is sent" },
	[FAILED_COPY_TAKEN_FOR_UNWRITTEN] = { PLAIN,
					      "the frame of a failed copy counts as never written" },
	[TAKING_BACK_A_FRAME_IN_USE] = { PLAIN, "a frame is taken back while somebody writes it" },
	[REPORT_APPLIED_OUT_OF_ORDER] = { OVERTAKING, "an older report replaces a newer one" },
	[REPORT_TAKEN_FOR_THE_NEWEST_ANSWER] = { OVERTAKING,
						 "a report settles up to the newest request, not up to its own" },
	[OLD_SNAPSHOT_TAKEN_FOR_A_NEW_ONE] = { REPEATING,
					       "a report is newer than another by its generation alone" },
	[SETTLED_WHEN_ASKED] = { PLAIN, "the request for a report settles, not its answer" },
	[TIMED_OUT_TRIM_TAKEN_FOR_FAILED] = { PLAIN,
					      "a trim that timed out is sent again, its frame used after" },
	[TIMED_OUT_TRIM_TAKEN_FOR_DONE] = { PLAIN, "a trim that timed out counts as done" },
	[SHRINK_GRANTED_UNSEEN] = { RESIZED, "a shrink is accepted before credit was taken back" },
	[TARGET_IGNORED] = { RESIZED,
			     "an announced target does not count before the card has shrunk" },
	[ZEROING_IS_FREE] = { NO_TRIM, "zeroing by the processor has no budget" },
	[ZEROS_SETTLED_TOO_EARLY] = { NO_TRIM,
				      "a report asked for before the zeroing ended gives its budget back" },
	[ZEROS_AT_THE_TARGET] = { NO_TRIM_RESIZED,
				  "zeros that make room for a shrink wait until there is room" },
	[ACCEPTED_BEFORE_IT_FITS] = { NO_TRIM_RESIZED,
				      "a shrink is accepted that only zeros would make room for" },
	[FENCE_WITH_A_HOLE] = { PLAIN, "a WRITTEN frame can be written" },
	[NO_RESERVE] = { GROWTH, "nothing is set aside for what the card does by itself" },
	[GIVEN_ONE_TOO_MANY] = { PLAIN, "one frame is given beyond the room" },
};

/* --- the search --- */

enum {
	MOST_STATES = 1 << 23,
	MOST_EDGES = 1 << 25
};

/* A state as bytes: what is equal here behaves alike. */
struct key {
	uint8_t byte[48];
};

static struct search {
	const struct config *config;
	enum mistake mistake;
	struct key *keys; /* states in the order in which they were found */
	uint32_t *parent;
	const char **step; /* by what the state was reached from its parent */
	uint32_t *table;   /* hash → index + 1 */
	uint32_t found, table_size;
	uint32_t current;
	uint32_t violation;
	uint32_t (*edges)[2]; /* from, to: where the card shrinks; else none */
	uint32_t n_edges;
	uint8_t most_written; /* WRITTEN frames at once, over all states */
} search;

static struct key pack(const struct state *s);
static struct state unpack(const struct key *key);

static bool violated(const struct state *s)
{
	const struct card *card = &s->card;
	unsigned int exposure = card->lingering,
		     step = search.config->step ? search.config->step : 1;

	for (unsigned int i = 0; i < FRAMES; i++)
		exposure += card->frame[i].dirty ? WORST : card->frame[i].size;
	return s->erased || (exposure + step - 1) / step * step > card->physical;
}

static uint64_t hash(const struct key *key)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);

	/* FNV-1a */
	for (size_t i = 0; i < sizeof(*key); i++)
		h = (h ^ key->byte[i]) * UINT64_C(0x100000001b3);
	return h ^ h >> 32;
}

static void keep_edge(uint32_t to)
{
	if (!search.config->shrunk)
		return;
	if (search.n_edges == MOST_EDGES) {
		printf("Bail out! more than %d edges\n", MOST_EDGES);
		exit(1);
	}
	search.edges[search.n_edges][0] = search.current;
	search.edges[search.n_edges++][1] = to;
}

static void reach(const struct state *s, const char *step)
{
	struct key key = pack(s);
	uint32_t at = (uint32_t)hash(&key) & (search.table_size - 1);

	if (search.violation)
		return;
	for (; search.table[at]; at = (at + 1) & (search.table_size - 1)) {
		if (!memcmp(&search.keys[search.table[at] - 1], &key, sizeof(key))) {
			keep_edge(search.table[at] - 1);
			return;
		}
	}
	if (search.found == MOST_STATES) {
		printf("Bail out! more than %d states\n", MOST_STATES);
		exit(1);
	}
	search.keys[search.found] = key;
	search.parent[search.found] = search.current;
	search.step[search.found] = step;
	search.table[at] = ++search.found;
	keep_edge(search.found - 1);
	if (violated(s))
		search.violation = search.found;
}

/* --- states as bytes --- */

static int compare_frames(const void *a, const void *b)
{
	return memcmp(a, b, 2);
}

/* Of the requests that are unanswered, how many @tag answers: its absolute value does not matter.
 */
static uint8_t answered(const struct cram_account *a, uint64_t tag)
{
	uint8_t n = 0;

	while (n < a->epochs && a->epoch[n].tag <= tag)
		n++;
	return n;
}

/*
 * Of tags and generations only the order matters. Unpacked, the report in force
 * has generation 1, the card's newer snapshots follow; the report's tag, and
 * those before, are COVERED; the @i-th unanswered request has an even tag, and a
 * snapshot after it may have the odd one above.
 */
enum {
	COVERED = 1
};

static uint64_t tag_after(uint8_t answered)
{
	return 2 + 2U * answered;
}

static struct key pack(const struct state *s)
{
	const struct cram_account *a = &s->account;
	const struct card *card = &s->card;
	struct key key = { 0 };
	uint8_t *out = key.byte;

	for (unsigned int i = 0; i < FRAMES; i++) {
		const struct frame *f = &card->frame[i];

		*out++ = f->place;
		*out++ = (uint8_t)(f->size | f->dirty << 4 | f->cached << 5 |
				   (f->filled && f->place == HELD) << 6 | f->trim << 7);
	}
	qsort(key.byte, FRAMES, 2, compare_frames);
	*out++ = card->physical;
	*out++ = card->target;
	*out++ = (uint8_t)(card->granted | a->shrinking << 1 | s->erased << 2);
	*out++ = card->lingering;
	*out++ = (uint8_t)(card->growth | card->fall << 2 | card->changes << 4);
	*out++ = card->snapshots;
	for (unsigned int i = 0; i < card->snapshots; i++) {
		*out++ = answered(a, card->snapshot[i].tag);
		*out++ = (uint8_t)(card->snapshot[i].generation > a->generation) |
			 (uint8_t)(card->snapshot[i].tag > a->zero_tag) << 1 |
			 (uint8_t)(card->snapshot[i].tag > a->covered) << 2;
		*out++ = (uint8_t)card->snapshot[i].stored;
		*out++ = (uint8_t)card->snapshot[i].usable;
		*out++ = (uint8_t)card->snapshot[i].target;
	}
	*out++ = a->generation > 0;
	*out++ = s->untold;
	*out++ = (uint8_t)a->stored;
	*out++ = (uint8_t)a->usable;
	*out++ = (uint8_t)a->physical;
	*out++ = (uint8_t)a->credited;
	*out++ = (uint8_t)a->unsettled;
	*out++ = (uint8_t)a->zeroed;
	*out++ = (uint8_t)a->zeroing;
	*out++ = a->zeroed ? (uint8_t)(answered(a, a->zero_tag) << 1 | (a->zero_tag == a->tag)) : 0;
	*out++ = (uint8_t)a->epochs;
	for (unsigned int i = 0; i < a->epochs; i++)
		*out++ = (uint8_t)a->epoch[i].frames;
	return key;
}

/* What the card does by itself, and how much of the zeros' worst is in flight, is paid from this.
 */
static uint64_t reserve_of(const struct config *config)
{
	uint64_t zeros = config->trims ? 0 : WORST;

	return config->lag + (config->step ? config->step - 1U : 0) + config->growth +
	       config->fall + zeros;
}

static struct state unpack(const struct key *key)
{
	struct state s = { .account.worst = WORST, .account.budget = !search.config->trims };
	struct cram_account *a = &s.account;
	struct card *card = &s.card;
	const uint8_t *in = key->byte;
	uint8_t byte;

	a->reserve = search.mistake == NO_RESERVE ? 0 : reserve_of(search.config);
	for (unsigned int i = 0; i < FRAMES; i++) {
		struct frame *f = &card->frame[i];

		f->place = *in++;
		byte = *in++;
		f->size = byte & 15;
		f->dirty = byte >> 4 & 1;
		f->cached = byte >> 5 & 1;
		f->filled = byte >> 6 & 1;
		f->trim = byte >> 7;
	}
	card->physical = *in++;
	card->target = *in++;
	byte = *in++;
	card->granted = byte & 1;
	a->shrinking = byte >> 1 & 1;
	s.erased = byte >> 2 & 1;
	card->lingering = *in++;
	byte = *in++;
	card->growth = byte & 3;
	card->fall = byte >> 2 & 3;
	card->changes = byte >> 4;
	card->snapshots = *in++;
	for (unsigned int i = 0; i < card->snapshots; i++) {
		card->snapshot[i].tag = tag_after(*in++);
		byte = *in++;
		card->snapshot[i].generation = byte & 1 ? 2 + i : 0;
		card->snapshot[i].tag += byte >> 1 & 1;
		if (!(byte >> 2 & 1))
			card->snapshot[i].tag = COVERED;
		card->snapshot[i].stored = *in++;
		card->snapshot[i].usable = *in++;
		card->snapshot[i].target = *in++;
	}
	card->generation = 1 + card->snapshots;
	a->generation = *in++;
	s.untold = *in++;
	a->covered = COVERED;
	a->stored = *in++;
	a->usable = *in++;
	a->physical = *in++;
	a->credited = *in++;
	a->unsettled = *in++;
	a->zeroed = *in++;
	a->zeroing = *in++;
	byte = *in++;
	/* Odd, if equal to the newest tag of all. */
	a->zero_tag = tag_after(byte >> 1) + (byte & 1);
	a->epochs = *in++;
	for (unsigned int i = 0; i < a->epochs; i++)
		a->epoch[i] =
			(struct cram_epoch){ .tag = tag_after((uint8_t)(i + 1)), .frames = *in++ };
	a->tag = tag_after((uint8_t)a->epochs) + 1;
	return s;
}

/* --- what the card does --- */

/* Bytes of frame @i reach the card. */
static void store(struct state s, unsigned int i, const char *step)
{
	s.card.frame[i].dirty = true;
	s.card.frame[i].size = 0;
	reach(&s, step);
}

static unsigned int stored(const struct card *card)
{
	unsigned int sum = card->lingering;

	for (unsigned int i = 0; i < FRAMES; i++)
		sum += card->frame[i].size;
	return sum;
}

/* Was it the processor that wrote last to the frame, to have it empty? */
static bool is_zeros(const struct frame *f)
{
	return !search.config->trims && !f->cached && f->place != WRITTEN && f->place != DYING &&
	       !(f->place == HELD && f->filled);
}

/* The card compresses what was written, to whatever sizes, from frame @i on; then goes on to @then.
 */
static void settle(struct state *s, unsigned int i, void (*then)(struct state s))
{
	while (i < FRAMES && !s->card.frame[i].dirty)
		i++;
	if (i == FRAMES) {
		then(*s);
		return;
	}
	s->card.frame[i].dirty = false;
	for (uint8_t size = 0; size <= (is_zeros(&s->card.frame[i]) ? search.config->zeros : WORST);
	     size++) {
		s->card.frame[i].size = size;
		settle(s, i + 1, then);
	}
	s->card.frame[i].size = 0;
	s->card.frame[i].dirty = true;
}

/* Whether two reports have the same effect. */
static bool same(const struct cram_report *x, const struct cram_report *y,
		 const struct cram_account *a)
{
	return answered(a, x->tag) == answered(a, y->tag) &&
	       (x->tag > a->zero_tag) == (y->tag > a->zero_tag) &&
	       (x->tag > a->covered) == (y->tag > a->covered) &&
	       (x->generation > a->generation) == (y->generation > a->generation) &&
	       x->stored == y->stored && x->usable == y->usable && x->target == y->target;
}

static void snapshot(struct state s)
{
	struct card *card = &s.card;
	struct cram_report report = {
		.tag = s.account.tag,
		.generation = ++card->generation,
		.usable = card->physical,
		.target = card->target,
	};

	report.stored = stored(card);
	if (card->snapshots && same(&card->snapshot[card->snapshots - 1], &report, &s.account)) {
		reach(&s, "the card settles");
		return;
	}
	if (card->snapshots == search.config->snapshots)
		card->snapshot[0] = card->snapshot[--card->snapshots];
	card->snapshot[card->snapshots++] = report;
	reach(&s, "the card takes a snapshot");
	if (search.config->lag && report.stored) {
		card->snapshot[card->snapshots - 1].stored -= search.config->lag;
		reach(&s, "the card takes a snapshot that leaves out the newest byte");
	}
}

/* A trim takes the frame's data at once, and gives its space back now or later. */
static void execute_trim(struct state s, unsigned int i)
{
	struct frame *f = &s.card.frame[i];
	uint8_t size = f->dirty ? WORST : f->size;

	s.erased |= f->place == WRITTEN || (f->place == HELD && f->filled);
	f->trim = false;
	f->size = 0;
	f->dirty = false;
	reach(&s, "the card executes a trim");
	if (size) {
		s.card.lingering += size;
		reach(&s, "the card executes a trim, its space is not back yet");
	}
}

static void shrink(struct state s)
{
	if (stored(&s.card) > s.card.target)
		return;
	s.card.physical = s.card.target;
	s.card.target = s.card.granted = 0;
	reach(&s, "the card shrinks");
}

static void card_steps(const struct state *now)
{
	const struct card *card = &now->card;
	struct state settling = *now;

	for (unsigned int i = 0; i < FRAMES; i++) {
		if (card->frame[i].cached && card->frame[i].place != HELD &&
		    card->frame[i].place != ZEROING)
			store(*now, i, "a cache writes a line back");
		if (card->frame[i].trim)
			execute_trim(*now, i);
		if (card->growth && !card->frame[i].dirty && card->frame[i].size &&
		    card->frame[i].size < WORST) {
			struct state s = *now;

			s.card.growth--;
			s.card.frame[i].size++;
			reach(&s, "stored bytes grow by themselves");
		}
	}
	settle(&settling, 0, snapshot);
	if (card->lingering) {
		struct state s = *now;

		s.card.lingering--;
		reach(&s, "space of a trim comes back");
	}
	if (card->changes && !card->target && card->physical > search.config->shrunk) {
		struct state s = *now;

		s.card.changes--;
		s.card.target = search.config->shrunk;
		reach(&s, "the card announces a shrink");
	}
	if (card->granted)
		settle(&settling, 0, shrink);
	if (card->changes && !card->target && card->physical < search.config->physical) {
		struct state s = *now;

		s.card.changes--;
		s.card.physical = search.config->physical;
		reach(&s, "the card grows");
	}
	if (card->fall) {
		struct state s = *now;

		s.card.fall--;
		s.card.physical--;
		reach(&s, "physical falls unannounced");
	}
}

/* --- what the kernel does --- */

static void kernel_frame_steps(const struct state *now, unsigned int i)
{
	const enum mistake mistake = search.mistake;
	struct state s = *now;
	struct frame *f = &s.card.frame[i];
	struct cram_account *a = &s.account;

	switch ((enum place)f->place) {
	case KEPT:
		if (cram_account_room(a) ||
		    (mistake == GIVEN_ONE_TOO_MANY && a->generation && !a->credited)) {
			cram_account_give(a, 1);
			f->place = FREE;
			reach(&s, "a frame is given");
		}
		break;
	case FREE:
		cram_account_take(a, 1);
		f->place = KEPT;
		reach(&s, "a frame is taken back");
		s = *now;
		f->place = HELD;
		if (mistake == WRITTEN_BEFORE_THE_COPY)
			cram_account_written(a, 1);
		reach(&s, "a frame is allocated");
		break;
	case HELD:
		if (mistake == TAKING_BACK_A_FRAME_IN_USE) {
			cram_account_take(a, 1);
			f->place = KEPT;
			reach(&s, "a frame in use is taken back");
			s = *now;
		}
		/* The copy: lines of it may go to the card now, or stay in a cache. */
		f->filled = f->cached = true;
		reach(&s, "a copy writes into a cache");
		store(s, i, "a copy writes to the card");
		s = *now;
		/* Its end: what is cached is flushed, and only then it counts. */
		if (f->filled && (!f->cached || mistake == FLUSH_FORGOTTEN)) {
			f->place = WRITTEN;
			if (mistake == NOT_CREDITED_UNTIL_IT_IS_TOLD ||
			    mistake == SETTLED_AT_THE_END_OF_THE_COPY)
				cram_account_take(a, 1);
			if (mistake != WRITTEN_BEFORE_THE_COPY &&
			    mistake != SETTLED_AT_THE_END_OF_THE_COPY)
				s.untold++;
			reach(&s, "a copy ends");
			s = *now;
		}
		/* Freed as it is: nobody knows what was written. */
		f->place = DYING;
		if (mistake == FAILED_COPY_TAKEN_FOR_UNWRITTEN) {
			cram_account_take(a, 1);
			f->place = KEPT;
		} else if (mistake != WRITTEN_BEFORE_THE_COPY) {
			if (f->cached && mistake != FREED_WITHOUT_FLUSH)
				break;
			cram_account_written(a, 1);
		}
		reach(&s, "a copy fails, its frame is freed");
		break;
	case WRITTEN:
		f->place = DYING;
		if (mistake == CREDIT_AT_FREE) {
			cram_account_give(a, 1);
			f->place = FREE;
		}
		reach(&s, "a frame is freed");
		s = *now;
		if (mistake == FENCE_WITH_A_HOLE)
			store(s, i, "a page is written behind the fence");
		break;
	case DYING:
		if (f->cached && mistake != FREED_WITHOUT_FLUSH && mistake != FLUSH_FORGOTTEN)
			break;
		if (search.config->trims) {
			f->place =
				mistake == CREDIT_BEFORE_THE_TRIM_IS_ACKNOWLEDGED ? KEPT : TRIMMING;
			f->trim = true;
			reach(&s, "a trim is sent");
		} else if (mistake == ZEROS_AT_THE_TARGET && cram_account_excess(a)) {
			break;
		} else if (cram_account_zero_begin(a) || mistake == ZEROING_IS_FREE) {
			f->place = ZEROING;
			f->cached = true;
			reach(&s, "zeroing begins");
		}
		break;
	case TRIMMING:
		if (!f->trim) {
			f->place = KEPT;
			reach(&s, "a trim is acknowledged");
		}
		s = *now;
		f->trim = false;
		f->place = DYING;
		reach(&s, "a trim fails, done or not");
		s = *now;
		f->place = UNKNOWN;
		if (mistake == TIMED_OUT_TRIM_TAKEN_FOR_DONE)
			f->place = KEPT;
		if (mistake == TIMED_OUT_TRIM_TAKEN_FOR_FAILED)
			f->place = DYING;
		reach(&s, "a trim times out");
		if (mistake == TIMED_OUT_TRIM_TAKEN_FOR_FAILED && f->trim) {
			/* Sent twice: the one that is answered leaves the other one behind. */
			f->place = KEPT;
			f->size = 0;
			f->dirty = false;
			reach(&s, "a trim is sent again and acknowledged");
		}
		break;
	case UNKNOWN:
		f->place = DYING;
		f->trim = false;
		reach(&s, "the card is reset");
		break;
	case ZEROING:
		if (f->cached) {
			store(s, i, "zeros and old bytes meet at the card");
			s = *now;
			f->cached = false;
			store(s, i, "zeros are flushed");
			break;
		}
		f->place = KEPT;
		if (mistake != ZEROING_IS_FREE) {
			cram_account_zero_end(a);
			if (mistake == ZEROS_SETTLED_TOO_EARLY)
				a->zero_tag = 0;
		}
		reach(&s, "zeroing ends");
		break;
	}
}

/* Caches of a frame are flushed: what they hold goes to the card, and nothing is left in them. */
static void flush(const struct state *now, unsigned int i)
{
	struct state s = *now;

	if (!s.card.frame[i].cached || s.card.frame[i].place == ZEROING)
		return;
	s.card.frame[i].cached = false;
	store(s, i, "caches are flushed");
}

static void forget(struct card *card, const struct cram_account *a)
{
	unsigned int kept = 0;

	for (unsigned int i = 0; i < card->snapshots; i++)
		if (card->snapshot[i].tag > a->covered &&
		    (search.config->repeats || card->snapshot[i].generation > a->generation))
			card->snapshot[kept++] = card->snapshot[i];
	memset(&card->snapshot[kept], 0, (card->snapshots - kept) * sizeof(card->snapshot[0]));
	card->snapshots = (uint8_t)kept;
}

/* What was written lately is counted a batch at a time: sooner, later or after the next request. */
static void kernel_tells(const struct state *now)
{
	struct state s = *now;

	if (!s.untold)
		return;
	if (search.mistake == NOT_CREDITED_UNTIL_IT_IS_TOLD)
		cram_account_give(&s.account, s.untold);
	cram_account_written(&s.account, s.untold);
	s.untold = 0;
	reach(&s, "the account is told of what was written");
}

static void kernel_report_steps(const struct state *now)
{
	const enum mistake mistake = search.mistake;
	struct state s = *now;

	bool accepts = cram_account_accepts(&s.account);

	if (mistake == SHRINK_GRANTED_UNSEEN)
		accepts = s.account.shrinking;
	if (mistake == ACCEPTED_BEFORE_IT_FITS)
		accepts = accepts ||
			  (s.account.shrinking && !s.account.credited && !s.account.zeroing);
	/* As a generation does: it is this target that is accepted, not another one. */
	if (mistake != TARGET_IGNORED)
		accepts = accepts && s.account.physical == s.card.target;
	/* To ask twice for the same is of no effect. */
	if (!s.account.epochs || s.account.unsettled || s.account.zeroed ||
	    (accepts && !s.card.granted)) {
		cram_account_ask(&s.account);
		if (mistake == SETTLED_WHEN_ASKED)
			s.account.epochs = 0;
		s.card.granted |= accepts;
		reach(&s, "a report is asked for");
	}
	for (unsigned int i = 0; i < now->card.snapshots; i++) {
		struct cram_report report = now->card.snapshot[i];

		s = *now;
		if (mistake == REPORT_APPLIED_OUT_OF_ORDER)
			report.generation = s.account.generation + 1;
		if (mistake == REPORT_TAKEN_FOR_THE_NEWEST_ANSWER)
			report.tag = s.account.tag;
		if (search.config->repeats)
			report.generation = s.account.generation + 1;
		if (mistake == OLD_SNAPSHOT_TAKEN_FOR_A_NEW_ONE ||
		    mistake == REPORT_APPLIED_OUT_OF_ORDER)
			s.account.covered = 0;
		if (!cram_account_apply(&s.account, &report))
			continue;
		if (mistake == TARGET_IGNORED)
			s.account.physical = report.usable;
		/* What is not newer will be refused: it may as well be gone. */
		if (mistake != REPORT_APPLIED_OUT_OF_ORDER &&
		    mistake != OLD_SNAPSHOT_TAKEN_FOR_A_NEW_ONE)
			forget(&s.card, &s.account);
		reach(&s, "a report is applied");
	}
}

static void explore(const struct config *config, enum mistake mistake)
{
	struct state first = {
		.card = { .physical = config->physical,
			  .changes = config->changes,
			  .growth = config->growth,
			  .fall = config->fall },
	};

	search.config = config;
	search.mistake = mistake;
	search.found = search.violation = search.n_edges = search.most_written = 0;
	search.current = 0;
	memset(search.table, 0, search.table_size * sizeof(*search.table));
	reach(&first, "");
	for (search.current = 0; search.current < search.found && !search.violation;
	     search.current++) {
		struct state now = unpack(&search.keys[search.current]);
		uint8_t written = 0;

		for (unsigned int i = FRAMES - search.config->frames; i < FRAMES; i++) {
			written += now.card.frame[i].place == WRITTEN;
			kernel_frame_steps(&now, i);
			flush(&now, i);
		}
		if (written > search.most_written)
			search.most_written = written;
		kernel_tells(&now);
		kernel_report_steps(&now);
		card_steps(&now);
	}
}

/*
 * A state with an announced shrink from which no order of steps leads to its end, plus one; or
 * 0. From all those without one, back along the edges.
 */
static uint32_t find_stuck(void)
{
	uint32_t *first = calloc(search.found + 1, sizeof(*first)), *from, *queue;
	uint32_t queued = 0, stuck = 0;
	bool *ends;

	from = malloc(search.n_edges * sizeof(*from));
	queue = malloc(search.found * sizeof(*queue));
	ends = calloc(search.found, sizeof(*ends));
	if (!first || !from || !queue || !ends) {
		puts("Bail out! out of memory");
		exit(1);
	}
	/* The edges by where they lead to: @first becomes the end of each state's, then its begin.
	 */
	for (uint32_t i = 0; i < search.n_edges; i++)
		first[search.edges[i][1]]++;
	for (uint32_t i = 0; i < search.found; i++)
		first[i + 1] += first[i];
	for (uint32_t i = 0; i < search.n_edges; i++)
		from[--first[search.edges[i][1]]] = search.edges[i][0];
	for (uint32_t i = 0; i < search.found; i++) {
		ends[i] = !unpack(&search.keys[i]).card.target;
		if (ends[i])
			queue[queued++] = i;
	}
	for (uint32_t at = 0; at < queued; at++) {
		for (uint32_t i = first[queue[at]]; i < first[queue[at] + 1]; i++) {
			if (!ends[from[i]])
				queue[queued++] = from[i];
			ends[from[i]] = true;
		}
	}
	for (uint32_t i = search.found; i > 0; i--)
		if (!ends[i - 1])
			stuck = i;
	free(first);
	free(from);
	free(queue);
	free(ends);
	return stuck;
}

/* --- what is shown --- */

static void show_way(uint32_t to)
{
	if (!to)
		return;
	show_way(search.parent[to]);
	printf("#   %s\n", search.step[to]);
}

static unsigned int tests, failures;

__attribute__((format(printf, 2, 3))) static void judge(bool ok, const char *format, ...)
{
	va_list args;

	printf("%sok %u - ", ok ? "" : "not ", ++tests);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
	failures += !ok;
	if (!ok && search.violation)
		show_way(search.violation - 1);
}

int main(int argc, char **argv)
{
	bool show = argc > 1 && !strcmp(argv[1], "--show");

	if (argc > 1 + show) {
		fputs("usage: cram-account [--show]\n--show prints the shortest way into each mistake's overrun\n",
		      stderr);
		return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	search.table_size = 2 * MOST_STATES;
	search.keys = malloc(MOST_STATES * sizeof(*search.keys));
	search.parent = malloc(MOST_STATES * sizeof(*search.parent));
	search.step = malloc(MOST_STATES * sizeof(*search.step));
	search.table = malloc(search.table_size * sizeof(*search.table));
	search.edges = malloc(MOST_EDGES * sizeof(*search.edges));
	if (!search.keys || !search.parent || !search.step || !search.table || !search.edges) {
		puts("Bail out! out of memory");
		return 1;
	}
	for (unsigned int i = 0; i < CONFIGS; i++) {
		explore(&configs[i], NONE);
		judge(!search.violation && search.most_written == configs[i].frames,
		      "%s: never overrun in %u states", configs[i].name, search.found);
		if (configs[i].shrunk) {
			search.violation = find_stuck();
			judge(!search.violation,
			      "%s: an announced shrink can always come to its end",
			      configs[i].name);
		}
	}
	for (enum mistake mistake = NONE + 1; mistake < MISTAKES; mistake++) {
		explore(&configs[mistakes[mistake].config], mistake);
		if (!search.violation && search.config->shrunk)
			search.violation = find_stuck();
		judge(search.violation, "found: %s", mistakes[mistake].name);
		if (show && search.violation)
			show_way(search.violation - 1);
	}
	printf("1..%u\n", tests);
	return failures ? 1 : 0;
}
