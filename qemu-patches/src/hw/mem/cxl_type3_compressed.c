/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A CXL type 3 device that compresses: its type and its properties
 *
 * Copyright (c) 2026 The cram authors
 */

#include "qemu/osdep.h"
#include "hw/cxl/cxl.h"
#include "hw/cxl/cxl_compress.h"
#include "hw/qdev-properties.h"
#include "qapi/error.h"

#define TYPE_CXL_TYPE3_COMPRESSED "cxl-type3-compressed"
OBJECT_DECLARE_TYPE(CXLType3CompressedDev, CXLType3CompressedClass,
                    CXL_TYPE3_COMPRESSED)

struct CXLType3CompressedDev {
    CXLType3Dev parent_obj;

    CXLCompressConfig config;
};

struct CXLType3CompressedClass {
    CXLType3Class parent_class;

    void (*parent_realize)(PCIDevice *pci_dev, Error **errp);
    PCIUnregisterFunc *parent_exit;
    ResettablePhases parent_phases;
};

static void ct3c_realize(PCIDevice *pci_dev, Error **errp)
{
    ERRP_GUARD();
    CXLType3CompressedDev *dev = CXL_TYPE3_COMPRESSED(pci_dev);
    CXLType3CompressedClass *cc = CXL_TYPE3_COMPRESSED_GET_CLASS(dev);

    cc->parent_realize(pci_dev, errp);
    if (*errp) {
        return;
    }
    if (!cxl_compress_realize(CXL_TYPE3(dev), &dev->config, errp)) {
        cc->parent_exit(pci_dev);
    }
}

static void ct3c_exit(PCIDevice *pci_dev)
{
    cxl_compress_exit(CXL_TYPE3(pci_dev));
    CXL_TYPE3_COMPRESSED_GET_CLASS(pci_dev)->parent_exit(pci_dev);
}

static void ct3c_reset_hold(Object *obj, ResetType type)
{
    CXL_TYPE3_COMPRESSED_GET_CLASS(obj)->parent_phases.hold(obj, type);
    cxl_compress_reset(CXL_TYPE3(obj));
    cxl_compress_add_commands(CXL_TYPE3(obj));
}

static const Property ct3c_props[] = {
    DEFINE_PROP_SIZE("physical-size", CXLType3CompressedDev,
                     config.physical_size, 0),
    DEFINE_PROP_STRING("algorithm", CXLType3CompressedDev, config.algorithm),
    DEFINE_PROP_UINT32("unit", CXLType3CompressedDev, config.unit, 64),
    DEFINE_PROP_SIZE("low-watermark", CXLType3CompressedDev,
                     config.low_watermark, CXL_COMPRESS_WATERMARK_AUTO),
    DEFINE_PROP_SIZE("high-watermark", CXLType3CompressedDev,
                     config.high_watermark, CXL_COMPRESS_WATERMARK_AUTO),
    DEFINE_PROP_UINT32("settle-ms", CXLType3CompressedDev, config.settle_ms,
                       100),
    DEFINE_PROP_UINT32("report-ms", CXLType3CompressedDev, config.report_ms,
                       200),
    DEFINE_PROP_UINT32("worst-page-size", CXLType3CompressedDev,
                       config.worst_page_size, 4096),
    DEFINE_PROP_SIZE("reservation-step", CXLType3CompressedDev,
                     config.reservation_step, 4096),
    DEFINE_PROP_SIZE("reporting-lag", CXLType3CompressedDev,
                     config.reporting_lag, 0),
};

static void ct3c_class_init(ObjectClass *oc, void *data)
{
    DeviceClass *dc = DEVICE_CLASS(oc);
    PCIDeviceClass *pc = PCI_DEVICE_CLASS(oc);
    CXLType3CompressedClass *cc = CXL_TYPE3_COMPRESSED_CLASS(oc);

    cc->parent_realize = pc->realize;
    pc->realize = ct3c_realize;
    cc->parent_exit = pc->exit;
    pc->exit = ct3c_exit;
    resettable_class_set_parent_phases(RESETTABLE_CLASS(oc), NULL,
                                       ct3c_reset_hold, NULL,
                                       &cc->parent_phases);
    dc->desc = "CXL Memory Device (Type 3) that compresses";
    device_class_set_props(dc, ct3c_props);
    CXL_TYPE3_CLASS(oc)->nr_msix_vectors = CXL_COMPRESS_MSIX_NR;
}

static const TypeInfo ct3c_info = {
    .name = TYPE_CXL_TYPE3_COMPRESSED,
    .parent = TYPE_CXL_TYPE3,
    .class_size = sizeof(CXLType3CompressedClass),
    .class_init = ct3c_class_init,
    .instance_size = sizeof(CXLType3CompressedDev),
};

static void ct3c_registers(void)
{
    type_register_static(&ct3c_info);
}

type_init(ct3c_registers);
