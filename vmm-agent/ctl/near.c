// SPDX-License-Identifier: GPL-2.0-or-later
/* The command that somebody meant who mistyped it; see nearest_command() in ctl.h. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "ctl/ctl.h"

/*
 * How few characters added, left out, changed, or swapped with the next make @b of @a: F. Damerau,
 * "A technique for computer detection and correction of spelling errors", 1964, in the form that
 * edits no place twice. For words as long as commands are; longer ones are as far as can be.
 */
static size_t distance(const char *a, const char *b)
{
	size_t n = strlen(a), m = strlen(b), d[COMMAND_NAME_MAX][COMMAND_NAME_MAX];

	if (n >= COMMAND_NAME_MAX || m >= COMMAND_NAME_MAX)
		return SIZE_MAX;
	for (size_t i = 0; i <= n; i++) {
		for (size_t j = 0; j <= m; j++) {
			size_t best;

			if (!i || !j) {
				d[i][j] = i + j;
				continue;
			}
			best = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
			if (d[i - 1][j] + 1 < best)
				best = d[i - 1][j] + 1;
			if (d[i][j - 1] + 1 < best)
				best = d[i][j - 1] + 1;
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
			    d[i - 2][j - 2] + 1 < best)
				best = d[i - 2][j - 2] + 1;
			d[i][j] = best;
		}
	}
	return d[n][m];
}

const struct command *nearest_command(int argc, char **argv)
{
	const struct command *nearest = NULL;
	size_t least = SIZE_MAX;

	for (size_t i = 0; i < n_commands; i++) {
		char given[COMMAND_NAME_MAX], name[COMMAND_NAME_MAX];
		bool two = commands[i].group && argc > 1;
		size_t d;

		if (snprintf(given, sizeof(given), "%s%s%s", argv[0], two ? " " : "",
			     two ? argv[1] : "") >= (int)sizeof(given))
			continue;
		d = distance(given, command_name(&commands[i], name, sizeof(name)));
		/* "list" may be meant for "vm list". */
		if (commands[i].group && strcmp(argv[0], commands[i].name) == 0)
			d = 1;
		/* Two slips at most, and none in a word of two letters. */
		if (d >= least || d > 2 || d * 3 > strlen(given))
			continue;
		least = d;
		nearest = &commands[i];
	}
	return nearest;
}
