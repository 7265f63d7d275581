// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * cram-exporter: asks the agent's status socket, answers Prometheus. Unprivileged, one thread,
 * never on a network: loopback, an inherited socket, or a file for node_exporter.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>

#include "exporter/http.h"
#include "exporter/render.h"
#include "protocol/protocol.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/file.h"
#include "util/log.h"
#include "util/size.h"

#define MAX_CLIENTS	64
#define OWN_FDS		8    /* the standard three, what listens, the agent's, and libraries' */
#define CLIENT_MS	5000 /* a client that takes longer to ask, or to be told, is cut off */
#define INHERITED_FD	3    /* SD_LISTEN_FDS_START of sd_listen_fds(3) */
#define DEFAULT_ADDRESS "127.0.0.1:9811"

struct exporter {
	struct cram_log log;
	struct cram_ratelimit down; /* lines about the agent being away */
	struct cram_ratelimit deaf; /* ... and about nobody being taken in */
	const char *socket;
	int timeout_ms;
	struct cram_client *agent; /* NULL while there is no connection */
	bool away;		   /* it was asked in vain in this turn of the loop */
	int places;		   /* clients at a time */
	struct render render;
};

struct client {
	int fd;		   /* -1: free */
	uint64_t since_ms; /* it was taken in, or answered */
	size_t in_n;
	char in[HTTP_REQUEST_MAX];
	char head[512];
	size_t head_n;
	const char *body; /* a constant text, or owned */
	char *owned;	  /* a page, lent by the renderer until it is sent */
	size_t owned_cap;
	size_t body_n, sent;
	bool answering;
};

/* A reply, or NULL when the agent is down. A connection kept from before may have died with it. */
static struct json_object *ask_agent(struct exporter *e)
{
	struct json_object *reply = NULL;
	struct cram_error err = { 0 };
	char text[CRAM_ERROR_TEXT];
	bool fresh = !e->agent;
	uint32_t missed;

	/* Whoever had asked by then is answered alike: else each would wait for all before it. */
	if (e->away)
		return NULL;
	for (;;) {
		int r = 0;

		if (!e->agent)
			r = cram_client_connect(e->socket, CRAM_IFACE_STATUS, e->timeout_ms,
						&e->agent, &err);
		if (r == 0)
			r = cram_client_call(e->agent, "GetMetrics", NULL, &reply, NULL, &err);
		if (r == 0)
			return reply;
		cram_client_free(e->agent);
		e->agent = NULL;
		if (fresh || r == -ETIMEDOUT)
			break;
		fresh = true;
	}
	e->away = true;
	if (cram_ratelimit_ok(&e->down, monotonic_ms(), &missed))
		cram_log_warn(&e->log, "%s", cram_error_format(&err, text, sizeof(text)));
	return NULL;
}

static int scrape(struct exporter *e)
{
	struct json_object *reply = ask_agent(e);
	int r = render_metrics(&e->render, reply);

	json_object_put(reply);
	return r;
}

/* A page's buffer goes back to be written again, if another has not taken its place meanwhile. */
static void client_close(struct exporter *e, struct client *c)
{
	close(c->fd);
	c->fd = -1;
	c->answering = false;
	if (c->owned)
		render_give_back(&e->render, TAKE_PTR(c->owned), c->owned_cap);
}

static void answer(struct exporter *e, struct client *c, enum http_verdict verdict, bool head)
{
	c->body = http_body(verdict);
	c->body_n = strlen(c->body);
	if (verdict == HTTP_METRICS) {
		if (scrape(e) < 0) {
			client_close(e, c);
			return;
		}
		/* Lent, not copied: a page of 500 VMs is more than a megabyte. */
		c->owned = render_lend(&e->render, &c->body_n, &c->owned_cap);
		c->body = c->owned;
	}
	c->head_n = http_header(verdict, c->body_n, c->head, sizeof(c->head));
	if (head)
		c->body_n = 0;
	c->sent = 0;
	c->answering = true;
	c->since_ms = monotonic_ms();
}

static void client_read(struct exporter *e, struct client *c)
{
	ssize_t n = recv(c->fd, c->in + c->in_n, sizeof(c->in) - c->in_n, MSG_DONTWAIT);
	enum http_verdict verdict;
	bool head;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		client_close(e, c);
		return;
	}
	c->in_n += (size_t)n;
	verdict = http_judge(c->in, c->in_n, &head);
	if (verdict != HTTP_INCOMPLETE)
		answer(e, c, verdict, head);
}

