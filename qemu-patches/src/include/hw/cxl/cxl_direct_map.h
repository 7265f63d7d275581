/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * CXL direct mappings: RAM of a type 3 device visible in a fixed memory
 * window as RAM, so that accesses need no emulation. Which part may be seen
 * so is derived from the HDM decoders; this is not a place for decode rules.
 *
 * Copyright (c) 2026 The cram authors
 */

#ifndef CXL_DIRECT_MAP_H
#define CXL_DIRECT_MAP_H

#include "hw/cxl/cxl.h"

/*
 * The machine's fixed memory windows, from now on candidates for direct
 * mappings. @state lives as long as the machine.
 */
void cxl_direct_map_init(CXLState *state);

/*
 * Bring the mappings in line with the decoders, the media state and the
 * devices present. To be called, under the BQL, after a change of any of
 * them; cheap when nothing follows from the change.
 */
void cxl_direct_map_update(void);

#endif
