/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What somebody got wrong in the XML of a VM that libvirt is about to start: settings that are not
 * understood, amounts in the wrong unit, huge pages that nobody reserved. To be said; it keeps no
 * VM from starting, and whether there is room for it is admission's. Loop only.
 */
#pragma once

#include "daemon.h"

/* The first one, in words, with what to do; empty: none. @bad: why its settings were not taken, if
 * @domain says so. */
void mistakes_look(const struct daemon *d, const struct cram_domain *domain,
		   const struct cram_error *bad, char *buf, size_t size);
