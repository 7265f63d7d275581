// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Domain XML by libxml2: <cram:tiering> and the few facts that decide whether and how a VM's RAM
 * can be moved. A document with a DTD is refused: libvirt never writes one.
 */
#include "settings/domain.h"

#include <errno.h>
#include <libxml/parser.h>
#include <libxml/tree.h>
#include <stdio.h>
#include <string.h>

#include "util/cleanup.h"
#include "util/utf8.h"

#define NOVA_NAMESPACE "http://openstack.org/xmlns/libvirt/nova/"

static void cleanup_docp(xmlDoc **doc)
{
	if (*doc)
		xmlFreeDoc(*doc);
}

static void cleanup_ctxtp(xmlParserCtxt **ctxt)
{
	if (*ctxt)
		xmlFreeParserCtxt(*ctxt);
}

static void cleanup_xmlp(xmlChar **s)
{
	if (*s)
		xmlFree(*s);
}

#define cleanup_doc  __attribute__((cleanup(cleanup_docp)))
#define cleanup_ctxt __attribute__((cleanup(cleanup_ctxtp)))
#define cleanup_xml  __attribute__((cleanup(cleanup_xmlp)))

#define X(s) ((const xmlChar *)(s))

static const char *chars(const xmlChar *s)
{
	return s ? (const char *)s : "";
}

static bool element_is(const xmlNode *n, const char *name)
{
	return n->type == XML_ELEMENT_NODE && xmlStrcmp(n->name, X(name)) == 0;
}

static const char *namespace_of(const xmlNode *n)
{
	return n->ns ? chars(n->ns->href) : "";
}

/* First child element of that name, or NULL; @parent may be NULL, which makes paths easy. */
static xmlNode *child(const xmlNode *parent, const char *name)
{
	for (xmlNode *n = parent ? parent->children : NULL; n; n = n->next)
		if (element_is(n, name))
			return n;
	return NULL;
}

static void attribute(xmlNode *n, const char *name, char *buf, size_t size)
{
	cleanup_xml xmlChar *v = n ? xmlGetNoNsProp(n, X(name)) : NULL;

	snprintf(buf, size, "%s", chars(v));
}

static bool attribute_is(xmlNode *n, const char *name, const char *value)
{
	char buf[64];

	attribute(n, name, buf, sizeof(buf));
	return strcmp(buf, value) == 0;
}

/* Text of an element without the white space around it. -E2BIG: longer than any value of ours. */
static int text_of(xmlNode *n, char *buf, size_t size)
{
	cleanup_xml xmlChar *v = xmlNodeGetContent(n);
	const char *s = chars(v), *end;

	s += strspn(s, " \t\r\n");
	end = s + strlen(s);
	while (end > s && strchr(" \t\r\n", end[-1]))
		end--;
	if ((size_t)(end - s) >= size)
		return -E2BIG;
	memcpy(buf, s, (size_t)(end - s));
	buf[end - s] = '\0';
	return 0;
}

static int parse_xml(const char *xml, size_t size, xmlDoc **ret_doc, struct cram_error *err)
{
	cleanup_ctxt xmlParserCtxt *ctxt = NULL;
	cleanup_doc xmlDoc *doc = NULL;

	if (size > CRAM_DOMAIN_XML_MAX)
		return cram_error_set(err, -EINVAL, "XML", "parse", NULL,
				      "%zu bytes exceed the limit of %u", size,
				      CRAM_DOMAIN_XML_MAX);
	ctxt = xmlNewParserCtxt();
	if (!ctxt)
		return -ENOMEM;
	doc = xmlCtxtReadMemory(ctxt, xml, (int)size, NULL, NULL,
				XML_PARSE_NONET | XML_PARSE_NOBLANKS | XML_PARSE_NOERROR |
					XML_PARSE_NOWARNING);
	if (!doc) {
		const xmlError *e = xmlCtxtGetLastError(ctxt);
		char where[48];
		size_t n;

		snprintf(where, sizeof(where), "XML line %d", e ? e->line : 0);
		/* libxml2 ends its messages with a newline. */
		n = e && e->message ? strcspn(e->message, "\n") : 0;
		return cram_error_set(err, -EINVAL, where, "parse", NULL, "%.*s", n ? (int)n : 15,
				      n ? e->message : "not well-formed");
	}
	if (doc->intSubset || doc->extSubset)
		return cram_error_set(err, -EINVAL, "XML", "parse", "remove it",
				      "a document type declaration is not allowed");
	if (!xmlDocGetRootElement(doc))
		return cram_error_set(err, -EINVAL, "XML", "parse", NULL, "it is empty");
	*ret_doc = TAKE_PTR(doc);
	return 0;
}