static void client_write(struct exporter *e, struct client *c)
{
	size_t head_left = c->sent < c->head_n ? c->head_n - c->sent : 0;
	size_t body_done = c->sent - (c->head_n - head_left);
	struct iovec parts[2] = {
		{ c->head + c->head_n - head_left, head_left },
		{ (void *)(c->body + body_done), c->body_n - body_done },
	};
	struct msghdr m = { .msg_iov = parts, .msg_iovlen = ARRAY_SIZE(parts) };
	ssize_t n = sendmsg(c->fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0)
		c->sent += (size_t)n;
	if (n < 0 || c->sent == c->head_n + c->body_n) {
		/* Closing with unread input would reset the connection and lose the answer. */
		shutdown(c->fd, SHUT_WR);
		while (recv(c->fd, c->in, sizeof(c->in), MSG_DONTWAIT) > 0)
			;
		client_close(e, c);
	}
}

/* False: nobody can be taken in for want of descriptors or memory, whoever waits. */
static bool accept_clients(struct exporter *e, int fd, struct client *clients)
{
	uint32_t missed;

	for (int i = 0; i < e->places; i++) {
		int c;

		if (clients[i].fd >= 0)
			continue;
		c = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (c < 0 && (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED))
			return true;
		if (c < 0) {
			if (cram_ratelimit_ok(&e->deaf, monotonic_ms(), &missed))
				cram_log_warn(&e->log, "nobody new is served for now: %s",
					      strerror(errno));
			return false;
		}
		clients[i] = (struct client){ .fd = c, .since_ms = monotonic_ms() };
	}
	return true;
}

static int serve(struct exporter *e, int fd, const sigset_t *unblocked, struct cram_error *err)
{
	struct client *clients = calloc((size_t)e->places, sizeof(*clients));
	struct pollfd p[MAX_CLIENTS + 1];
	bool deaf = false;

	if (!clients)
		return -ENOMEM;
	for (int i = 0; i < e->places; i++)
		clients[i].fd = -1;
	for (;;) {
		struct timespec tick = { .tv_sec = 1 };
		bool any = false, full = true;
		uint64_t now;
		int r;

		for (int i = 0; i < e->places; i++) {
			any |= clients[i].fd >= 0;
			full &= clients[i].fd >= 0;
			p[i] = (struct pollfd){ .fd = clients[i].fd,
						.events = clients[i].answering ? POLLOUT : POLLIN };
		}
		/*
		 * Who comes when all places are taken waits in the socket's queue. So does who
		 * could not be taken in for want of a descriptor: tried again with the next tick.
		 */
		p[e->places] = (struct pollfd){ .fd = full ? -1 : fd, .events = deaf ? 0 : POLLIN };
		/* Asleep without end unless a client's time must be watched. */
		r = ppoll(p, (nfds_t)e->places + 1, any || deaf ? &tick : NULL, unblocked);
		if (r < 0 && errno == EINTR)
			break; /* SIGTERM or SIGINT: the only signals that reach us */
		if (r < 0) {
			r = -errno;
			free(clients);
			return r;
		}
		now = monotonic_ms();
		e->away = false;
		for (int i = 0; i < e->places; i++) {
			struct client *c = &clients[i];

			if (c->fd < 0)
				continue;
			/* Whatever it does meanwhile: byte by byte it would have its place for
			 * hours. */
			if (now - c->since_ms > CLIENT_MS)
				client_close(e, c);
			else if (p[i].revents && c->answering)
				client_write(e, c);
			else if (p[i].revents)
				client_read(e, c);
		}
		/* What asking the agent took is not the time of who is still to be read. */
		for (int i = 0; i < e->places; i++)
			if (clients[i].fd >= 0 && !clients[i].answering)
				clients[i].since_ms += monotonic_ms() - now;
		if (p[e->places].revents & ~POLLIN) {
			cram_error_set(err, -ENOTCONN, NULL, "serve metrics", "start it again",
				       "the socket that it listens on was shut down");
			break;
		}
		if (p[e->places].revents || deaf)
			deaf = !accept_clients(e, fd, clients);
	}
	for (int i = 0; i < e->places; i++)
		if (clients[i].fd >= 0)
			client_close(e, &clients[i]);
	free(clients);
	return err->code;
}

