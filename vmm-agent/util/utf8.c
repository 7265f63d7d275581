// SPDX-License-Identifier: GPL-2.0-or-later
/* UTF-8 as RFC 3629 has it; see utf8.h. */
#include "util/utf8.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* How many bytes a character that begins with @lead has; 0: none begins so. */
static size_t expected(unsigned char lead)
{
	return lead < 0x80   ? 1
	       : lead < 0xc2 ? 0
	       : lead < 0xe0 ? 2
	       : lead < 0xf0 ? 3
	       : lead < 0xf5 ? 4
			     : 0;
}

size_t utf8_length(const char *s, size_t n)
{
	const unsigned char *p = (const unsigned char *)s;
	size_t length = n ? expected(p[0]) : 0;

	if (length > n)
		return 0;
	for (size_t i = 1; i < length; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	if (length == 3 && ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] >= 0xa0)))
		return 0;
	if (length == 4 && ((p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] >= 0x90)))
		return 0;
	return length;
}

size_t utf8_copy(char *to, size_t size, const char *from, size_t n)
{
	size_t at = 0;

	for (size_t i = 0; i < n;) {
		size_t length = utf8_length(from + i, n - i);
		char escape[5];
		const char *text = from + i;
		size_t bytes = length;

		if (!length) {
			snprintf(escape, sizeof(escape), "\\x%02x", (unsigned char)from[i]);
			text = escape;
			bytes = 4;
		}
		if (at + bytes >= size)
			break;
		memcpy(to + at, text, bytes);
		at += bytes;
		i += length ? length : 1;
	}
	to[at] = '\0';
	return at;
}

const char *utf8_head(char *buf, size_t size, const char *text)
{
	utf8_copy(buf, size, text, strlen(text));
	return buf;
}

size_t utf8_trim(char *text)
{
	size_t n = strlen(text), last = n;

	/* The last character begins at most three bytes before its last. */
	while (last > 0 && n - last < 3 && ((unsigned char)text[last - 1] & 0xc0) == 0x80)
		last--;
	if (last > 0 && expected((unsigned char)text[last - 1]) > n - last + 1) {
		n = last - 1;
		text[n] = '\0';
	}
	return n;
}
