// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Connections, errors and output shared by the commands.
 */
#include <errno.h>
#include <limits.h>
#include <locale.h>
#include <stdio.h>
#include <string.h>
#include <wchar.h>
#include <wctype.h>

#include "ctl/ctl.h"
#include "util/size.h"

/*
 * VM names come from tenants: no terminal codes. In UTF-8 those of eight bits are two bytes, of
 * which the second stands alone where it is taken for Latin-1.
 */
char *without_controls(char *text)
{
	char *to = text;

	for (const char *c = text; *c; c++) {
		bool two =
			c[0] == '\xc2' && (unsigned char)c[1] >= 0x80 && (unsigned char)c[1] < 0xa0;

		*to++ = two || (unsigned char)*c < 0x20 || *c == 0x7f ? '?' : *c;
		c += two;
	}
	*to = '\0';
	return text;
}

void complain(const struct cram_error *err)
{
	char text[CRAM_ERROR_TEXT];

	cram_error_format(err, text, sizeof(text));
	fprintf(stderr, "cramctl: %s\n", without_controls(text));
}

/* The exit code of a failed client call. */
static int code_of(int r, const char *remote_error)
{
	if (r == -EREMOTEIO && remote_error) {
		if (strcmp(remote_error, CRAM_ERR_VM_NOT_FOUND) == 0 ||
		    strcmp(remote_error, CRAM_ERR_VM_AMBIGUOUS) == 0)
			return EXIT_NO_VM;
		if (strcmp(remote_error, CRAM_ERR_INVALID_SETTING) == 0 ||
		    strcmp(remote_error, CRAM_ERR_CONFIG_INVALID) == 0 ||
		    strcmp(remote_error, CRAM_ERR_PARAMETER) == 0)
			return EXIT_INVALID;
		return EXIT_FAILED;
	}
	if (r == -EREMOTEIO || r == -ENOMEM)
		return EXIT_FAILED;
	return EXIT_NO_AGENT;
}

int failed(int r, const char *remote_error, const struct cram_error *err)
{
	complain(err);
	return code_of(r, remote_error);
}

static int connect_to(const struct options *o, const char *interface, struct cram_client **ret,
		      struct cram_error *err)
{
	bool control = strcmp(interface, CRAM_IFACE_CONTROL) == 0;
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", o->socket_dir, control ? "control" : "status");
	return cram_client_connect(path, interface, o->timeout_ms, ret, err);
}

int open_client(const struct options *o, const char *interface, struct cram_client **ret)
{
	struct cram_error err = { 0 };
	int r = connect_to(o, interface, ret, &err);

	return r < 0 ? failed(r, NULL, &err) : EXIT_OK;
}

int try_call(const struct options *o, const char *interface, const char *method,
	     struct json_object *parameters, struct json_object **ret_reply, struct cram_error *err)
{
	cleanup_client struct cram_client *client = NULL;
	const char *remote_error = NULL;
	int r = connect_to(o, interface, &client, err);

	if (r < 0)
		json_object_put(parameters);
	else
		r = cram_client_call(client, method, parameters, ret_reply, &remote_error, err);
	return r < 0 ? code_of(r, remote_error) : EXIT_OK;
}

int call(const struct options *o, const char *interface, const char *method,
	 struct json_object *parameters, struct json_object **ret_reply)
{
	struct cram_error err = { 0 };
	int r = try_call(o, interface, method, parameters, ret_reply, &err);

	if (r != EXIT_OK)
		complain(&err);
	return r;
}

struct json_object *vm_parameters(const char *name)
{
	struct json_object *o = json_object_new_object();

	if (name)
		json_object_object_add(o, "vm", json_object_new_string(name));
	return o;
}

int print_json(struct json_object *o, bool lines)
{
	int how = (lines ? JSON_C_TO_STRING_PLAIN : JSON_C_TO_STRING_PRETTY) |
		  JSON_C_TO_STRING_NOSLASHESCAPE;

	puts(json_object_to_json_string_ext(o, how));
	return EXIT_OK;
}

/*
 * The character at @text, whatever the locale of this process: returns its length in bytes, and
 * *ret_columns of a terminal that it takes; -1: none that may be shown.
 */
static size_t character(const char *text, int *ret_columns)
{
	static locale_t utf8;
	mbstate_t state = { 0 };
	locale_t before;
	size_t length;
	wchar_t c;

	if (!utf8)
		utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
	before = uselocale(utf8 ? utf8 : (locale_t)0);
	length = mbrtowc(&c, text, strlen(text), &state);
	if (length == 0 || length == (size_t)-1 || length == (size_t)-2) {
		length = 1;
		*ret_columns = -1;
	} else {
		*ret_columns = iswprint((wint_t)c) ? wcwidth(c) : -1;
	}
	uselocale(before);
	return length;
}

int text_columns(const char *text)
{
	int sum = 0, columns;

	for (; *text; text += character(text, &columns), sum += columns < 0 ? 1 : columns)
		;
	return sum;
}

void print_text(const char *text, int width)
{
	int used = text_columns(text), columns;
	size_t n;

	if (width < 0)
		printf("%*s", used < -width ? -width - used : 0, "");
	for (; *text; text += n) {
		n = character(text, &columns);
		if (columns < 0)
			putchar('?');
		else
			fwrite(text, 1, n, stdout);
	}
	if (width > used)
		printf("%*s", width - used, "");
}

void print_size(uint64_t bytes, int width)
{
	char text[32];

	print_text(cram_size_format(bytes, text, sizeof(text)), -width);
}

void print_line(const char *name, uint64_t bytes, const char *remark)
{
	printf("  %-26s", name);
	print_size(bytes, 12);
	printf("%s%s\n", remark[0] ? "   " : "", remark);
}
