// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The live screen: host, tiers and VMs, again and again. Plain escape codes of every terminal, in
 * one write a picture; columns that have no room are left out, the least important first. Elsewhere
 * than on a terminal it is the tables of status and vm list.
 */
#include <errno.h>
#include <inttypes.h>
#include <langinfo.h>
#include <locale.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>
#include <wchar.h>
#include <wctype.h>

#include "ctl/ctl.h"
#include "protocol/model.h"
#include "util/array.h"
#include "util/cleanup.h"
#include "util/plural.h"
#include "util/sort.h"

#define ENTER "\033[?1049h\033[?25l" /* a screen of its own, no cursor */
#define LEAVE "\033[?25h\033[?1049l"
#define NODES 64

enum tint {
	PLAIN,
	BOLD,
	DIM,
	GOOD,
	WARN,
	BAD
};

struct vm_line {
	struct cram_vm_report vm;
	uint64_t out, home; /* bytes a second since the last picture */
};

struct top {
	struct cram_host_report host;
	struct cram_node_report nodes[NODES];
	size_t n_nodes;
	CRAM_ARRAY(struct vm_line) vms, before;
	struct timespec at, before_at;
	size_t sort;
	bool color, utf8, known; /* known: an agent has answered */
	char trouble[CRAM_ERROR_TEXT];
	int columns, rows;
	FILE *f; /* the picture */
	int line;
};

static volatile sig_atomic_t ended, resized;

static void on_signal(int signal)
{
	if (signal == SIGWINCH)
		resized = 1;
	else
		ended = 1;
}

/* ------------------------------------------------------------------ words */

/* "1.5G": five columns at most. */
static const char *brief(uint64_t bytes, char buf[16])
{
	static const char units[] = "BKMGTPE";
	unsigned int u = 0;
	double v = (double)bytes;

	if (bytes == CRAM_UNLIMITED)
		return strcpy(buf, "-");
	while (v >= 999.5 && units[u + 1]) {
		v /= 1024;
		u++;
	}
	snprintf(buf, 16, v < 9.95 && u ? "%.1f%c" : "%.0f%c", v, units[u]);
	return buf;
}

static const char *rate(uint64_t bytes, char buf[16])
{
	return bytes ? brief(bytes, buf) : strcpy(buf, "");
}

/* Foreign text in @width columns of the terminal; what it cannot show is a question mark. */
static void put_text(struct top *t, const char *text, int width)
{
	mbstate_t state = { 0 };
	int used = 0;

	while (*text) {
		wchar_t c;
		size_t n = mbrtowc(&c, text, MB_CUR_MAX, &state);
		int w = 1;
		bool shown = n != (size_t)-1 && n != (size_t)-2 && iswprint((wint_t)c);

		if (n == (size_t)-1 || n == (size_t)-2) {
			n = 1;
			memset(&state, 0, sizeof(state));
		}
		if (shown)
			w = wcwidth(c);
		if (w < 0 || used + w > width)
			break;
		if (shown)
			fwrite(text, 1, n, t->f);
		else
			fputc('?', t->f);
		used += w;
		text += n;
	}
	fprintf(t->f, "%*s", width - used, "");
}

static void tint(struct top *t, enum tint tint)
{
	static const char *const codes[] = {
		[PLAIN] = "\033[0m", [BOLD] = "\033[1m",  [DIM] = "\033[2m",
		[GOOD] = "\033[32m", [WARN] = "\033[33m", [BAD] = "\033[1;31m",
	};

	if (t->color)
		fputs(codes[tint], t->f);
}

