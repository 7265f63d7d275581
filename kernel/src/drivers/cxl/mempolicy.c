// SPDX-License-Identifier: GPL-2.0-only
/*
 * CXL memory as a private node for memory policies.
 *
 * The least a driver of private memory can do: a RAM region bound to it, rather
 * than to cxl_region, comes up as a private node that processes reach with
 * mbind(2) and move_pages(2). No policy of its own, no limits, no tiering.
 */
#include <linux/device.h>
#include <linux/memory.h>
#include <linux/memory_hotplug.h>
#include <linux/module.h>
#include <linux/node_private.h>
#include <linux/slab.h>

#include "cxl.h"

#define RESOURCE_NAME	"System RAM (cxl_mempolicy)"

struct cxl_mempolicy {
	struct node_private np;
	struct range range;
	int nid;
};

static void folio_migrated(struct folio *src, struct folio *dst)
{
	/* Nothing to keep for a folio. */
}

static const struct node_private_ops cxl_mempolicy_ops = {
	.migrate_to = node_private_migrate_folios,
	.folio_migrate = folio_migrated,
	.flags = NP_OPS_MIGRATION | NP_OPS_MEMPOLICY,
};

static int cxl_mempolicy_probe(struct device *dev)
{
	struct cxl_region *cxlr = container_of(dev, struct cxl_region, dev);
	struct cxl_mempolicy *cm;
	u64 start, size;
	int nid, rc;

	rc = cxl_region_committed(cxlr);
	if (rc)
		return rc;
	if (cxlr->mode != CXL_DECODER_RAM)
		return dev_err_probe(dev, -EINVAL, "only RAM regions can be private memory\n");
	if (cxl_region_compresses(cxlr))
		return dev_err_probe(dev, -ENODEV,
				     "memory that compresses is for cxl_compression\n");

	start = cxlr->params.res->start;
	size = resource_size(cxlr->params.res);
	if (!IS_ALIGNED(start | size, memory_block_size_bytes()))
		return dev_err_probe(dev, -EINVAL,
				     "%#llx+%#llx is not a multiple of the memory block size %#lx\n",
				     start, size, memory_block_size_bytes());
	nid = phys_to_target_node(start);
	if (nid == NUMA_NO_NODE)
		nid = memory_add_physaddr_to_nid(start);

	cm = kzalloc(sizeof(*cm), GFP_KERNEL);
	if (!cm)
		return -ENOMEM;
	cm->np.owner = cxlr;
	cm->nid = nid;
	cm->range.start = start;
	cm->range.end = start + size - 1;

	rc = node_private_register(nid, &cm->np);
	if (rc) {
		dev_err(dev, "node %d cannot be private (%d): it has memory or an owner already\n",
			nid, rc);
		goto err_free;
	}
	rc = add_private_memory_driver_managed(nid, start, size, RESOURCE_NAME, MHP_NONE,
					       MMOP_ONLINE_MOVABLE, &cm->np);
	if (rc) {
		dev_err(dev, "cannot add %#llx+%#llx to node %d: %d\n", start, size, nid, rc);
		goto err_unregister;
	}
	/* Last, so that nobody is on memory that could not all be added. */
	rc = node_private_set_ops(nid, &cxl_mempolicy_ops);
	if (rc)
		goto err_remove;

	dev_set_drvdata(dev, cm);
	dev_info(dev, "private memory on node %d\n", nid);
	return 0;

err_remove:
	offline_and_remove_private_memory(nid, start, size);
err_unregister:
	/* Nobody can be on it yet. Should memory stay there all the same, so does the claim. */
	if (node_private_unregister(nid))
		return rc;
err_free:
	kfree(cm);
	return rc;
}

static void cxl_mempolicy_remove(struct device *dev)
{
	struct cxl_mempolicy *cm = dev_get_drvdata(dev);
	int rc;

	rc = offline_and_remove_private_memory(cm->nid, cm->range.start,
					       range_len(&cm->range));
	if (!rc)
		rc = node_private_unregister(cm->nid);
	if (!rc) {
		kfree(cm);
		return;
	}
	/*
	 * Unbinding cannot fail, nor can unloading. Memory that is in use outlives
	 * both, closed to everything, and so does the claim to its node.
	 */
	node_private_clear_ops(cm->nid, &cxl_mempolicy_ops);
	dev_err(dev, "node %d is in use (%d): its memory stays until reboot\n", cm->nid, rc);
}

static struct cxl_driver cxl_mempolicy_driver = {
	.name = "cxl_mempolicy",
	.probe = cxl_mempolicy_probe,
	.remove = cxl_mempolicy_remove,
	.id = CXL_DEVICE_REGION,
};

module_cxl_driver(cxl_mempolicy_driver);
MODULE_DESCRIPTION("CXL: regions as private memory for memory policies");
MODULE_LICENSE("GPL");
MODULE_IMPORT_NS(CXL);
