// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Runs one shell command in a test guest: guest-exec [-t SECONDS] SOCKET COMMAND.
 * Output and exit status are the command's; 124 when the guest does not answer
 * in time, 125 when there is no such guest. The guest's side is tests/guest/server.c.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "../guest/proto.h"

#define EXIT_TIMEOUT  124
#define EXIT_NO_GUEST 125

static time_t deadline;

static time_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec;
}

static void read_full(int fd, void *data, size_t size)
{
	char *p = data;

	while (size > 0) {
		struct pollfd wait = { .fd = fd, .events = POLLIN };
		time_t left = deadline - now();
		ssize_t n;

		if (left <= 0 || poll(&wait, 1, (int)(left * 1000)) == 0) {
			fprintf(stderr, "guest-exec: no answer in time\n");
			exit(EXIT_TIMEOUT);
		}
		n = read(fd, p, size);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			fprintf(stderr, "guest-exec: the guest went away\n");
			exit(EXIT_NO_GUEST);
		}
		p += n;
		size -= (size_t)n;
	}
}

static int connect_to(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd;

	if (strlen(path) >= sizeof(addr.sun_path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	strcpy(addr.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
		int error = errno;

		close(fd);
		errno = error;
		return -1;
	}
	return fd;
}

int main(int argc, char **argv)
{
	static char data[FRAME_DATA_MAX];
	struct frame head = { .magic = FRAME_MAGIC, .type = FRAME_RUN };
	struct timespec ts;
	long seconds = 120;
	char *end;
	int fd, option;

	while ((option = getopt(argc, argv, "+t:")) != -1) {
		seconds = option == 't' ? strtol(optarg, &end, 10) : 0;
		if (seconds <= 0 || seconds > 86400 || *end) {
			fprintf(stderr, "usage: guest-exec [-t SECONDS] SOCKET COMMAND\n");
			return 2;
		}
	}
	if (argc - optind != 2 || strlen(argv[optind + 1]) > FRAME_DATA_MAX) {
		fprintf(stderr, "usage: guest-exec [-t SECONDS] SOCKET COMMAND\n");
		return 2;
	}
	fd = connect_to(argv[optind]);
	if (fd < 0) {
		fprintf(stderr, "guest-exec: %s: %s\n", argv[optind], strerror(errno));
		return EXIT_NO_GUEST;
	}
	deadline = now() + seconds;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	head.id = (uint32_t)ts.tv_nsec ^ (uint32_t)getpid() << 16;
	head.size = (uint32_t)strlen(argv[optind + 1]);
	memcpy(data, &head, sizeof(head));
	if (write(fd, data, sizeof(head)) != (ssize_t)sizeof(head) ||
	    write(fd, argv[optind + 1], head.size) != (ssize_t)head.size) {
		fprintf(stderr, "guest-exec: cannot send: %s\n", strerror(errno));
		return EXIT_NO_GUEST;
	}
	for (;;) {
		struct frame answer;

		read_full(fd, &answer, sizeof(answer));
		if (answer.magic != FRAME_MAGIC || answer.size > FRAME_DATA_MAX) {
			fprintf(stderr, "guest-exec: the guest's answer is damaged\n");
			return EXIT_NO_GUEST;
		}
		read_full(fd, data, answer.size);
		if (answer.id != head.id)
			continue;
		if (answer.type == FRAME_EXIT && answer.size == 1)
			return (unsigned char)data[0];
		if (answer.type == FRAME_OUT || answer.type == FRAME_ERR) {
			FILE *to = answer.type == FRAME_OUT ? stdout : stderr;

			fwrite(data, 1, answer.size, to);
			fflush(to);
		}
	}
}
