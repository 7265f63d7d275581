/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Frames between tests/host/guest-exec and the guest's server, over a virtio
 * serial port. Not for anything outside the tests.
 *
 * A request is a FRAME_RUN whose data is a shell command. The answer is any
 * number of FRAME_OUT and FRAME_ERR and one FRAME_EXIT whose data is the status
 * as one byte. Both sides ignore frames of another request's id: a client that
 * went away leaves nothing that could be taken for the next one's answer.
 */
#ifndef CRAM_GUEST_PROTO_H
#define CRAM_GUEST_PROTO_H

#include <stdint.h>

#define FRAME_MAGIC    0x4d415243u /* "CRAM" */
#define FRAME_DATA_MAX 65536u

enum frame_type {
	FRAME_RUN = 1,
	FRAME_OUT = 2,
	FRAME_ERR = 3,
	FRAME_EXIT = 4,
};

struct frame {
	uint32_t magic;
	uint32_t type;
	uint32_t id;
	uint32_t size; /* bytes of data that follow */
};

#endif
