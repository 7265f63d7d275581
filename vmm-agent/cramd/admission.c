// SPDX-License-Identifier: GPL-2.0-or-later
/* May it be started, and what is reserved for it; see admission.h. */
#include "admission.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "mistakes.h"
#include "overcommit.h"
#include "policy/saturate.h"
#include "util/cleanup.h"
#include "util/utf8.h"

/* ------------------------------------------------------------------ reservations */

/* What a VM that runs takes is known from it, and which do once libvirt has told. */
static bool counts(const struct daemon *d, const struct daemon_reservation *r)
{
	return (d->unlisted || monotonic_ms() < r->until_ms) && !overcommit_counts(d, r->uuid);
}

static struct daemon_reservation *find(const struct daemon *d, const char *uuid)
{
	for (size_t i = 0; i < d->reservations.n; i++)
		if (strcasecmp(d->reservations.v[i].uuid, uuid) == 0)
			return &d->reservations.v[i];
	return NULL;
}

static void drop(struct daemon *d, struct daemon_reservation *r)
{
	if (r)
		*r = d->reservations.v[--d->reservations.n];
}

static void drop_past(struct daemon *d)
{
	for (size_t i = d->reservations.n; i-- > 0;)
		if (!counts(d, &d->reservations.v[i]))
			drop(d, &d->reservations.v[i]);
}

static struct daemon_reservation reservation(const char *uuid, const struct cram_promise *promise,
					     bool at_once)
{
	struct daemon_reservation r = {
		.promise = *promise,
		.at_once = at_once,
		.until_ms = monotonic_ms() + ADMISSION_RESERVED_MS,
	};

	snprintf(r.uuid, sizeof(r.uuid), "%s", uuid);
	return r;
}

/* Has libvirt's hook announced that the memory of @uuid comes as a whole? */
static bool comes_at_once(const struct daemon *d, const char *uuid)
{
	const struct daemon_reservation *announced = find(d, uuid);

	return announced && announced->at_once;
}

static int reserve(struct daemon *d, const struct daemon_reservation *r)
{
	drop(d, find(d, r->uuid));
	return array_push(&d->reservations, *r);
}

uint64_t admission_reserved(const struct daemon *d)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < d->reservations.n; i++)
		if (counts(d, &d->reservations.v[i]))
			bytes += d->reservations.v[i].promise.ram;
	return bytes;
}

/* ------------------------------------------------------------------ judging */

/* The host as it is without @uuid (may be NULL): @host, and what is reserved for others. */
static struct cram_admission_input with_reserved(const struct daemon *d, const char *uuid,
						 const struct cram_overcommit_input *host)
{
	struct cram_admission_input in = {
		.host = *host,
		.by_expected = d->conf.host.sell == CRAM_SELL_EXPECTED,
	};

	for (size_t i = 0; i < d->reservations.n; i++) {
		const struct daemon_reservation *r = &d->reservations.v[i];
		struct cram_promise promise = r->promise;

		if (!counts(d, r) || (uuid && strcasecmp(r->uuid, uuid) == 0))
			continue;
		/* However it comes, it may be soon. */
		promise.arriving = promise.ram;
		cram_sold_add(&in.host.sold, &promise);
	}
	return in;
}

static struct cram_admission_input host_without(const struct daemon *d, const char *uuid)
{
	struct cram_overcommit_input host;

	overcommit_input(d, uuid, &host);
	return with_reserved(d, uuid, &host);
}

/* "cram or node", of bits. */
static const char *tier_names(uint32_t tiers, char *buf, size_t size)
{
	buf[0] = '\0';
	for (int kind = 0; kind < CRAM_N_TIERS; kind++)
		if (tiers & 1U << kind)
			snprintf(buf + strlen(buf), size - strlen(buf), "%s%s",
				 buf[0] ? " or " : "", cram_tier_name((enum cram_tier)kind));
	return buf;
}

/* "4 GiB of RAM and 128 MiB of its QEMU's own": what @p wants of what a rule is about. */
static void format_wanted(const struct cram_admission *a, const struct cram_promise *p, char *buf,
			  size_t size)
{
	static const char *const of[CRAM_N_ADMISSION_RULES] = {
		[CRAM_NOT_SOLD] = " of RAM",
		[CRAM_NO_DRAM] = " of it",
		[CRAM_NO_TIER] = " of it",
	};
	bool arrives = a->rule == CRAM_NO_ARRIVAL;
	char guest[32], own[32];

	cram_size_format(sub(a->wanted, arrives ? 0 : p->own), guest, sizeof(guest));
	snprintf(buf, size, "%s%s", guest, of[a->rule] ? of[a->rule] : "");
	if (p->own && !arrives)
		snprintf(buf + strlen(buf), size - strlen(buf), " and %s of its QEMU's own",
			 cram_size_format(p->own, own, sizeof(own)));
}

