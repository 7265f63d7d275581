/* SPDX-License-Identifier: GPL-2.0-or-later */
/* UUIDs as text, 8-4-4-4-12 hexadecimal digits (RFC 9562, section 4). What they name is their
 * users'. */
#pragma once

#define CRAM_UUID_TEXT 37 /* bytes, with the terminating zero */

/* @text in lower case to @ret_uuid, of CRAM_UUID_TEXT bytes. -EBADMSG: it is no UUID. */
int cram_uuid_parse(const char *text, char *ret_uuid);
