// SPDX-License-Identifier: GPL-2.0-or-later
/* Parsing of UUIDs; see uuid.h. */
#include "util/uuid.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

int cram_uuid_parse(const char *text, char *ret_uuid)
{
	if (strlen(text) != CRAM_UUID_TEXT - 1)
		return -EBADMSG;
	for (size_t i = 0; i < CRAM_UUID_TEXT - 1; i++) {
		bool dash = i == 8 || i == 13 || i == 18 || i == 23;

		if (dash ? text[i] != '-' : !isxdigit((unsigned char)text[i]))
			return -EBADMSG;
		ret_uuid[i] = (char)tolower((unsigned char)text[i]);
	}
	ret_uuid[CRAM_UUID_TEXT - 1] = '\0';
	return 0;
}