/* Why not, with the numbers that decided; empty: it may. */
static void explain(const struct cram_admission_input *in, const struct cram_promise *p,
		    const struct cram_admission *a, char *buf, size_t size)
{
	char wanted[80], left[32], limit[32], taken[32], tiers[64];

	format_wanted(a, p, wanted, sizeof(wanted));
	cram_size_format(a->left, left, sizeof(left));
	cram_size_format(a->limit, limit, sizeof(limit));
	buf[0] = '\0';
	switch (a->rule) {
	case CRAM_NOT_SOLD:
		snprintf(buf, size,
			 "it has %s, and %s of %s %s are left to sell: %s are sold or reserved",
			 wanted, left, limit, in->by_expected ? "expected" : "guaranteed",
			 cram_size_format(in->host.sold.ram, taken, sizeof(taken)));
		break;
	case CRAM_NO_FLOOR:
		snprintf(buf, size,
			 "%s %s, and %s of the %s of DRAM for guests are left for what stays there",
			 p->pinned > p->floor ? "what it has pinned or locked is" : "its floor is",
			 wanted, left, limit);
		break;
	case CRAM_NO_DRAM:
		snprintf(
			buf, size,
			"%s can be in DRAM or swap only, and %s of %s there are not yet bound to VMs",
			wanted, left, limit);
		break;
	case CRAM_NO_TIER:
		snprintf(buf, size,
			 "%s can be in DRAM, swap or tier %s only, and %s of %s there are not yet "
			 "sold to VMs that can be nowhere else",
			 wanted, tier_names(a->tiers, tiers, sizeof(tiers)), left, limit);
		break;
	case CRAM_NO_ARRIVAL:
		snprintf(
			buf, size,
			"its %s come at once, uncompressed, and %s of DRAM and swap can be had now",
			wanted, left);
		break;
	case CRAM_ADMITTED:
	case CRAM_N_ADMISSION_RULES:
		break;
	}
}

const char *admission_unknown(const struct daemon *d)
{
	if (d->rounds == 0 || d->snapshot.n_dram == 0)
		return "the agent has not looked at the host yet";
	/* What has started since has asked, and has its share reserved. */
	if (d->unlisted && !d->none_before)
		return "libvirt has not told yet which VMs run here";
	return NULL;
}

void admission_fits(const struct daemon *d, uint64_t ram, struct admission *ret)
{
	struct cram_admission_input in = host_without(d, NULL);
	struct cram_promise promise = overcommit_promise_default(d, ram);
	struct cram_admission a = cram_admit(&in, &promise);
	const char *why = admission_unknown(d);

	*ret = (struct admission){ .known = !why, .admitted = !why && a.rule == CRAM_ADMITTED };
	if (why)
		snprintf(ret->text, sizeof(ret->text), "%s", why);
	else
		explain(&in, &promise, &a, ret->text, sizeof(ret->text));
}

uint64_t admission_room(const struct daemon *d, const struct cram_overcommit_input *host)
{
	struct cram_admission_input in = with_reserved(d, NULL, host);
	uint64_t fits = 0;

	if (admission_unknown(d))
		return 0;
	for (uint64_t step = UINT64_C(1) << 62; step >= MiB; step >>= 1) {
		struct cram_promise promise = overcommit_promise_default(d, fits + step);

		if (cram_admit(&in, &promise).rule == CRAM_ADMITTED)
			fits += step;
	}
	return fits;
}

/* ------------------------------------------------------------------ the hook */

static void tell(struct daemon *d, const char *type, const struct admission *answer, uint64_t ram)
{
	cram_log_warn(&d->host.log, "%s", answer->text);
	events_say_of(&d->events, type, answer->uuid, answer->name, ram, answer->text);
}

static void warn(struct daemon *d, const struct admission *answer, uint64_t ram)
{
	tell(d, "admission-warning", answer, ram);
	d->admissions_warned++;
}

/* It may fit or not: it is started, as with an agent that does not answer. */
static int pass_unjudged(struct daemon *d, const struct cram_domain *domain, const char *why,
			 struct admission *ret)
{
	struct cram_promise promise = overcommit_promise(d, domain);
	struct daemon_reservation r =
		reservation(domain->uuid, &promise, comes_at_once(d, domain->uuid));

	snprintf(ret->text, sizeof(ret->text), "vm \"%s\": starts unjudged: %s", domain->name, why);
	tell(d, "admission-warning", ret, domain->ram);
	return reserve(d, &r);
}

/* What may have cost it its place goes with the refusal, which is about room alone. */
static void add_mistake(const struct cram_domain *domain, const char *mistake, char *text,
			size_t size)
{
	size_t n = strlen(text);

	if (!mistake[0])
		return;
	snprintf(text + n, size - n, "; %s: %s",
		 domain->bad_tiering
			 ? "it counts as one that is not tiered, for a setting in its XML "
			   "is bad"
			 : "its XML has a mistake, too",
		 mistake);
	utf8_trim(text);
}

