// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Log lines and their rate limit. A line is one write, so lines of threads do not mix.
 */
#include "util/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "util/utf8.h"

void cram_log_init(struct cram_log *log)
{
	log->fd = STDERR_FILENO;
	log->level = LOG_INFO;
	log->priority = getenv("JOURNAL_STREAM") != NULL;
}

void cram_log(const struct cram_log *log, int level, const char *fmt, ...)
{
	char text[1024], line[1024];
	size_t n = 0, start;
	va_list ap;
	int r;

	if (level > log->level)
		return;
	if (log->priority)
		n = (size_t)snprintf(line, sizeof(line), "<%d>", level);
	start = n;
	va_start(ap, fmt);
	r = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (r < 0)
		return;
	n += utf8_copy(line + n, sizeof(line) - n - 1, text, strlen(text));
	/* Domain names and XML text reach the log; they must not forge lines or terminal codes. */
	for (size_t i = start; i < n; i++)
		if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
			line[i] = '?';
	line[n++] = '\n';
	if (write(log->fd, line, n) < 0)
		return; /* nowhere left to say so */
}

bool cram_ratelimit_ok(struct cram_ratelimit *rl, uint64_t now_ms, uint32_t *ret_missed)
{
	if (now_ms < rl->begin_ms || now_ms - rl->begin_ms >= rl->interval_ms) {
		rl->begin_ms = now_ms;
		rl->printed = 0;
	}
	if (rl->printed >= rl->burst) {
		rl->missed++;
		return false;
	}
	rl->printed++;
	*ret_missed = rl->missed;
	rl->missed = 0;
	return true;
}