/* "127.0.0.1:9811" or "[::1]:9811"; anything but loopback is refused. */
static int listen_on(const char *address, struct cram_error *err)
{
	cleanup_close int fd = -1;
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6 };
	struct sockaddr_in in = { .sin_family = AF_INET };
	const char *colon = strrchr(address, ':');
	char host[64];
	uint64_t port;
	bool six = address[0] == '[';
	int one = 1, r;
	size_t n;

	n = colon ? (size_t)(colon - address) : 0;
	if (!colon || n >= sizeof(host) || n < 2 || cram_size_parse(colon + 1, 1, &port) < 0 ||
	    port > 65535)
		return cram_error_set(err, -EINVAL, address, "listen", "write ADDRESS:PORT",
				      "it is not an address with a port");
	memcpy(host, address + six, n - 2 * six);
	host[n - 2 * six] = '\0';
	in.sin_port = in6.sin6_port = htons((uint16_t)port);
	if ((six && (inet_pton(AF_INET6, host, &in6.sin6_addr) != 1 ||
		     !IN6_IS_ADDR_LOOPBACK(&in6.sin6_addr))) ||
	    (!six && (inet_pton(AF_INET, host, &in.sin_addr) != 1 ||
		      (ntohl(in.sin_addr.s_addr) >> 24) != 127)))
		return cram_error_set(
			err, -EINVAL, address, "listen",
			"use 127.0.0.1 or [::1], or hand in a socket (systemd .socket unit)",
			"it is not a loopback address");
	fd = socket(six ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	r = six ? bind(fd, (struct sockaddr *)&in6, sizeof(in6))
		: bind(fd, (struct sockaddr *)&in, sizeof(in));
	if (r < 0 || listen(fd, 64) < 0)
		return cram_error_set(err, -errno, address, "listen", NULL, "%s", strerror(errno));
	return TAKE_FD(fd);
}

/*
 * *ret_fd: the socket that a service manager left us (sd_listen_fds(3)), or -1: it left none. What
 * it did leave and nobody can be served on is an error: to listen elsewhere instead would surprise.
 */
static int inherited_socket(int *ret_fd, struct cram_error *err)
{
	static const char advice[] =
		"hand in one stream socket that listens (systemd .socket unit)";
	const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS");
	int listening = 0, type = 0, flags;
	socklen_t n = sizeof(int);
	char self[24];

	*ret_fd = -1;
	snprintf(self, sizeof(self), "%d", (int)getpid());
	if (!pid || !fds || strcmp(pid, self) != 0 || strcmp(fds, "0") == 0)
		return 0;
	if (strcmp(fds, "1") != 0)
		return cram_error_set(err, -EINVAL, "LISTEN_FDS", "take the inherited socket",
				      advice, "there are %s of them", fds);
	if (getsockopt(INHERITED_FD, SOL_SOCKET, SO_ACCEPTCONN, &listening, &n) < 0 ||
	    getsockopt(INHERITED_FD, SOL_SOCKET, SO_TYPE, &type, &n) < 0)
		return cram_error_set(err, -errno, "descriptor 3", "take the inherited socket",
				      advice, "%s", strerror(errno));
	if (!listening || type != SOCK_STREAM)
		return cram_error_set(err, -EINVAL, "descriptor 3", "take the inherited socket",
				      advice, "it does not listen for streams");
	flags = fcntl(INHERITED_FD, F_GETFL);
	if (fcntl(INHERITED_FD, F_SETFD, FD_CLOEXEC) < 0 || flags < 0 ||
	    fcntl(INHERITED_FD, F_SETFL, flags | O_NONBLOCK) < 0)
		return -errno;
	*ret_fd = INHERITED_FD;
	return 0;
}

/* As many clients at a time as leave the descriptors that asking the agent takes; at least one. */
static int count_places(struct cram_error *err)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return -errno;
	if (limit.rlim_cur <= OWN_FDS)
		return cram_error_set(err, -EMFILE, "RLIMIT_NOFILE", "serve metrics",
				      "let it have more (LimitNOFILE= of its unit, ulimit -n)",
				      "it may have %ju descriptors, and needs %d",
				      (uintmax_t)limit.rlim_cur, OWN_FDS + 1);
	return limit.rlim_cur < OWN_FDS + MAX_CLIENTS ? (int)limit.rlim_cur - OWN_FDS : MAX_CLIENTS;
}

