// SPDX-License-Identifier: GPL-2.0-or-later
/* The logs of a CXL card; see cxllogs.h. */
#include "util/cxllogs.h"

#include <errno.h>
#include <linux/cxl_mem.h>
#include <string.h>
#include <sys/ioctl.h>

/* b3702a51-2082-4805-aa6a-d2dee40e7895, as it travels */
static const uint8_t compression_log[16] = {
	0xb3, 0x70, 0x2a, 0x51, 0x20, 0x82, 0x48, 0x05,
	0xaa, 0x6a, 0xd2, 0xde, 0xe4, 0x0e, 0x78, 0x95,
};

int cxl_get_supported_logs(int fd, uint8_t *buf, size_t size)
{
	struct cxl_send_command command = {
		.id = CXL_MEM_COMMAND_ID_GET_SUPPORTED_LOGS,
		.out = { .size = (uint32_t)size, .payload = (uintptr_t)buf },
	};

	if (ioctl(fd, CXL_MEM_SEND_COMMAND, &command) < 0)
		return -errno;
	if (command.retval != 0 || command.out.size > size)
		return -EIO;
	return (int)command.out.size;
}

bool cxl_logs_compress(const uint8_t *answer, size_t size)
{
	const size_t head = 8, entry = 20;
	size_t n;

	if (size < head)
		return false;
	n = answer[0] | (size_t)answer[1] << 8;
	for (size_t i = 0; i < n && head + (i + 1) * entry <= size; i++)
		if (memcmp(answer + head + i * entry, compression_log, sizeof(compression_log)) ==
		    0)
			return true;
	return false;
}
