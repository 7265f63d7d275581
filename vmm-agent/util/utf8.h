/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Text from outside made valid UTF-8 where it enters, and cut without splitting a character. JSON
 * and Prometheus refuse a whole message for one bad byte.
 */
#pragma once

#include <stddef.h>

/*
 * Length of the character at @s, of which @n bytes are there: 1 to 4; 0: not UTF-8 (overlong forms,
 * surrogates and what lies above U+10FFFF included).
 */
size_t utf8_length(const char *s, size_t n);

/*
 * Copies the @n bytes at @from to @to, which has room for @size (at least 1), and ends it with a
 * zero byte. A byte that is no UTF-8 becomes "\xNN"; what does not fit is left out, whole
 * characters at a time. Returns the length written.
 */
size_t utf8_copy(char *to, size_t size, const char *from, size_t n);

/* As much of @text as fits in @buf, as utf8_copy() has it: part of a sentence. Returns @buf. */
const char *utf8_head(char *buf, size_t size, const char *text);

/* Takes off the part of a character that a cut left at the end of @text. Returns its length. */
size_t utf8_trim(char *text);
