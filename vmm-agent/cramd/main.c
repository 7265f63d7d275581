// SPDX-License-Identifier: GPL-2.0-or-later
/* cramd: options, signals, start and stop. Everything else is in the stages. */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <time.h>
#include <unistd.h>

#include "admission.h"
#include "confine.h"
#include "round.h"
#include "server/server.h"
#include "util/cleanup.h"
#include "util/plural.h"

/* Domains are read again this often: jobs such as a save are not always announced by events. */
#define REFRESH_MS 5000

struct options {
	const char *config, *root, *run_dir, *pid_dir;
	int log_level;
	bool confine;
};

static void usage(FILE *out)
{
	fputs("Usage: cramd [OPTION]...\n"
	      "Move cold memory of virtual machines to a slower tier, within their quotas.\n"
	      "\n"
	      "  -c, --config=FILE      configuration (" CRAM_CONF_PATH ")\n"
	      "      --run-dir=DIR      where the sockets are made (/run/cramd)\n"
	      "      --root=DIR         read /proc and /sys below DIR (/)\n"
	      "      --pid-dir=DIR      libvirt's pid files (/run/libvirt/qemu)\n"
	      "      --no-confine       keep all capabilities and system calls (for debuggers)\n"
	      "  -v, --verbose          log what is done, not only what matters\n"
	      "  -V, --version          print the version and exit\n"
	      "  -h, --help             print this and exit\n",
	      out);
}

enum {
	OPT_RUN_DIR = 256,
	OPT_ROOT,
	OPT_PID_DIR,
	OPT_NO_CONFINE,
};

/* 0: go on; 1: done; negative: bad usage. */
static int parse_options(int argc, char **argv, struct options *o)
{
	static const struct option options[] = {
		{ "config", required_argument, NULL, 'c' },
		{ "run-dir", required_argument, NULL, OPT_RUN_DIR },
		{ "root", required_argument, NULL, OPT_ROOT },
		{ "pid-dir", required_argument, NULL, OPT_PID_DIR },
		{ "no-confine", no_argument, NULL, OPT_NO_CONFINE },
		{ "verbose", no_argument, NULL, 'v' },
		{ "version", no_argument, NULL, 'V' },
		{ "help", no_argument, NULL, 'h' },
		{},
	};
	int c;

	while ((c = getopt_long(argc, argv, "c:vVh", options, NULL)) != -1) {
		switch (c) {
		case 'c':
			o->config = optarg;
			break;
		case OPT_RUN_DIR:
			o->run_dir = optarg;
			break;
		case OPT_ROOT:
			o->root = optarg;
			break;
		case OPT_PID_DIR:
			o->pid_dir = optarg;
			break;
		case OPT_NO_CONFINE:
			o->confine = false;
			break;
		case 'v':
			o->log_level = LOG_DEBUG;
			break;
		case 'V':
			puts("cramd " CRAM_VERSION);
			return 1;
		case 'h':
			usage(stdout);
			return 1;
		default:
			return -EINVAL;
		}
	}
	if (optind < argc) {
		fprintf(stderr, "cramd: unexpected argument \"%s\"\n", argv[optind]);
		return -EINVAL;
	}
	return 0;
}

static int on_signal(struct loop *loop, int fd, uint32_t events, void *userdata)
{
	struct daemon *d = userdata;
	struct signalfd_siginfo info;
	struct cram_error err = {};

	(void)events;
	if (read(fd, &info, sizeof(info)) != sizeof(info))
		return 0;
	if (info.ssi_signo == SIGHUP) {
		int r;

		sd_notify(0, "RELOADING=1");
		snprintf(d->request.who, sizeof(d->request.who), "SIGHUP of uid %u (pid %u)",
			 info.ssi_uid, info.ssi_pid);
		r = daemon_reload(d, &err);
		d->request.who[0] = '\0';
		if (r < 0)
			sd_notifyf(0, "READY=1\nSTATUS=reload refused: %s", d->config_error);
		else
			sd_notify(0, "READY=1\nSTATUS=configuration read");
		return 0;
	}
	cram_log_info(&d->host.log, "stopping: signal %u", info.ssi_signo);
	loop->stop = true;
	return 0;
}

/* Takes what made a timer or an eventfd readable. */
static bool take_wakeup(int fd)
{
	uint64_t n;

	return read(fd, &n, sizeof(n)) == sizeof(n);
}

static int on_round(struct loop *loop, int fd, uint32_t events, void *userdata)
{
	struct daemon *d = userdata;

	(void)loop;
	(void)events;
	/* Re-armed first: a round that fails must not be the last. */
	if (!take_wakeup(fd))
		return 0;
	loop_timer_set(fd, d->conf.host.round_ms);
	round_run(d);
	return 0;
}

/* The loop turns. How far apart rounds are is the operator's affair. */
static int on_watchdog(struct loop *loop, int fd, uint32_t events, void *userdata)
{
	(void)loop;
	(void)events;
	(void)userdata;
	if (take_wakeup(fd))
		sd_notify(0, "WATCHDOG=1");
	return 0;
}

