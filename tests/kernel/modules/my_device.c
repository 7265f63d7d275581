// SPDX-License-Identifier: GPL-2.0-only
/*
 * The device of the driver in docs/design/private-nodes.md: a range of memory. Takes it from the
 * system first, which has it as ordinary memory, offline, unless told not to.
 */
#include <linux/memory_hotplug.h>
#include <linux/module.h>
#include <linux/platform_device.h>

static unsigned long start, size;
module_param(start, ulong, 0444);
MODULE_PARM_DESC(start, "where the memory is");
module_param(size, ulong, 0444);
MODULE_PARM_DESC(size, "bytes of it");

static bool take = true;
module_param(take, bool, 0444);
MODULE_PARM_DESC(take, "take it from the system first");

static struct platform_device *device;

static int __init my_device_init(void)
{
	struct resource memory = DEFINE_RES_MEM(start, size);
	int rc = take ? offline_and_remove_memory(start, size) : 0;

	if (rc)
		return rc;
	device = platform_device_register_simple("my_driver", PLATFORM_DEVID_NONE, &memory, 1);
	return PTR_ERR_OR_ZERO(device);
}

static void __exit my_device_exit(void)
{
	platform_device_unregister(device);
}

module_init(my_device_init);
module_exit(my_device_exit);
MODULE_DESCRIPTION("memory for an example of a driver");
MODULE_LICENSE("GPL");