/* Judges and reserves; d->conf.host.admission decides what comes of it. */
static int prepare(struct daemon *d, const struct cram_domain *domain, const char *mistake,
		   struct admission *ret)
{
	struct cram_admission_input in = host_without(d, domain->uuid);
	struct cram_promise promise = overcommit_promise(d, domain);
	bool at_once = comes_at_once(d, domain->uuid);
	struct daemon_reservation r;
	struct cram_admission a;
	struct cram_error why = {};
	char object[300], text[384];

	promise.arriving = at_once ? promise.ram : 0;
	a = cram_admit(&in, &promise);
	r = reservation(domain->uuid, &promise, at_once);
	if (a.rule != CRAM_ADMITTED) {
		explain(&in, &promise, &a, text, sizeof(text));
		snprintf(object, sizeof(object), "vm \"%s\"", domain->name);
		cram_error_set(&why, -ENOSPC, object, "start it within what this host can honour",
			       "stop or move a VM, lower what it asks for, or see ADMISSION in "
			       "cramd.conf(5)",
			       "%s", text);
		cram_error_format(&why, ret->text, sizeof(ret->text));
		add_mistake(domain, mistake, ret->text, sizeof(ret->text));
		ret->admitted = d->conf.host.admission != CRAM_ADMISSION_STRICT;
		if (ret->admitted)
			warn(d, ret, domain->ram);
	}
	if (ret->admitted)
		return reserve(d, &r);
	ret->otherwise = r;
	drop(d, find(d, domain->uuid));
	return 0;
}

void admission_refused(struct daemon *d, const struct admission *answer)
{
	tell(d, "admission-refused", answer, answer->otherwise.promise.ram);
	d->admissions_refused++;
}

void admission_came_late(struct daemon *d, const struct admission *answer)
{
	warn(d, answer, answer->otherwise.promise.ram);
	cram_log_warn(&d->host.log, "that came too late: libvirt's hook had gone, the VM starts");
	if (reserve(d, &answer->otherwise) < 0)
		cram_log_warn(&d->host.log, "nothing is reserved for it: out of memory");
}

void admission_starting(struct daemon *d, const struct libvirt_domain *domain)
{
	struct daemon_reservation *known = find(d, domain->uuid), fresh;
	struct cram_promise promise;

	if (known) {
		known->until_ms = monotonic_ms() + ADMISSION_RESERVED_MS;
		return;
	}
	if (!domain->has_domain)
		return;
	promise = overcommit_promise(d, &domain->domain);
	fresh = reservation(domain->uuid, &promise, domain->incoming);
	if (reserve(d, &fresh) < 0)
		cram_log_warn(&d->host.log, "nothing is reserved for vm \"%s\": out of memory",
			      domain->name);
}

static int judge(struct daemon *d, const struct cram_domain *domain, const struct cram_error *bad,
		 struct admission *ret)
{
	const char *why = admission_unknown(d);
	char mistake[512];

	mistakes_look(d, domain, bad, mistake, sizeof(mistake));
	if (mistake[0]) {
		snprintf(ret->text, sizeof(ret->text), "vm \"%s\": %s", domain->name, mistake);
		tell(d, "admission-warning", ret, domain->ram);
	}
	ret->known = !why;
	if (d->conf.host.admission == CRAM_ADMISSION_OFF || !domain->ram)
		return 0;
	return why ? pass_unjudged(d, domain, why, ret) : prepare(d, domain, mistake, ret);
}

int admission_hook(struct daemon *d, const char *operation, const char *xml, size_t size,
		   struct admission *ret, struct cram_error *err)
{
	struct daemon_reservation announced;
	struct cram_domain domain;
	int r;

	*ret = (struct admission){ .admitted = true };
	r = cram_domain_parse(xml, size, &domain, err);
	if (r < 0 && r != -EDOM)
		return r;
	if (!domain.uuid[0])
		return cram_error_set(err, -EINVAL, "<uuid>", NULL, NULL, "is missing");
	memcpy(ret->uuid, domain.uuid, sizeof(ret->uuid));
	memcpy(ret->name, domain.name, sizeof(ret->name));
	drop_past(d);
	if (strcmp(operation, "prepare") == 0)
		return judge(d, &domain, err, ret);
	if (strcmp(operation, "migrate") == 0 || strcmp(operation, "restore") == 0) {
		announced = reservation(domain.uuid, &(struct cram_promise){}, true);
		return reserve(d, &announced);
	}
	if (strcmp(operation, "release") != 0)
		return cram_error_set(err, -EINVAL, "operation", NULL, NULL,
				      "\"%s\" is not prepare, migrate, restore or release",
				      operation);
	drop(d, find(d, domain.uuid));
	return 0;
}