/* As much of a name as is repeated in a remark. */
#define NAME_PART 65

/* The first remark is kept: one is enough to send the operator to cramctl validate. */
static void warn_element(char *warning, size_t size, const xmlNode *n, const char *where)
{
	char name[NAME_PART], in[NAME_PART];

	if (warning[0] == '\0')
		snprintf(warning, size, "unknown element <%s> in <%s> is ignored",
			 utf8_head(name, sizeof(name), chars(n->name)),
			 utf8_head(in, sizeof(in), where));
}

/* Text where no value is, which looks like one: <cold>120</cold>. */
static void warn_text(char *warning, size_t size, const xmlNode *text)
{
	char in[NAME_PART];

	if (warning[0] == '\0' && xmlNodeIsText(text) && !xmlIsBlankNode(text))
		snprintf(warning, size, "text in <%s> is ignored",
			 utf8_head(in, sizeof(in), chars(text->parent->name)));
}

static int bad_element(struct cram_error *err, const char *element)
{
	if (!err)
		return -EDOM;
	/* cram_layer_set() has named the setting; in XML its name is the element's. */
	snprintf(err->object, sizeof(err->object), "<%s>", element);
	err->code = -EDOM;
	return -EDOM;
}

static void check_attributes(const xmlNode *n, const char *const *known, char *warning, size_t size)
{
	char name[NAME_PART], of[NAME_PART];

	for (const xmlAttr *a = n->properties; a; a = a->next) {
		const char *const *k = known;

		while (*k && (a->ns || xmlStrcmp(a->name, X(*k)) != 0))
			k++;
		if (!*k && warning[0] == '\0')
			snprintf(warning, size, "unknown attribute \"%s\" of <%s> is ignored",
				 utf8_head(name, sizeof(name), chars(a->name)),
				 utf8_head(of, sizeof(of), chars(n->name)));
	}
}

/* A setting has nothing in it but its value, if that is text. */
static void check_content(const xmlNode *n, bool is_text, char *warning, size_t size)
{
	for (const xmlNode *c = n->children; c; c = c->next) {
		if (c->type == XML_ELEMENT_NODE)
			warn_element(warning, size, c, chars(n->name));
		else if (!is_text)
			warn_text(warning, size, c);
	}
}

/* <quota>, <hard_limit>, <floor>: an integer with unit=, default KiB as in libvirt. */
static int size_element(xmlNode *n, enum cram_setting s, struct cram_vm_layer *layer, char *warning,
			size_t warning_size, struct cram_error *err)
{
	static const char *const known[] = { "unit", NULL };
	const char *name = cram_setting_name(s);
	char text[32], unit_name[16];
	uint64_t unit = KiB;

	check_attributes(n, known, warning, warning_size);
	check_content(n, true, warning, warning_size);
	attribute(n, "unit", unit_name, sizeof(unit_name));
	if (xmlHasProp(n, X("unit")) && cram_size_unit(unit_name, &unit) < 0) {
		cram_error_set(err, -EDOM, NULL, NULL,
			       "allowed: b bytes KB k KiB MB M MiB GB G GiB TB T TiB",
			       "bad unit \"%s\"", unit_name);
		return bad_element(err, name);
	}
	/* The unit has an attribute of its own, so the text may not carry another. */
	if (text_of(n, text, sizeof(text)) < 0 ||
	    (strpbrk(text, "bBkKmMgGtT") && strcmp(text, "unlimited") != 0)) {
		cram_error_set(
			err, -EDOM, NULL, NULL,
			"allowed: an integer, its unit in the attribute unit=", "not a size");
		return bad_element(err, name);
	}
	if (cram_layer_set(layer, s, text, unit, err) < 0)
		return bad_element(err, name);
	if (xmlHasProp(n, X("unit")) && strspn(text, "0123456789") != strlen(text) &&
	    warning[0] == '\0')
		snprintf(warning, warning_size,
			 "attribute \"unit\" of <%s> is ignored: %s has none", name, text);
	return 0;
}