/* Our own text, plain ASCII, cut at the edge of the screen; ends the line. */
static void put_line(struct top *t, enum tint how, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static void end_line(struct top *t)
{
	fputs("\033[K", t->f);
	if (++t->line < t->rows)
		fputs("\r\n", t->f);
}

static void put_line(struct top *t, enum tint how, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	if (t->line >= t->rows)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	tint(t, how);
	put_text(t, text, t->columns);
	tint(t, PLAIN);
	end_line(t);
}

/* "name  ######......  text": the bar takes what the rest leaves. */
static void put_bar(struct top *t, const char *name, uint64_t used, uint64_t of, enum tint how,
		    const char *text)
{
	int width = t->columns - 8 - 2 - (int)strlen(text), full;

	if (t->line >= t->rows)
		return;
	if (width > 40)
		width = 40;
	put_text(t, name, t->columns < 8 ? t->columns : 8);
	if (width >= 5) {
		full = of ? (int)((double)used / (double)of * width + 0.5) : 0;
		full = full > width ? width : full;
		tint(t, how);
		for (int i = 0; i < full; i++)
			fputs(t->utf8 ? "\u2588" : "#", t->f);
		tint(t, DIM);
		for (int i = full; i < width; i++)
			fputs(t->utf8 ? "\u2591" : ".", t->f);
		tint(t, PLAIN);
		fputs("  ", t->f);
		put_text(t, text, t->columns - 8 - 2 - width);
	} else if (t->columns > 8) {
		put_text(t, text, t->columns - 8);
	}
	end_line(t);
}

/* ------------------------------------------------------------------ the table of VMs */

static const char *ratio(const struct vm_line *l, char buf[16])
{
	if (!l->vm.tier_bytes || !l->vm.device_bytes)
		return strcpy(buf, "");
	snprintf(buf, 16, "%.1f", (double)l->vm.tier_bytes / (double)l->vm.device_bytes);
	return buf;
}

#define BYTES(name, member)                                                   \
	static const char *name##_text(const struct vm_line *l, char buf[16]) \
	{                                                                     \
		return brief(l->member, buf);                                 \
	}                                                                     \
	static uint64_t name##_key(const struct vm_line *l)                   \
	{                                                                     \
		return l->member;                                             \
	}

BYTES(ram, vm.ram)
BYTES(dram, vm.dram)
BYTES(there, vm.tier_bytes)
BYTES(device, vm.device_bytes)
BYTES(quota, vm.quota)
BYTES(cold, vm.cold)

static uint64_t out_key(const struct vm_line *l)
{
	return l->out;
}

static const char *out_text(const struct vm_line *l, char buf[16])
{
	return rate(l->out, buf);
}

static uint64_t home_key(const struct vm_line *l)
{
	return l->home;
}

static const char *home_text(const struct vm_line *l, char buf[16])
{
	return rate(l->home, buf);
}

static const struct column {
	const char *title;
	int width;
	int rank; /* the higher, the sooner it is left out */
	const char *(*text)(const struct vm_line *l, char buf[16]);
	uint64_t (*key)(const struct vm_line *l); /* NULL: nobody sorts by it */
} columns[] = {
	{ "RAM", 7, 4, ram_text, ram_key },	 { "DRAM", 7, 1, dram_text, dram_key },
	{ "TIER", 7, 0, there_text, there_key }, { "DEVICE", 7, 5, device_text, device_key },
	{ "RATIO", 6, 7, ratio, NULL },		 { "QUOTA", 7, 6, quota_text, quota_key },
	{ "COLD", 7, 2, cold_text, cold_key },	 { "OUT/s", 7, 3, out_text, out_key },
	{ "HOME/s", 7, 3, home_text, home_key },
};

#define NAME_WIDTH  12 /* at least */
#define STATE_WIDTH 11
#define BY_NAME	    ARRAY_SIZE(columns)

static const char *sort_name(const struct top *t)
{
	return t->sort == BY_NAME ? "NAME" : columns[t->sort].title;
}

_Static_assert(sizeof(struct vm_line) <= CRAM_SORT_SIZE, "a line is too long to be sorted");

static bool by_sort(const void *a, const void *b, const void *context)
{
	const struct vm_line *x = a, *y = b;
	const struct top *t = context;

	if (t->sort != BY_NAME) {
		uint64_t i = columns[t->sort].key(x), k = columns[t->sort].key(y);

		if (i != k)
			return i > k;
	}
	return strverscmp(x->vm.name, y->vm.name) < 0;
}

static enum tint state_tint(const char *state)
{
	static const char *const warn[] = { "over-quota", "over-share", "backoff", "draining" };

	if (strcmp(state, "demoting") == 0 || strcmp(state, "promoting") == 0)
		return GOOD;
	for (size_t i = 0; i < ARRAY_SIZE(warn); i++)
		if (strcmp(state, warn[i]) == 0)
			return WARN;
	return strcmp(state, "ineligible") == 0 ? DIM : PLAIN;
}

/* The highest rank that has room, and the width that is left for names. */
static int fit(const struct top *t, int *ret_name)
{
	for (int rank = 7;; rank--) {
		int used = 1 + STATE_WIDTH;

		for (size_t i = 0; i < ARRAY_SIZE(columns); i++)
			if (columns[i].rank <= rank)
				used += columns[i].width;
		if (used + NAME_WIDTH <= t->columns || rank < 0) {
			*ret_name = t->columns - used < NAME_WIDTH ? NAME_WIDTH : t->columns - used;
			if (*ret_name > 32)
				*ret_name = 32;
			return rank;
		}
	}
}

static void put_vms(struct top *t)
{
	int name, rank = fit(t, &name);
	/* The last line is for keys, and if there are more, one to say so. */
	int room = t->rows - t->line - 2, shown = (int)t->vms.n;
	bool state = t->columns > name + STATE_WIDTH;
	char buf[16];

	if (room < 1)
		return;
	if (shown > room)
		shown = room - 1;
	tint(t, BOLD);
	put_text(t, "NAME", name < t->columns ? name : t->columns);
	if (state)
		put_text(t, " STATE", 1 + STATE_WIDTH);
	for (size_t i = 0; i < ARRAY_SIZE(columns); i++)
		if (columns[i].rank <= rank)
			fprintf(t->f, "%*s", columns[i].width, columns[i].title);
	tint(t, PLAIN);
	end_line(t);
	for (int k = 0; k < shown; k++) {
		const struct vm_line *l = &t->vms.v[k];

		put_text(t, l->vm.name, name < t->columns ? name : t->columns);
		if (state) {
			fputc(' ', t->f);
			tint(t, state_tint(l->vm.state));
			put_text(t, l->vm.state, STATE_WIDTH);
			tint(t, PLAIN);
		}
		for (size_t i = 0; i < ARRAY_SIZE(columns); i++)
			if (columns[i].rank <= rank)
				fprintf(t->f, "%*s", columns[i].width, columns[i].text(l, buf));
		end_line(t);
	}
	if ((size_t)shown < t->vms.n)
		put_line(t, DIM, "... and %zu more", t->vms.n - (size_t)shown);
}

/* ------------------------------------------------------------------ the picture */

static void put_host(struct top *t)
{
	const struct cram_host_report *h = &t->host;
	char a[16], b[16], c[16], d[16], text[160], clock[16] = "";
	time_t now = time(NULL);
	struct tm tm;

	if (localtime_r(&now, &tm))
		strftime(clock, sizeof(clock), "%T", &tm);
	put_line(t, BOLD,
		 "%s  cramd %s  %" PRIu64 " VM%s, %" PRIu64 " auto, %" PRIu64 " ineligible%s%s",
		 clock, h->version, h->vms, plural(h->vms), h->vms_auto, h->vms_ineligible,
		 h->paused ? "  PAUSED" : "", h->draining ? "  DRAINING" : "");
	if (!h->libvirt_connected)
		put_line(t, WARN, "libvirt does not answer");
	if (h->config_error[0])
		put_line(t, BAD, "configuration refused: %s", h->config_error);
	snprintf(text, sizeof(text), "%s of %s, %s to be had, %s wanted",
		 brief(h->dram_total - h->dram_free, a), brief(h->dram_total, b),
		 brief(h->dram_available, c), brief(h->dram_headroom, d));
	put_bar(t, "DRAM", h->dram_total - h->dram_free, h->dram_total,
		h->dram_available < h->dram_headroom ? BAD : GOOD, text);
	for (size_t i = 0; i < t->n_nodes; i++) {
		const struct cram_node_report *n = &t->nodes[i];
		bool well = strcmp(n->state, "online") == 0 || strcmp(n->state, "normal") == 0;
		char name[24];

		if (n->nid < 0)
			snprintf(name, sizeof(name), "%.7s", n->tier);
		else
			snprintf(name, sizeof(name), "%.5s%d", n->tier, n->nid);
		snprintf(text, sizeof(text), "%s of %s, holds %s, %s", brief(n->device_bytes, a),
			 brief(n->capacity, b), brief(n->used, c), n->state);
		put_bar(t, name, n->device_bytes, n->capacity, well ? GOOD : BAD, text);
	}
	put_line(t, h->at_risk ? WARN : PLAIN, "sold %s, guaranteed %s, expected %s, at risk %s",
		 brief(h->sold, a), brief(h->guaranteed, b), brief(h->expected, c),
		 brief(h->at_risk, d));
}

static int draw(struct top *t)
{
	cleanup_free char *picture = NULL;
	struct winsize size;
	size_t n = 0;

	t->columns = 80;
	t->rows = 24;
	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col && size.ws_row) {
		t->columns = size.ws_col;
		t->rows = size.ws_row;
	}
	t->f = open_memstream(&picture, &n);
	if (!t->f)
		return -ENOMEM;
	t->line = 0;
	fputs("\033[H", t->f);
	if (t->trouble[0])
		put_line(t, BAD, "%s", t->trouble);
	if (t->known) {
		put_host(t);
		if (t->rows - t->line > 4)
			put_line(t, PLAIN, "%s", "");
		if (t->vms.n)
			cram_sort(t->vms.v, t->vms.n, sizeof(*t->vms.v), by_sort, t);
		put_vms(t);
	}
	while (t->line < t->rows - 1)
		put_line(t, PLAIN, "%s", "");
	put_line(t, DIM, "q quit   s sort, now by %s   space now", sort_name(t));
	fputs("\033[J", t->f);
	fclose(t->f);
	for (size_t done = 0; done < n;) {
		ssize_t r = write(STDOUT_FILENO, picture + done, n - done);

		if (r < 0 && errno != EINTR)
			return -errno;
		done += r > 0 ? (size_t)r : 0;
	}
	return 0;
}

