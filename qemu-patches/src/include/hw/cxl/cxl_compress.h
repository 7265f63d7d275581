/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A CXL type 3 device that compresses: the part the device model sees. The
 * card is in cxl-compress.c, its books in cxl-compress-account.c, what
 * compresses in cxl-compress-codec.c, the mailbox commands in
 * cxl-compress-cmds.c, the monitor commands in cxl-compress-qmp.c.
 *
 * Copyright (c) 2026 The cram authors
 */

#ifndef CXL_COMPRESS_H
#define CXL_COMPRESS_H

#include "qemu/uuid.h"
#include "hw/cxl/cxl_device.h"

/* The capacity report as a log for Get Log (0401h) */
extern const QemuUUID cxl_compress_log_uuid;

/*
 * Get Log of that log. As a rule the answer comes later (CXL_MBOX_DEFERRED).
 */
CXLRetCode cxl_compress_get_log(CXLType3Dev *ct3d, uint32_t offset,
                                uint32_t length);

/*
 * The rest is called under the BQL. Realize starts the card's thread, exit
 * tells it to end; it never waits for it.
 */
bool cxl_compress_realize(CXLType3Dev *ct3d, Error **errp);
void cxl_compress_exit(CXLType3Dev *ct3d);

/*
 * To follow a reset of the mailbox: adds the card's commands and forgets a
 * command in flight. What is stored survives.
 */
void cxl_compress_reset(CXLType3Dev *ct3d);

/* Sanitize: release everything; poll until it is done */
void cxl_compress_sanitize(CXLType3Dev *ct3d);
bool cxl_compress_sanitizing(CXLType3Dev *ct3d);

#endif