static int other_element(xmlNode *n, enum cram_setting s, struct cram_vm_layer *layer,
			 char *warning, size_t warning_size, struct cram_error *err)
{
	static const char *const age[] = { "age", NULL }, *const none[] = { NULL };
	bool cold = s == CRAM_SET_COLD_AGE;
	char text[64];
	int r = 0;

	check_attributes(n, cold ? age : none, warning, warning_size);
	check_content(n, !cold, warning, warning_size);
	if (!cold)
		r = text_of(n, text, sizeof(text));
	else if (xmlHasProp(n, X("age")))
		attribute(n, "age", text, sizeof(text));
	else
		strcpy(text, "auto");
	if (r < 0) {
		cram_error_set(err, -EDOM, NULL, NULL, "allowed: an integer from 1 to 10000",
			       "the value is too long");
		return bad_element(err, "weight");
	}
	if (cram_layer_set(layer, s, text, 1, err) < 0)
		return bad_element(err, cold ? "cold age" : "weight");
	return 0;
}

static int parse_tiering(xmlNode *root, struct cram_vm_layer *ret_layer, char *warning,
			 size_t warning_size, struct cram_error *err)
{
	static const struct {
		const char *element;
		enum cram_setting setting;
		bool is_size;
	} elements[] = {
		{ "quota", CRAM_SET_QUOTA, true },    { "hard_limit", CRAM_SET_HARD_LIMIT, true },
		{ "floor", CRAM_SET_FLOOR, true },    { "weight", CRAM_SET_WEIGHT, false },
		{ "cold", CRAM_SET_COLD_AGE, false },
	};
	static const char *const known[] = { "mode", "tiers", NULL };
	static const enum cram_setting attributes[] = { CRAM_SET_MODE, CRAM_SET_TIERS };
	struct cram_vm_layer layer = { 0 };
	char text[64];
	int r;

	check_attributes(root, known, warning, warning_size);
	for (size_t i = 0; i < ARRAY_SIZE(attributes); i++) {
		if (!xmlHasProp(root, X(known[i])))
			continue;
		attribute(root, known[i], text, sizeof(text));
		if (cram_layer_set(&layer, attributes[i], text, 1, err) < 0) {
			snprintf(text, sizeof(text), "tiering %s", known[i]);
			return bad_element(err, text);
		}
	}
	for (xmlNode *n = root->children; n; n = n->next) {
		size_t i = 0;

		warn_text(warning, warning_size, n);
		if (n->type != XML_ELEMENT_NODE)
			continue;
		while (i < ARRAY_SIZE(elements) && !element_is(n, elements[i].element))
			i++;
		if (i == ARRAY_SIZE(elements) || strcmp(namespace_of(n), namespace_of(root)) != 0) {
			warn_element(warning, warning_size, n, chars(root->name));
			continue;
		}
		if (layer.set & (1U << elements[i].setting)) {
			cram_error_set(err, -EDOM, NULL, NULL, "keep one of them", "given twice");
			return bad_element(err, elements[i].element);
		}
		if (elements[i].is_size)
			r = size_element(n, elements[i].setting, &layer, warning, warning_size,
					 err);
		else
			r = other_element(n, elements[i].setting, &layer, warning, warning_size,
					  err);
		if (r < 0)
			return r;
	}
	*ret_layer = layer;
	return 0;
}

int cram_tiering_parse(const char *xml, size_t size, struct cram_vm_layer *ret_layer, char *warning,
		       size_t warning_size, struct cram_error *err)
{
	cleanup_doc xmlDoc *doc = NULL;
	xmlNode *root;
	int r;

	warning[0] = '\0';
	r = parse_xml(xml, size, &doc, err);
	if (r < 0)
		return r;
	root = xmlDocGetRootElement(doc);
	if (!element_is(root, "tiering") ||
	    (root->ns && strcmp(namespace_of(root), CRAM_XML_NAMESPACE) != 0))
		return cram_error_set(
			err, -EINVAL, "XML", "read the settings", "see the examples of the schema",
			"<%.64s> is not <tiering> of " CRAM_XML_NAMESPACE, chars(root->name));
	return parse_tiering(root, ret_layer, warning, warning_size, err);
}