/* *@ret_timer stays as it is where nobody watches. */
static int start_watchdog(struct daemon *d, int *ret_timer)
{
	struct loop_source *source;
	uint64_t us;
	int r;

	r = sd_watchdog_enabled(0, &us);
	if (r <= 0)
		return r;
	r = loop_timer_new((uint32_t)(us / 3000) + 1, ret_timer);
	return r < 0 ? r : loop_add(&d->loop, *ret_timer, EPOLLIN, on_watchdog, d, &source);
}

/* The relief thread wants a round before its time. */
static int on_relief(struct loop *loop, int fd, uint32_t events, void *userdata)
{
	(void)loop;
	(void)events;
	if (take_wakeup(fd))
		daemon_wake(userdata);
	return 0;
}

static int on_discovered(struct loop *loop, int fd, uint32_t events, void *userdata)
{
	(void)loop;
	(void)events;
	if (take_wakeup(fd))
		daemon_discovered(userdata);
	return 0;
}

static int on_refresh(struct loop *loop, int fd, uint32_t events, void *userdata)
{
	struct daemon *d = userdata;

	(void)loop;
	(void)events;
	if (take_wakeup(fd))
		libvirt_refresh(d->libvirt);
	return 0;
}

static int on_libvirt(struct loop *loop, int fd, uint32_t events, void *userdata)
{
	/* Large, and the loop is the only caller. */
	static struct libvirt_domain domain;
	struct daemon *d = userdata;

	(void)loop;
	(void)fd;
	(void)events;
	while (libvirt_next(d->libvirt, &domain) > 0) {
		daemon_domain(d, &domain);
		if (domain.running && domain.pid <= 0)
			admission_starting(d, &domain);
	}
	if (d->unlisted && libvirt_told_all(d->libvirt)) {
		d->unlisted = false;
		cram_log_info(&d->host.log, "libvirt has told of all VMs that run: from now on it "
					    "is known what is sold");
	}
	return 0;
}

static int watch_signals(struct daemon *d, int *ret_fd)
{
	struct loop_source *source;
	sigset_t mask;
	int fd;

	sigemptyset(&mask);
	sigaddset(&mask, SIGTERM);
	sigaddset(&mask, SIGINT);
	sigaddset(&mask, SIGHUP);
	/* Before any thread exists, so that all inherit it. */
	if (sigprocmask(SIG_BLOCK, &mask, NULL) < 0)
		return -errno;
	signal(SIGPIPE, SIG_IGN);
	fd = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0)
		return -errno;
	*ret_fd = fd;
	return loop_add(&d->loop, fd, EPOLLIN, on_signal, d, &source);
}

static int start_libvirt(struct daemon *d, const struct options *o, int *ret_timer)
{
	struct loop_source *source;
	int r;

	if (!strcmp(d->conf.host.libvirt_uri, "none"))
		return 0;
	/* Made when libvirt starts for the first time after a boot. */
	d->none_before = access(o->pid_dir, F_OK) < 0 && errno == ENOENT;
	r = libvirt_start(d->conf.host.libvirt_uri, o->pid_dir, &d->host.log, &d->libvirt);
	if (r < 0)
		return r;
	d->unlisted = true;
	r = loop_add(&d->loop, libvirt_fd(d->libvirt), EPOLLIN, on_libvirt, d, &source);
	if (r < 0)
		return r;
	r = loop_timer_new(REFRESH_MS, ret_timer);
	if (r < 0)
		return r;
	return loop_add(&d->loop, *ret_timer, EPOLLIN, on_refresh, d, &source);
}

static int fail(struct daemon *d, const char *what, int r)
{
	cram_log_err(&d->host.log, "cannot %s: %s", what, strerror(-r));
	return r;
}