/* ------------------------------------------------------------------ what is shown */

static int take_reports(struct top *t, struct json_object *status, struct json_object *vms,
			struct cram_error *err)
{
	struct json_object *host = NULL, *list = NULL;

	json_object_object_get_ex(status, "host", &host);
	if (cram_decode_as(host, host, &t->host, err) < 0)
		return EXIT_FAILED;
	t->n_nodes = 0;
	if (json_object_object_get_ex(status, "nodes", &list) &&
	    json_object_is_type(list, json_type_array))
		for (size_t i = 0; i < json_object_array_length(list) && t->n_nodes < NODES; i++)
			if (cram_decode_as(node, json_object_array_get_idx(list, i),
					   &t->nodes[t->n_nodes], err) == 0)
				t->n_nodes++;
	t->vms.n = 0;
	list = NULL;
	if (!json_object_object_get_ex(vms, "vms", &list) ||
	    !json_object_is_type(list, json_type_array))
		return EXIT_OK;
	for (size_t i = 0; i < json_object_array_length(list); i++) {
		struct vm_line line = { 0 };

		if (cram_decode_as(vm, json_object_array_get_idx(list, i), &line.vm, err) < 0)
			return EXIT_FAILED;
		if (array_push(&t->vms, line) < 0)
			return EXIT_FAILED;
	}
	return EXIT_OK;
}