/* <memory unit='KiB'>N</memory> and its like; 0 when absent or nonsense. */
static uint64_t size_of(xmlNode *n)
{
	char text[32], unit_name[16];
	uint64_t unit = KiB, bytes;

	if (!n || text_of(n, text, sizeof(text)) < 0)
		return 0;
	attribute(n, "unit", unit_name, sizeof(unit_name));
	if (unit_name[0] && cram_size_unit(unit_name, &unit) < 0)
		return 0;
	return cram_size_parse(text, unit, &bytes) < 0 ? 0 : bytes;
}

/* <page size='2' unit='MiB'/>; 0 when absent or nonsense. */
static uint64_t page_size(xmlNode *n)
{
	char text[32], unit_name[16];
	uint64_t unit = KiB, bytes;

	attribute(n, "size", text, sizeof(text));
	attribute(n, "unit", unit_name, sizeof(unit_name));
	if (unit_name[0] && cram_size_unit(unit_name, &unit) < 0)
		return 0;
	return text[0] && cram_size_parse(text, unit, &bytes) == 0 ? bytes : 0;
}

static void parse_metadata(xmlNode *metadata, xmlNode **ret_tiering, struct cram_domain *d)
{
	for (xmlNode *n = metadata ? metadata->children : NULL; n; n = n->next) {
		if (n->type != XML_ELEMENT_NODE)
			continue;
		if (strcmp(namespace_of(n), CRAM_XML_NAMESPACE) == 0) {
			if (!element_is(n, "tiering"))
				warn_element(d->warning, sizeof(d->warning), n, "metadata");
			else if (!*ret_tiering)
				*ret_tiering = n;
		} else if (element_is(n, "instance") &&
			   strncmp(namespace_of(n), NOVA_NAMESPACE, strlen(NOVA_NAMESPACE)) == 0) {
			attribute(child(n, "flavor"), "name", d->flavour, sizeof(d->flavour));
		}
	}
}

static void parse_backing(xmlNode *backing, struct cram_domain *d)
{
	xmlNode *source = child(backing, "source");

	if (attribute_is(source, "type", "memfd"))
		d->source = CRAM_MEMORY_MEMFD;
	else if (attribute_is(source, "type", "file"))
		d->source = CRAM_MEMORY_FILE;
	d->shared = attribute_is(child(backing, "access"), "mode", "shared");
	d->access_private = attribute_is(child(backing, "access"), "mode", "private");
	d->hugepages = child(backing, "hugepages") != NULL;
	d->hugepage = page_size(child(child(backing, "hugepages"), "page"));
	d->locked = child(backing, "locked") != NULL;
}

static void parse_cells(xmlNode *numa, struct cram_domain *d)
{
	for (xmlNode *n = numa ? numa->children : NULL; n; n = n->next) {
		cleanup_xml xmlChar *memory = NULL;
		struct cram_domain_cell *cell;
		char text[32], unit_name[16];
		uint64_t unit = KiB, v;

		if (!element_is(n, "cell") || d->n_cells == CRAM_MAX_CELLS)
			continue;
		cell = &d->cells[d->n_cells];
		cell->id = d->n_cells++;
		attribute(n, "id", text, sizeof(text));
		if (text[0] && cram_size_parse(text, 1, &v) == 0 && v <= UINT32_MAX)
			cell->id = (uint32_t)v;
		attribute(n, "unit", unit_name, sizeof(unit_name));
		if (unit_name[0] && cram_size_unit(unit_name, &unit) < 0)
			continue;
		attribute(n, "memory", text, sizeof(text));
		if (cram_size_parse(text, unit, &v) == 0)
			cell->bytes = v;
		d->access_private |= attribute_is(n, "memAccess", "private");
		cell->shared = attribute_is(n, "memAccess", "shared") ||
			       (d->shared && !xmlHasProp(n, X("memAccess")));
	}
}

static void parse_cputune(xmlNode *cputune, struct cram_domain *d)
{
	for (xmlNode *n = cputune ? cputune->children : NULL; n; n = n->next) {
		if (!element_is(n, "vcpusched") && !element_is(n, "emulatorsched") &&
		    !element_is(n, "iothreadsched"))
			continue;
		if (attribute_is(n, "scheduler", "fifo") || attribute_is(n, "scheduler", "rr"))
			d->realtime = true;
	}
}