static int run(struct daemon *d, const struct options *o, struct server **ret_server)
{
	cleanup_close int signals = -1, refresh = -1, watchdog = -1;
	struct loop_source *source;
	struct cram_error err = {};
	char text[CRAM_ERROR_TEXT];
	int r;

	r = daemon_load(d, &err);
	if (r < 0) {
		cram_log_err(&d->host.log, "%s", cram_error_format(&err, text, sizeof(text)));
		return r;
	}
	r = watch_signals(d, &signals);
	if (r < 0)
		return fail(d, "watch signals", r);
	if (mkdir(o->run_dir, 0755) < 0 && errno != EEXIST)
		return fail(d, "make the run directory", -errno);
	r = server_start(d, &err, ret_server);
	if (r < 0) {
		cram_log_err(&d->host.log, "%s", cram_error_format(&err, text, sizeof(text)));
		return r;
	}
	if (o->confine) {
		r = confine_capabilities();
		if (r < 0)
			return fail(d, "drop capabilities", r);
		r = confine_system_calls();
		if (r < 0)
			return fail(d, "restrict system calls", r);
	}
	r = looker_start(&d->looker, &d->host);
	if (r == 0)
		r = nominator_start(&d->nominator, &d->host);
	if (r < 0)
		return fail(d, "start the scanning threads", r);
	r = discover_start(&d->discover);
	if (r < 0)
		return fail(d, "start the thread that examines processes", r);
	r = loop_add(&d->loop, d->discover.wake, EPOLLIN, on_discovered, d, &source);
	if (r < 0)
		return fail(d, "watch the thread that examines processes", r);
	r = mover_start(&d->mover, &d->host);
	if (r < 0)
		return fail(d, "start the mover threads", r);
	r = relief_start(&d->relief);
	if (r < 0)
		return fail(d, "start the relief thread", r);
	r = backpressure_start(&d->backpressure);
	if (r < 0)
		return fail(d, "start the thread that cards push back at", r);
	r = loop_add(&d->loop, d->relief.wake, EPOLLIN, on_relief, d, &source);
	if (r < 0)
		return fail(d, "watch the relief thread", r);
	r = start_libvirt(d, o, &refresh);
	if (r < 0)
		return fail(d, "start libvirt's threads", r);
	r = loop_timer_new(d->conf.host.round_ms, &d->round_timer);
	if (r < 0)
		return fail(d, "make a timer", r);
	r = loop_add(&d->loop, d->round_timer, EPOLLIN, on_round, d, &source);
	if (r < 0)
		return fail(d, "watch the timer", r);
	r = start_watchdog(d, &watchdog);
	if (r < 0)
		return fail(d, "make the watchdog's timer", r);
	/* What is answered from the first moment on has been sensed. */
	round_run(d);
	sd_notify(0, "READY=1");
	cram_log_info(&d->host.log, "cramd " CRAM_VERSION " started, %zu tier node%s",
		      d->snapshot.n_tiers, plural(d->snapshot.n_tiers));
	r = loop_run(&d->loop);
	sd_notify(0, "STOPPING=1");
	daemon_say_left(d);
	return r;
}

/* Has a thread ended? What it is with, @what, is not waited for any longer. */
static bool has_ended(struct daemon *d, bool ended, const char *what)
{
	if (!ended)
		cram_log_warn(&d->host.log,
			      "%s: the process ends as soon as the kernel lets go of the thread "
			      "that waits for it",
			      what);
	return ended;
}

/*
 * VMs stay as they are: their memory, their policies, their limits. false: a thread is stuck, and
 * what it uses, @d included, stays until the process ends.
 */
static bool stop(struct daemon *d, struct server *server)
{
	bool ended;

	host_stop(&d->host);
	discover_stop(&d->discover);
	ended = looker_join(&d->looker) && !d->discover.stuck;
	if (d->mover.host)
		ended &= mover_stop(&d->mover);
	ended = has_ended(d, ended, "a QEMU keeps its memory map locked");
	ended &= has_ended(d, nominator_join(&d->nominator), "DAMON does not answer");
	ended &= has_ended(d, relief_join(&d->relief), "a node does not tell its free memory");
	ended &=
		has_ended(d, backpressure_join(&d->backpressure), "a card does not tell its state");
	if (d->libvirt)
		ended &= has_ended(d, libvirt_stop(d->libvirt), "libvirt does not answer");
	if (server)
		server_stop(server);
	if (!ended)
		return false;
	while (d->host.vms.n)
		daemon_remove_vm(d, d->host.vms.v[0]);
	relief_fini(&d->relief);
	backpressure_fini(&d->backpressure);
	discover_fini(&d->discover);
	daemon_fini(d);
	if (d->round_timer >= 0)
		close(d->round_timer);
	loop_fini(&d->loop);
	host_fini(&d->host);
	return true;
}

int main(int argc, char **argv)
{
	struct options o = {
		.config = CRAM_CONF_PATH,
		.root = "/",
		.run_dir = "/run/cramd",
		.pid_dir = "/run/libvirt/qemu",
		.log_level = LOG_INFO,
		.confine = true,
	};
	struct server *server = NULL;
	struct timespec now;
	struct daemon *d;
	int r;

	r = parse_options(argc, argv, &o);
	if (r < 0) {
		usage(stderr);
		return 2;
	}
	if (r > 0)
		return 0;
	d = calloc(1, sizeof(*d));
	if (!d)
		return 1;
	r = host_init(&d->host, o.root, o.run_dir);
	if (r < 0) {
		fprintf(stderr, "cramd: cannot open root %s: %s\n", o.root, strerror(-r));
		free(d);
		return 1;
	}
	d->host.log.level = o.log_level;
	d->conf_path = o.config;
	d->started_ms = monotonic_ms();
	clock_gettime(CLOCK_REALTIME, &now);
	d->started_wall_s = (uint64_t)now.tv_sec;
	d->host.log_limit = (struct cram_ratelimit){ .interval_ms = 60000, .burst = 100 };
	d->loop.epoll = -1;
	d->round_timer = -1;
	r = relief_init(&d->relief, &d->host, &d->mover);
	if (r == 0)
		r = backpressure_init(&d->backpressure, &d->host, &d->mover, d->relief.wake);
	if (r == 0)
		r = discover_init(&d->discover, &d->host);
	if (r == 0)
		r = loop_init(&d->loop);
	if (r == 0)
		r = run(d, &o, &server);
	if (stop(d, server))
		free(d);
	return r < 0 ? 1 : 0;
}
