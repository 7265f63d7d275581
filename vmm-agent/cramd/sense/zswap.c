// SPDX-License-Identifier: GPL-2.0-or-later
/* Compressed swap; see zswap.h. */
#include "zswap.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "policy/saturate.h"

#define PARAMETERS "/sys/module/zswap/parameters/"

/* Full once, a pool takes nothing until it is below this part of its limit (mm/zswap.c). */
#define ACCEPT_PERCENT 90
#define POOL_PERCENT   20

static uint64_t percent(const struct sysroot *root, const char *path, uint64_t otherwise)
{
	uint64_t value;

	return sysroot_read_u64(root, path, &value) < 0 || value > 100 ? otherwise : value;
}

static void refuse(struct zswap *zswap, const char *why)
{
	snprintf(zswap->why, sizeof(zswap->why), "%s", why);
}

bool zswap_is_on(const struct sysroot *root)
{
	char enabled[16];

	return sysroot_read(root, PARAMETERS "enabled", enabled, sizeof(enabled), NULL) == 0 &&
	       enabled[0] == 'Y';
}

void zswap_read(const struct sysroot *root, struct zswap *ret_zswap)
{
	struct zswap zswap = {
		.pool = sysroot_meminfo(root, "Zswap:"),
		.swap_free = sysroot_meminfo(root, "SwapFree:"),
	};
	char enabled[16];
	int r = sysroot_read(root, PARAMETERS "enabled", enabled, sizeof(enabled), NULL);

	if (r == -ENOENT)
		refuse(&zswap, "this kernel has no zswap (CONFIG_ZSWAP)");
	else if (r < 0)
		snprintf(zswap.why, sizeof(zswap.why), PARAMETERS "enabled cannot be read: %s",
			 strerror(-r));
	else if (enabled[0] != 'Y')
		refuse(&zswap, "zswap is off: write 1 to " PARAMETERS "enabled");
	else if (sysroot_meminfo(root, "SwapTotal:") == 0)
		refuse(&zswap,
		       "there is no swap, and each page in zswap keeps a place in it: add as much "
		       "as memory is to leave DRAM (swapon)");
	else if (sysroot_exists(root, "/sys/devices/system/node/node62") ||
		 sysroot_exists(root, "/sys/devices/system/node/node63"))
		refuse(&zswap, "this host has more than 62 NUMA nodes");
	if (sysroot_read(root, PARAMETERS "compressor", zswap.compressor, sizeof(zswap.compressor),
			 NULL) < 0)
		strcpy(zswap.compressor, "?");
	zswap.compressor[strcspn(zswap.compressor, "\n")] = '\0';
	zswap.limit =
		scale(sysroot_meminfo(root, "MemTotal:"),
		      percent(root, PARAMETERS "max_pool_percent", POOL_PERCENT) *
			      percent(root, PARAMETERS "accept_threshold_percent", ACCEPT_PERCENT),
		      10000);
	*ret_zswap = zswap;
}