static void parse_device(xmlNode *n, struct cram_domain *d)
{
	char type[32];

	attribute(n, "type", type, sizeof(type));
	if (element_is(n, "memory")) {
		d->n_memory_devices++;
	} else if (element_is(n, "hostdev")) {
		/* USB and SCSI host devices go through the host's drivers and pin nothing. */
		if (strcmp(type, "pci") == 0 || strcmp(type, "mdev") == 0)
			d->iommu_pinned = true;
	} else if (element_is(n, "interface")) {
		if (strcmp(type, "hostdev") == 0 || strcmp(type, "vdpa") == 0)
			d->iommu_pinned = true;
		else if (strcmp(type, "vhostuser") == 0)
			d->vhost_user = true;
	} else if (element_is(n, "disk")) {
		/* A userspace NVMe disk is a VFIO device under another name. */
		if (strcmp(type, "vhostvdpa") == 0 || strcmp(type, "nvme") == 0)
			d->iommu_pinned = true;
		else if (strcmp(type, "vhostuser") == 0)
			d->vhost_user = true;
	} else if (element_is(n, "filesystem")) {
		if (attribute_is(child(n, "driver"), "type", "virtiofs"))
			d->vhost_user = true;
	} else if (element_is(n, "memballoon")) {
		d->free_page_reporting = attribute_is(n, "freePageReporting", "on");
	}
}

static void parse_hardware(xmlNode *domain, struct cram_domain *d)
{
	xmlNode *devices = child(domain, "devices");
	xmlNode *numatune = child(child(domain, "numatune"), "memory");

	d->ram = size_of(child(domain, "memory"));
	d->current =
		child(domain, "currentMemory") ? size_of(child(domain, "currentMemory")) : d->ram;
	parse_backing(child(domain, "memoryBacking"), d);
	parse_cells(child(child(domain, "cpu"), "numa"), d);
	parse_cputune(child(domain, "cputune"), d);
	d->launch_security = child(domain, "launchSecurity") != NULL;
	attribute(numatune, "mode", d->numatune_mode, sizeof(d->numatune_mode));
	attribute(numatune, "nodeset", d->numatune_nodeset, sizeof(d->numatune_nodeset));
	for (xmlNode *n = devices ? devices->children : NULL; n; n = n->next)
		if (n->type == XML_ELEMENT_NODE)
			parse_device(n, d);
}

int cram_domain_parse(const char *xml, size_t size, struct cram_domain *ret_domain,
		      struct cram_error *err)
{
	cleanup_doc xmlDoc *doc = NULL;
	xmlNode *root, *partition, *tiering = NULL, *id;
	struct cram_domain d = { 0 };
	int r;

	r = parse_xml(xml, size, &doc, err);
	if (r < 0)
		return r;
	root = xmlDocGetRootElement(doc);
	if (element_is(root, "domstatus"))
		root = child(root, "domain");
	if (!root || !element_is(root, "domain"))
		return cram_error_set(err, -EINVAL, "XML", "parse", NULL,
				      "there is no <domain> in it");
	id = child(root, "name");
	if (id && text_of(id, d.name, sizeof(d.name)) < 0)
		return cram_error_set(err, -EINVAL, "<name>", NULL, NULL, "longer than 255 bytes");
	id = child(root, "uuid");
	if (id && text_of(id, d.uuid, sizeof(d.uuid)) < 0)
		return cram_error_set(err, -EINVAL, "<uuid>", NULL, NULL, "longer than 36 bytes");
	partition = child(child(root, "resource"), "partition");
	if (partition && text_of(partition, d.partition, sizeof(d.partition)) < 0)
		return cram_error_set(err, -EINVAL, "<partition>", NULL, NULL,
				      "longer than 255 bytes");
	parse_hardware(root, &d);
	parse_metadata(child(root, "metadata"), &tiering, &d);
	r = 0;
	if (tiering) {
		r = parse_tiering(tiering, &d.tiering, d.warning, sizeof(d.warning), err);
		d.has_tiering = r == 0;
		d.bad_tiering = r < 0;
	}
	/* Bad settings do not hide the VM: it runs untiered and the reason is shown. */
	*ret_domain = d;
	return r;
}
