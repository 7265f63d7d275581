// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Interface descriptions: the methods are written here, the types come from the field tables, so
 * that a description cannot disagree with what is sent.
 */
#include "protocol/idl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/model.h"
#include "protocol/protocol.h"

static const char service_idl[] =
	"interface org.varlink.service\n\n"
	"method GetInfo() -> (vendor: string, product: string, version: string, url: string, "
	"interfaces: []string)\n"
	"method GetInterfaceDescription(interface: string) -> (description: string)\n\n"
	"error InterfaceNotFound (interface: string)\n"
	"error MethodNotFound (method: string)\n"
	"error InvalidParameter (parameter: string)\n"
	"error ExpectedMore ()\n";

static const char status_methods[] =
	"method Hello(version: int) -> (version: int, agent: string)\n"
	"method GetStatus() -> (host: Host, dram: []Dram, nodes: []Node)\n"
	"method ListVms() -> (vms: []Vm)\n"
	"method ShowVm(vm: string) -> (vm: Vm, settings: []Setting)\n"
	"method ExplainVm(vm: string) -> (vm: Vm, reasons: []Reason)\n"
	"method ListNodes() -> (nodes: []Node)\n"
	"method Check() -> (findings: []Finding)\n"
	"method ListOverrides() -> (overrides: []Override)\n"
	"method Fits(ram: int) -> (fits: bool, known: bool, room: int, message: string)\n"
	"method Record() -> (record: object)\n"
	"method Monitor() -> (event: Event, lost: ?int)\n"
	"method GetMetrics() -> (host: Host, dram: []Dram, nodes: []Node, durations: object, "
	"texts: []string, numbers: []string, rows: [][]string)\n\n";

static const char control_methods[] =
	"method Hello(version: int) -> (version: int, agent: string)\n"
	"method SetQuota(vm: string, mode: ?string, quota: object, hard_limit: object, "
	"floor: object, weight: ?int, cold_age: object, tiers: ?string, persist: ?bool) "
	"-> (accepted: bool, vm: Vm, missing: int, kept: bool, message: string, changed: string)\n"
	"method DropOverrides(vm: string) -> (accepted: bool, vm: ?Vm, missing: int, kept: bool, "
	"message: string, changed: string)\n"
	"method Pause(vm: ?string) -> (message: string, changed: string)\n"
	"method Resume(vm: ?string) -> (message: string, changed: string)\n"
	"method Drain(vm: ?string) -> (accepted: bool, vm: ?Vm, missing: int, kept: bool, "
	"message: string, changed: string)\n"
	"method Reload() -> (generation: int, changed: string)\n"
	"method Admit(operation: string, xml: string) -> (admitted: bool, message: string)\n"
	"method Refuse() -> ()\n"
	"method AddVm(pid: int) -> (accepted: bool, vm: Vm, missing: int, kept: bool, "
	"message: string, changed: string)\n\n";

/* They are the same on both interfaces and so carry the name of neither. */
static const char errors[] = "# errors: org.cramd.VmNotFound (vm: string), "
			     "org.cramd.VmAmbiguous (vm: string),\n"
			     "# org.cramd.InvalidSetting (message: string), "
			     "org.cramd.Refused (message: string),\n"
			     "# org.cramd.ConfigInvalid (message: string), "
			     "org.cramd.Internal (message: string),\n"
			     "# org.cramd.VersionMismatch (supported: int)\n";

static const char *type_of(const struct cram_field *field)
{
	switch (field->type) {
	case CRAM_FIELD_U64:
		return "?int";
	case CRAM_FIELD_U32:
	case CRAM_FIELD_I32:
		return "int";
	case CRAM_FIELD_BOOL:
		return "bool";
	case CRAM_FIELD_TEXT:
		return "string";
	case CRAM_FIELD_VALUE:
		return "object"; /* a number, a string or null */
	}
	return "";
}

static void write_type(FILE *f, const char *name, const struct cram_field *fields, size_t n)
{
	fprintf(f, "type %s (\n", name);
	for (size_t i = 0; i < n; i++)
		fprintf(f, "  # %s\n  %s: %s%s\n", fields[i].help, fields[i].name,
			type_of(&fields[i]), i + 1 < n ? "," : "");
	fprintf(f, ")\n\n");
}

int cram_interface_description(const char *interface, char **ret)
{
	bool status = strcmp(interface, CRAM_IFACE_STATUS) == 0;
	char *text = NULL;
	size_t size;
	FILE *f;

	if (strcmp(interface, "org.varlink.service") == 0) {
		text = strdup(service_idl);
		if (!text)
			return -ENOMEM;
		*ret = text;
		return 0;
	}
	if (!status && strcmp(interface, CRAM_IFACE_CONTROL) != 0)
		return -ENOENT;
	f = open_memstream(&text, &size);
	if (!f)
		return -ENOMEM;
	fprintf(f, "interface %s\n\n", interface);
	write_type(f, "Vm", cram_vm_fields, cram_n_vm_fields);
	write_type(f, "Setting", cram_setting_fields, cram_n_setting_fields);
	if (status) {
		write_type(f, "Host", cram_host_fields, cram_n_host_fields);
		write_type(f, "Dram", cram_dram_fields, cram_n_dram_fields);
		write_type(f, "Node", cram_node_fields, cram_n_node_fields);
		write_type(f, "Reason", cram_reason_fields, cram_n_reason_fields);
		write_type(f, "Finding", cram_check_fields, cram_n_check_fields);
		write_type(f, "Override", cram_override_fields, cram_n_override_fields);
		write_type(f, "Event", cram_event_fields, cram_n_event_fields);
	}
	fputs(status ? status_methods : control_methods, f);
	fputs(errors, f);
	if (fclose(f) != 0) {
		free(text);
		return -ENOMEM;
	}
	*ret = text;
	return 0;
}
