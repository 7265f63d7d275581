// SPDX-License-Identifier: GPL-2.0-only
/*
 * A driver that has a node of compressed memory hold room back, or give it again, in the moment that
 * it is loaded. The error is the one that it was told.
 */
#include <linux/cram.h>
#include <linux/module.h>

static int nid = NUMA_NO_NODE;
module_param(nid, int, 0444);
MODULE_PARM_DESC(nid, "the node");

static int pressure = -1;
module_param(pressure, int, 0444);
MODULE_PARM_DESC(pressure, "thousandths of the room; none: all of it is given again");

static int __init set_pressure_init(void)
{
	return pressure < 0 ? cram_clear_pressure(nid) : cram_set_pressure(nid, pressure);
}

static void __exit set_pressure_exit(void)
{
}

module_init(set_pressure_init);
module_exit(set_pressure_exit);
MODULE_DESCRIPTION("holds room on a card back");
MODULE_LICENSE("GPL");
