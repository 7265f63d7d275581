// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Runs the shell commands that arrive on the guest's control port, one at a time,
 * and sends back output and status. Started by the guest's init; not a login.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proto.h"

/* 0, or -1 when the other side is gone or sends no frames. */
static int read_full(int fd, void *data, size_t size)
{
	char *p = data;

	while (size > 0) {
		ssize_t n = read(fd, p, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -1;
		p += n;
		size -= (size_t)n;
	}
	return 0;
}

static int write_full(int fd, const void *data, size_t size)
{
	const char *p = data;

	while (size > 0) {
		ssize_t n = write(fd, p, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -1;
		p += n;
		size -= (size_t)n;
	}
	return 0;
}

static int send_frame(int port, enum frame_type type, uint32_t id, const void *data, size_t size)
{
	struct frame head = { FRAME_MAGIC, (uint32_t)type, id, (uint32_t)size };

	if (write_full(port, &head, sizeof(head)) < 0)
		return -1;
	return write_full(port, data, size);
}

static bool host_is_gone(int port)
{
	struct pollfd p = { .fd = port, .events = POLLOUT };

	return poll(&p, 1, 0) > 0 && (p.revents & POLLHUP);
}

/* Passes what is readable on *fd to the host; closes *fd at its end. */
static void forward(int port, enum frame_type type, uint32_t id, int *fd)
{
	static char data[FRAME_DATA_MAX];
	ssize_t n = read(*fd, data, sizeof(data));

	if (n > 0) {
		(void)send_frame(port, type, id, data, (size_t)n);
		return;
	}
	if (n < 0 && errno == EINTR)
		return;
	close(*fd);
	*fd = -1;
}

static uint8_t run(int port, uint32_t id, const char *command)
{
	int out[2] = { -1, -1 }, err[2] = { -1, -1 }, status = 0;
	bool reaped = false;
	pid_t pid;

	if (pipe2(out, O_CLOEXEC) < 0 || pipe2(err, O_CLOEXEC) < 0)
		return 126;
	pid = fork();
	if (pid == 0) {
		setsid();
		dup2(out[1], STDOUT_FILENO);
		dup2(err[1], STDERR_FILENO);
		execl("/bin/sh", "sh", "-c", command, (char *)NULL);
		_exit(127);
	}
	close(out[1]);
	close(err[1]);
	/*
	 * A background job may keep the pipes open: the command is over when its
	 * shell is, and what the pipes hold then has been passed on.
	 */
	while (out[0] >= 0 || err[0] >= 0) {
		struct pollfd p[2] = { { .fd = out[0], .events = POLLIN },
				       { .fd = err[0], .events = POLLIN } };
		int ready;

		if (!reaped && waitpid(pid, &status, WNOHANG) == pid)
			reaped = true;
		ready = poll(p, 2, reaped ? 0 : 20);
		if (ready == 0 && reaped)
			break;
		if (p[0].revents)
			forward(port, FRAME_OUT, id, &out[0]);
		if (p[1].revents)
			forward(port, FRAME_ERR, id, &err[0]);
		if (!reaped && host_is_gone(port))
			kill(-pid, SIGKILL);
	}
	if (out[0] >= 0)
		close(out[0]);
	if (err[0] >= 0)
		close(err[0]);
	if (!reaped && waitpid(pid, &status, 0) != pid)
		return 126;
	return (uint8_t)(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

int main(int argc, char **argv)
{
	static char command[FRAME_DATA_MAX + 1];
	int port;

	if (argc != 2) {
		fprintf(stderr, "usage: server PORT\n");
		return 2;
	}
	port = open(argv[1], O_RDWR | O_CLOEXEC);
	if (port < 0) {
		perror(argv[1]);
		return 1;
	}
	signal(SIGPIPE, SIG_IGN);
	for (;;) {
		struct frame head;
		uint8_t status;

		/* With no client the port reads end-of-file at once: wait for one. */
		if (host_is_gone(port)) {
			usleep(20000);
			continue;
		}
		if (read_full(port, &head, sizeof(head)) < 0)
			continue;
		if (head.magic != FRAME_MAGIC || head.type != FRAME_RUN ||
		    head.size > FRAME_DATA_MAX) {
			fprintf(stderr, "server: not a request, ignored\n");
			continue;
		}
		if (read_full(port, command, head.size) < 0)
			continue;
		command[head.size] = '\0';
		status = run(port, head.id, command);
		(void)send_frame(port, FRAME_EXIT, head.id, &status, sizeof(status));
	}
}
