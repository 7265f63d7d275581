// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The recorder: what each round decided on, a line each, for as long as one likes. An agent that is
 * restarted meanwhile leaves a gap, not an end.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ctl/ctl.h"
#include "util/cleanup.h"
#include "util/plural.h"

static volatile sig_atomic_t interrupted;

static void interrupt(int signal)
{
	(void)signal;
	interrupted = 1;
}

/* All of the line, or nothing of it where the file can be shortened again. */
static int write_line(int fd, const char *name, struct json_object *record)
{
	const char *text = json_object_to_json_string_ext(
		record, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
	off_t before = lseek(fd, 0, SEEK_CUR);
	struct {
		const char *at;
		size_t n;
	} parts[] = { { text, strlen(text) }, { "\n", 1 } };

	for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
		while (parts[i].n > 0) {
			ssize_t n = write(fd, parts[i].at, parts[i].n);

			if (n < 0 && errno == EINTR)
				continue;
			if (n < 0) {
				struct cram_error err;

				cram_error_set(&err, -errno, name, "write", NULL, "%s",
					       strerror(errno));
				complain(&err);
				if (before >= 0 && ftruncate(fd, before) < 0)
					fprintf(stderr, "cramctl: its last line is not whole\n");
				return EXIT_FAILED;
			}
			parts[i].at += n;
			parts[i].n -= (size_t)n;
		}
	return EXIT_OK;
}

static uint64_t time_of(struct json_object *record)
{
	struct json_object *o;

	return json_object_object_get_ex(record, "now_ms", &o) ? json_object_get_uint64(o) : 0;
}

int run_record(const struct options *o, int argc, char **argv)
{
	const char *name = argc > 0 && strcmp(argv[0], "-") != 0 ? argv[0] : NULL;
	const struct sigaction action = { .sa_handler = interrupt };
	const struct timespec pause = {
		.tv_sec = o->interval_ms / 1000,
		.tv_nsec = (long)(o->interval_ms % 1000) * 1000000,
	};
	cleanup_close int file = -1;
	bool answered = true;
	struct cram_error err = { 0 };
	uint64_t last = 0;
	uint32_t n = 0;
	int r = EXIT_OK;

	if (name) {
		file = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
		if (file < 0) {
			fprintf(stderr, "cramctl: %s: cannot create: %s%s\n", name, strerror(errno),
				errno == EEXIST ? "; name another one, or remove it" : "");
			return EXIT_FAILED;
		}
	}
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	while (!interrupted && (o->count == 0 || n < o->count)) {
		cleanup_json struct json_object *reply = NULL;
		struct json_object *record;

		/* Said once, when it goes away; at the start there is nothing to wait for. */
		r = try_call(o, CRAM_IFACE_STATUS, "Record", NULL, &reply, &err);
		if (r != EXIT_OK && answered)
			complain(&err);
		if (r != EXIT_OK && n == 0)
			break;
		answered = r == EXIT_OK;
		if (answered && !json_object_object_get_ex(reply, "record", &record)) {
			fprintf(stderr,
				"cramctl: the agent sent no record; is it older than cramctl?\n");
			return EXIT_FAILED;
		}
		if (answered && time_of(record) != last) {
			last = time_of(record);
			r = write_line(name ? file : STDOUT_FILENO, name ? name : "standard output",
				       record);
			if (r != EXIT_OK)
				return r;
			n++;
			if (n == o->count)
				break;
		}
		if (!interrupted)
			nanosleep(&pause, NULL);
	}
	if (n == 0) {
		if (name)
			unlink(name);
		return r == EXIT_OK ? EXIT_FAILED : r;
	}
	if (name)
		fprintf(stderr, "cramctl: %" PRIu32 " round%s in %s\n", n, plural(n), name);
	return EXIT_OK;
}
