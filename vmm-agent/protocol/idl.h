/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The interfaces in Varlink's own definition language, for GetInterfaceDescription.
 */
#pragma once

/* Description of @interface, malloc'ed, caller frees. -ENOENT: unknown, -ENOMEM. */
int cram_interface_description(const char *interface, char **ret);
