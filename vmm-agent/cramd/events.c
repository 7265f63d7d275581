// SPDX-License-Identifier: GPL-2.0-or-later
/* The queue of what has happened; see events.h. */
#include "events.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>

void events_clear(struct events *events)
{
	for (size_t i = 0; i < events->queue.n; i++)
		if (events->queue.v[i].kind == EVENT_EXAMINED)
			vm_unref(events->queue.v[i].examined.vm);
	events->queue.n = 0;
	events->lost = 0;
}

void events_free(struct events *events)
{
	events_clear(events);
	array_free(&events->queue);
}

void events_say_of(struct events *events, const char *type, const char *uuid, const char *name,
		   uint64_t bytes, const char *text)
{
	struct event event = { .kind = EVENT_NEWS, .news.bytes = bytes };
	struct cram_event_report *news = &event.news;
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	news->time_us = (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
	snprintf(news->type, sizeof(news->type), "%s", type);
	snprintf(news->uuid, sizeof(news->uuid), "%s", uuid);
	snprintf(news->name, sizeof(news->name), "%s", name);
	snprintf(news->text, sizeof(news->text), "%s", text);
	if (array_push(&events->queue, event) < 0)
		events->lost++;
}

void events_say(struct events *events, const char *type, const struct vm *vm, uint64_t bytes,
		const char *fmt, ...)
{
	char text[sizeof(((struct cram_event_report *)NULL)->text)];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	events_say_of(events, type, vm ? vm->uuid : "", vm ? vm->name : "", bytes, text);
}

void events_examined(struct events *events, pid_t pid, struct vm *vm, const struct cram_error *err)
{
	struct event event = { .kind = EVENT_EXAMINED, .examined = { .pid = pid, .err = *err } };

	if (array_push(&events->queue, event) < 0)
		events->lost++;
	else if (vm)
		events->queue.v[events->queue.n - 1].examined.vm = vm_ref(vm);
}
