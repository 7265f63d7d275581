/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The two sockets: listening and clients (listen.c), the methods of docs/reference/protocol.md
 * (methods.c). Runs on the loop: requests as they come, and after each turn what daemon.events has.
 * Answers from the last finished round; nothing here waits for a scan, a move or libvirt.
 */
#pragma once

#include "../daemon.h"

/* Clients at a time on each socket; more wait in the backlog. */
#define SERVER_CLIENTS_MAX 128

struct server; /* owns its descriptors */

/*
 * Creates <run_dir>/control (0660, group cramd) and <run_dir>/status (0660, group cramd-read); a
 * group that does not exist leaves the socket root's alone. Replaces sockets a dead agent left;
 * -EADDRINUSE: an agent answers there.
 */
int server_start(struct daemon *d, struct cram_error *err, struct server **ret_server);
void server_stop(struct server *server);
/* Who takes nothing of its answers for @ms is dropped; a minute if nothing is said. */
void server_set_patience(struct server *server, uint32_t ms);