/* What moved since the last picture, a second. */
static void take_rates(struct top *t)
{
	double s = (double)(t->at.tv_sec - t->before_at.tv_sec) +
		   (double)(t->at.tv_nsec - t->before_at.tv_nsec) / 1e9;

	for (size_t i = 0; i < t->vms.n && s > 0; i++)
		for (size_t k = 0; k < t->before.n; k++) {
			struct vm_line *now = &t->vms.v[i];
			const struct vm_line *then = &t->before.v[(i + k) % t->before.n];

			if (strcmp(now->vm.uuid, then->vm.uuid) != 0)
				continue;
			if (now->vm.demoted > then->vm.demoted)
				now->out = (uint64_t)((double)(now->vm.demoted - then->vm.demoted) /
						      s);
			if (now->vm.promoted > then->vm.promoted)
				now->home =
					(uint64_t)((double)(now->vm.promoted - then->vm.promoted) /
						   s);
			break;
		}
}

/* Both answers, or an exit code and @err. */
static int ask(const struct options *o, struct json_object **ret_status,
	       struct json_object **ret_vms, struct cram_error *err)
{
	int r = try_call(o, CRAM_IFACE_STATUS, "GetStatus", NULL, ret_status, err);

	return r == EXIT_OK ? try_call(o, CRAM_IFACE_STATUS, "ListVms", NULL, ret_vms, err) : r;
}

static int look(const struct options *o, struct top *t)
{
	cleanup_json struct json_object *status = NULL, *vms = NULL;
	struct cram_error err = { 0 };
	__typeof__(t->vms) spare = t->before;
	int r = ask(o, &status, &vms, &err);

	if (r == EXIT_OK) {
		t->before = t->vms;
		t->vms = spare;
		t->before_at = t->at;
		clock_gettime(CLOCK_MONOTONIC, &t->at);
		r = take_reports(t, status, vms, &err);
	}
	if (r != EXIT_OK) {
		cram_error_format(&err, t->trouble, sizeof(t->trouble));
		return r;
	}
	t->trouble[0] = '\0';
	if (t->known)
		take_rates(t);
	t->known = true;
	return EXIT_OK;
}

