/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One line per event on stderr, with the priority prefix the journal understands when it listens.
 * Not a tracing facility; the caller owns the logger (there is no global one).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <syslog.h>

struct cram_log {
	int fd;	       /* where lines go, usually 2 */
	int level;     /* LOG_ERR .. LOG_DEBUG: less important lines are dropped */
	bool priority; /* prefix "<N>" for the journal */
};

/* stderr, LOG_INFO; the prefix when stderr is connected to the journal ($JOURNAL_STREAM). */
void cram_log_init(struct cram_log *log);

/* One line, at most 1023 bytes, control characters from foreign text replaced by '?'. */
void cram_log(const struct cram_log *log, int level, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#define cram_log_err(log, ...)	 cram_log(log, LOG_ERR, __VA_ARGS__)
#define cram_log_warn(log, ...)	 cram_log(log, LOG_WARNING, __VA_ARGS__)
#define cram_log_info(log, ...)	 cram_log(log, LOG_INFO, __VA_ARGS__)
#define cram_log_debug(log, ...) cram_log(log, LOG_DEBUG, __VA_ARGS__)

/* At most @burst lines per @interval_ms; zero-initialise the rest. */
struct cram_ratelimit {
	uint64_t interval_ms;
	uint32_t burst;
	uint32_t printed;
	uint32_t missed; /* suppressed since the last line let through */
	uint64_t begin_ms;
};

/* May a line be written at monotonic time @now_ms? *ret_missed: lines suppressed before it. */
bool cram_ratelimit_ok(struct cram_ratelimit *rl, uint64_t now_ms, uint32_t *ret_missed);
