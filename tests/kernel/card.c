/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See card.h. */
#include "card.h"

#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "private-node.h"

static FILE *monitor;

static void open_monitor(void)
{
	char path[64];
	glob_t ports;
	int fd = -1;

	need(glob("/sys/class/virtio-ports/*/name", 0, NULL, &ports) == 0,
	     "the host has ports of the emulator's");
	for (size_t i = 0; fd < 0 && i < ports.gl_pathc; i++) {
		if (strcmp(read_file(ports.gl_pathv[i]), "cram.monitor\n"))
			continue;
		ports.gl_pathv[i][strlen(ports.gl_pathv[i]) - strlen("/name")] = '\0';
		snprintf(path, sizeof(path), "/dev/%s", strrchr(ports.gl_pathv[i], '/') + 1);
		fd = open(path, O_RDWR | O_CLOEXEC);
		need(fd >= 0, "%s, the monitor, can be opened: %m", path);
	}
	globfree(&ports);
	need(fd >= 0, "the host was booted with --monitor");
	monitor = fdopen(fd, "r");
	need(monitor != NULL, "fdopen: %m");
	/* Refused where somebody has done so before. */
	dprintf(fd, "{\"execute\": \"qmp_capabilities\"}\n");
}

const char *card_monitor(const char *command, const char *arguments)
{
	static char *answer;
	static size_t size;
	static int count;
	char id[64];

	if (!monitor)
		open_monitor();
	snprintf(id, sizeof(id), "\"id\": \"%d-%d\"", getpid(), ++count);
	dprintf(fileno(monitor), "{\"execute\": \"%s\", \"arguments\": {%s}, %s}\n", command,
		arguments, id);
	do
		need(getline(&answer, &size, monitor) > 0, "the monitor answers to %s", command);
	while (!strstr(answer, id));
	return strstr(answer, "\"error\":") ? NULL : answer;
}

static const char *must(const char *command, const char *arguments)
{
	const char *answer = card_monitor(command, arguments);

	need(answer != NULL, "the card takes %s with %s", command, arguments);
	return answer;
}

void card_fault(const char *fault, bool enable, unsigned int delay_ms)
{
	char delay[32] = "", arguments[160];

	if (delay_ms)
		snprintf(delay, sizeof(delay), ", \"delay-ms\": %u", delay_ms);
	snprintf(arguments, sizeof(arguments),
		 "\"path\": \"cxl-mem0\", \"fault\": \"%s\", \"enable\": %s%s", fault,
		 enable ? "true" : "false", delay);
	must("x-cxl-set-compression-fault", arguments);
}

void card_resize(uint64_t physical, bool force)
{
	char arguments[128];

	snprintf(arguments, sizeof(arguments),
		 "\"path\": \"cxl-mem0\", \"size\": %llu, \"force\": %s",
		 (unsigned long long)physical, force ? "true" : "false");
	must("x-cxl-set-physical-size", arguments);
}

void card_overhead(uint64_t bytes)
{
	char arguments[128];

	snprintf(arguments, sizeof(arguments), "\"path\": \"cxl-mem0\", \"size\": %llu",
		 (unsigned long long)bytes);
	must("x-cxl-set-compression-overhead", arguments);
}

void card_interrupt(const char *watermark)
{
	char arguments[128];

	snprintf(arguments, sizeof(arguments), "\"path\": \"cxl-mem0\", \"watermark\": \"%s\"",
		 watermark);
	must("x-cxl-inject-watermark", arguments);
}

uint64_t card_value(const char *key)
{
	const char *answer = must("x-cxl-query-compression", "\"path\": \"cxl-mem0\""), *value;
	char field[64];

	snprintf(field, sizeof(field), "\"%s\": ", key);
	value = strstr(answer, field);
	need(value != NULL, "the card knows %s", key);
	return strtoull(value + strlen(field), NULL, 10);
}