/* ------------------------------------------------------------------ the terminal */

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Keys and new sizes until it is time for the next look. */
static int wait_for_keys(struct top *t, int64_t until)
{
	while (!ended) {
		struct pollfd p = { .fd = STDIN_FILENO, .events = POLLIN };
		int64_t left = until - now_ms();
		char key;

		if (resized) {
			resized = 0;
			if (draw(t) < 0)
				return EXIT_FAILED;
		}
		if (left <= 0)
			return EXIT_OK;
		if (poll(&p, 1, (int)left) <= 0)
			continue;
		if (read(STDIN_FILENO, &key, 1) != 1) {
			ended = 1; /* the terminal has gone */
		} else if (key == 'q') {
			ended = 1;
		} else if (key == ' ') {
			return EXIT_OK;
		} else if (key == 's') {
			do
				t->sort = (t->sort + 1) % (BY_NAME + 1);
			while (t->sort != BY_NAME && !columns[t->sort].key);
			if (draw(t) < 0)
				return EXIT_FAILED;
		}
	}
	return EXIT_OK;
}

static int live(const struct options *o)
{
	const struct sigaction action = { .sa_handler = on_signal };
	struct top t = { .sort = 2 };
	struct termios before, raw;
	bool keys = tcgetattr(STDIN_FILENO, &before) == 0;
	const char *no_color = getenv("NO_COLOR");
	int r = EXIT_OK;

	setlocale(LC_CTYPE, "");
	t.utf8 = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
	t.color = !no_color || !no_color[0];
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGHUP, &action, NULL);
	sigaction(SIGWINCH, &action, NULL);
	if (keys) {
		raw = before;
		raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
		raw.c_cc[VSUSP] = _POSIX_VDISABLE; /* a stopped program leaves its screen behind */
		tcsetattr(STDIN_FILENO, TCSANOW, &raw);
	}
	fputs(ENTER, stdout);
	fflush(stdout);
	for (uint32_t i = 0; !ended && (o->count == 0 || i < o->count); i++) {
		int64_t until = now_ms() + o->interval_ms;

		r = look(o, &t);
		/* One that never answered is said as ever; one that is away may come back. */
		if (r != EXIT_OK && !t.known)
			break;
		r = draw(&t) < 0 ? EXIT_FAILED : EXIT_OK;
		if (r == EXIT_OK && i + 1 != o->count)
			r = wait_for_keys(&t, until);
		if (r != EXIT_OK)
			break;
	}
	fputs(LEAVE, stdout);
	fflush(stdout);
	if (keys)
		tcsetattr(STDIN_FILENO, TCSANOW, &before);
	if (r != EXIT_OK && !t.known)
		fprintf(stderr, "cramctl: %s\n", without_controls(t.trouble));
	array_free(&t.vms);
	array_free(&t.before);
	return r;
}

/* For a file or another program: the tables, one after the other. */
static int plain(const struct options *o)
{
	const struct timespec pause = {
		.tv_sec = o->interval_ms / 1000,
		.tv_nsec = (long)(o->interval_ms % 1000) * 1000000,
	};

	for (uint32_t i = 0; o->count == 0 || i < o->count; i++) {
		cleanup_json struct json_object *status = NULL, *vms = NULL;
		struct cram_error err = { 0 };
		struct json_object *list;
		int r;

		if (i > 0)
			nanosleep(&pause, NULL);
		r = ask(o, &status, &vms, &err);
		if (r != EXIT_OK) {
			complain(&err);
			return r;
		}
		if (o->json) {
			if (json_object_object_get_ex(vms, "vms", &list))
				json_object_object_add(status, "vms", json_object_get(list));
			print_json(status, true);
		} else {
			r = print_nodes(status);
			putchar('\n');
			if (r == EXIT_OK)
				r = print_vms(vms);
			if (r != EXIT_OK)
				return r;
			putchar('\n');
		}
		if (fflush(stdout) != 0)
			return EXIT_FAILED;
	}
	return EXIT_OK;
}

int run_top(const struct options *o, int argc, char **argv)
{
	const char *terminal = getenv("TERM");

	(void)argc;
	(void)argv;
	if (o->json || !isatty(STDOUT_FILENO) || !terminal || strcmp(terminal, "dumb") == 0)
		return plain(o);
	return live(o);
}
