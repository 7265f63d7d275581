/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Admission: what libvirt's hook asks before a VM is started, and what is reserved for VMs that are
 * about to. Judged by policy (cram_admit()) from the figures of the last round and the settings the
 * VM will have. Loop only: two VMs that ask at the same time are answered one after the other.
 * Nothing here calls libvirt, which holds the domain's lock while its hook waits.
 */
#pragma once

#include "daemon.h"

/* How long a VM that was admitted has its share reserved before the agent sees it run. */
#define ADMISSION_RESERVED_MS 60000

struct admission {
	char uuid[CRAM_UUID_TEXT],
		name[256]; /* of the VM that it is about; empty: of one that may come */
	bool known;	   /* what runs here; else @text says why not, and nothing is judged */
	bool admitted;
	char text[CRAM_ERROR_TEXT];	     /* why not, or what to mend; empty: nothing to say */
	struct daemon_reservation otherwise; /* what it takes if it starts all the same */
};

/*
 * @operation is the hook's: prepare reserves, migrate and restore announce that a prepare to come
 * is of a VM whose memory arrives at once, release ends the reservation. -EINVAL with @err: not one
 * of these, or @xml is no domain's.
 */
int admission_hook(struct daemon *d, const char *operation, const char *xml, size_t size,
		   struct admission *ret, struct cram_error *err);

/*
 * What came of one that was not admitted: the hook had the answer in time and refused, or it was
 * gone by then, for it has a deadline, and libvirt starts the VM.
 */
void admission_refused(struct daemon *d, const struct admission *answer);
void admission_came_late(struct daemon *d, const struct admission *answer);

/*
 * libvirt runs @domain, and it has no process yet: its share stays reserved, for another minute.
 * One that nobody asked about, for the agent was not there, has it reserved from now on.
 */
void admission_starting(struct daemon *d, const struct libvirt_domain *domain);

/* Why there is nothing to judge by yet; NULL: there is. */
const char *admission_unknown(const struct daemon *d);

/* Would a VM of @ram bytes that has the host's default settings be admitted now? */
void admission_fits(const struct daemon *d, uint64_t ram, struct admission *ret);
/* The most RAM with which one would be; 0 as long as that is not known. @host: of all VMs, by
 * overcommit_input(). */
uint64_t admission_room(const struct daemon *d, const struct cram_overcommit_input *host);
/* Guest RAM reserved for VMs that do not run yet. */
uint64_t admission_reserved(const struct daemon *d);
