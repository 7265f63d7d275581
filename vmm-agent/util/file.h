/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whole small files: read with a cap, replace atomically. Not for procfs or sysfs (see the
 * readers of cramd), which want many small reads in a batch.
 */
#pragma once

#include <stddef.h>

/*
 * Read @path whole. *ret_data is malloc'ed, always NUL-terminated, caller frees; *ret_size without
 * that NUL. -EFBIG: longer than @max bytes; else the errno of open or read.
 */
int cram_file_read(const char *path, size_t max, char **ret_data, size_t *ret_size);

/*
 * Replace @path by @size bytes of @data: temporary file in the same directory, fsync, rename,
 * fsync of the directory. On error the old file is as it was and no temporary file stays.
 */
int cram_file_replace(const char *path, const void *data, size_t size, unsigned int mode);

/* Makes the directory @path for its owner alone, and those above it; no error when it is there. */
int cram_directory_make(const char *path);

/*
 * Removes temporary files of cram_file_replace() beside @path that nobody will rename any more,
 * because their writer was killed. Only for who alone writes @path. Errors leave files where they
 * are: they do no harm.
 */
void cram_file_sweep(const char *path);