static void on_signal(int sig)
{
	(void)sig; /* only to interrupt ppoll */
}

static void catch_signals(sigset_t *ret_unblocked)
{
	struct sigaction sa = { .sa_handler = on_signal };
	sigset_t blocked;

	sigemptyset(&blocked);
	sigaddset(&blocked, SIGTERM);
	sigaddset(&blocked, SIGINT);
	sigprocmask(SIG_BLOCK, &blocked, ret_unblocked);
	sigdelset(ret_unblocked, SIGTERM);
	sigdelset(ret_unblocked, SIGINT);
	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGINT, &sa, NULL);
}

static int usage(FILE *f, int status)
{
	fputs("Usage: cram-exporter [OPTION...]\n\n"
	      "  --listen ADDRESS:PORT  loopback address (default " DEFAULT_ADDRESS ")\n"
	      "  --socket PATH          the agent's status socket (default /run/cramd/status)\n"
	      "  --textfile FILE        write the metrics there once, then exit\n"
	      "  --timeout SECONDS      how long to wait for the agent (default 2)\n"
	      "  -h, --help             this text\n"
	      "  -V, --version          the version\n\n"
	      "See cram-exporter(8).\n",
	      f);
	return status;
}

static int write_textfile(struct exporter *e, const char *path, struct cram_error *err)
{
	int r = scrape(e);

	cram_file_sweep(path); /* of runs that were killed */
	if (r == 0)
		r = cram_file_replace(path, e->render.text, e->render.n, 0644);
	if (r < 0)
		cram_error_set(err, r, path, "write the metrics",
			       "this user must be able to make files in that directory", "%s",
			       strerror(-r));
	return r;
}

static int run(struct exporter *e, const char *address, const char *textfile,
	       struct cram_error *err)
{
	cleanup_close int fd = -1;
	sigset_t unblocked;
	int r;

	if (textfile)
		return write_textfile(e, textfile, err);
	r = inherited_socket(&fd, err);
	if (r < 0)
		return r;
	if (fd < 0) {
		r = listen_on(address, err);
		if (r < 0)
			return r;
		fd = r;
	}
	r = count_places(err);
	if (r < 0)
		return r;
	e->places = r;
	catch_signals(&unblocked);
	return serve(e, fd, &unblocked, err);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "listen", required_argument, NULL, 'l' },
		{ "socket", required_argument, NULL, 's' },
		{ "textfile", required_argument, NULL, 't' },
		{ "timeout", required_argument, NULL, 'T' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ 0 },
	};
	const char *address = DEFAULT_ADDRESS, *textfile = NULL;
	struct exporter e = {
		.socket = "/run/cramd/status",
		.timeout_ms = 2000,
		.down = { .interval_ms = 60000, .burst = 1 },
		.deaf = { .interval_ms = 60000, .burst = 1 },
	};
	struct cram_error err = { 0 };
	char text[CRAM_ERROR_TEXT];
	uint64_t seconds;
	int c, r;

	cram_log_init(&e.log);
	while ((c = getopt_long(argc, argv, "hV", options, NULL)) != -1) {
		switch (c) {
		case 'l':
			address = optarg;
			break;
		case 's':
			e.socket = optarg;
			break;
		case 't':
			textfile = optarg;
			break;
		case 'T':
			if (cram_size_parse(optarg, 1, &seconds) < 0 || seconds < 1 ||
			    seconds > 60) {
				fputs("cram-exporter: --timeout takes 1 to 60 seconds\n", stderr);
				return 2;
			}
			e.timeout_ms = (int)seconds * 1000;
			break;
		case 'h':
			return usage(stdout, 0);
		case 'V':
			puts("cram-exporter " CRAM_VERSION);
			return 0;
		default:
			return usage(stderr, 2);
		}
	}
	if (optind < argc)
		return usage(stderr, 2);
	r = run(&e, address, textfile, &err);
	if (r < 0 && err.code == 0)
		cram_error_set(&err, r, NULL, "run", NULL, "%s", strerror(-r));
	if (r < 0)
		cram_log_err(&e.log, "%s", cram_error_format(&err, text, sizeof(text)));
	cram_client_free(e.agent);
	render_free(&e.render);
	return r < 0 ? 1 : 0;
}
