// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Wall time of N scrapes (default 1000) of 127.0.0.1:PORT, connection and whole body included.
 * Prints one figure per line: "NAME VALUE".
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static uint64_t wall_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* Bytes of the answer, 0 when it is not a good one. */
static size_t scrape(uint16_t port)
{
	static const char request[] = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_port = htons(port) };
	static char buf[1 << 20];
	size_t total = 0;
	ssize_t n;
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd < 0 || connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 ||
	    write(fd, request, sizeof(request) - 1) < 0) {
		perror("scrape");
		exit(1);
	}
	while ((n = read(fd, buf, sizeof(buf))) > 0) {
		if (total == 0 && (n < 12 || memcmp(buf, "HTTP/1.1 200", 12) != 0))
			break;
		total += (size_t)n;
	}
	close(fd);
	return total;
}

int main(int argc, char **argv)
{
	uint16_t port = argc > 1 ? (uint16_t)atoi(argv[1]) : 9811;
	size_t n = argc > 2 ? strtoul(argv[2], NULL, 10) : 1000, bytes = 0;
	uint64_t *ns = calloc(n, sizeof(*ns));

	if (!ns || n == 0)
		return 1;
	for (size_t i = 0; i < n; i++) {
		uint64_t start = wall_ns();

		bytes = scrape(port);
		ns[i] = wall_ns() - start;
		if (bytes == 0)
			return 1;
	}
	qsort(ns, n, sizeof(*ns), compare);
	printf("bytes %zu\nmedian %.2f ms\np99 %.2f ms\nworst %.2f ms\n", bytes,
	       (double)ns[n / 2] / 1e6, (double)ns[n * 99 / 100] / 1e6, (double)ns[n - 1] / 1e6);
	free(ns);
	return 0;
}
