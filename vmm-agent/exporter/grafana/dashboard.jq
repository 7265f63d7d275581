# SPDX-License-Identifier: GPL-2.0-or-later
# panels.json as a dashboard for Grafana 9 and later. Rows of three panels, 24 columns wide; the data source is
# asked for when it is imported.
def datasource: { type: "prometheus", uid: "${DS_PROMETHEUS}" };

# A choice of label values, all of them by default.
def choice($name; $query):
	{
		name: $name, "label": $name, type: "query", datasource: datasource,
		query: { query: $query, refId: $name }, definition: $query,
		refresh: 2, sort: 1, includeAll: true, multi: true, allValue: ".*",
		current: { text: ["All"], value: ["$__all"] }
	};

def target($kind):
	.key as $i | .value | {
		refId: ([65 + $i] | implode), datasource: datasource,
		expr, legendFormat: .legend, range: ($kind == "timeseries"), instant: ($kind != "timeseries"),
		format: (if $kind == "table" then "table" else "time_series" end)
	};

def options:
	if .kind == "stat" then { textMode: "value_and_name", colorMode: "none", reduceOptions: { calcs: ["lastNotNull"] } }
	elif .kind == "table" then { showHeader: true }
	else { legend: { displayMode: "list", placement: "bottom" }, tooltip: { mode: "multi" } } end;

def panel($id; $x; $y):
	(.kind // "timeseries") as $kind | {
		id: $id, type: $kind, title, description, datasource: datasource,
		gridPos: { h: 8, w: 8, x: $x, y: $y },
		fieldConfig: { defaults: { unit, min: (if $kind == "timeseries" then 0 else null end) }, overrides: [] },
		options: options,
		targets: [.queries | to_entries[] | target($kind)]
	};

# Each row's heading, then its panels from left to right.
reduce .[] as $row ({ id: 1, y: 0, panels: [] };
	.panels += [{ id, type: "row", title: $row.row, collapsed: false, panels: [], gridPos: { h: 1, w: 24, x: 0, y } }]
	| .id += 1 | .y += 1
	| . as $at
	| .panels += [$row.panels | to_entries[]
		| .key as $i | .value | panel($at.id + $i; $i % 3 * 8; $at.y + ($i / 3 | floor) * 8)]
	| .id += ($row.panels | length)
	| .y += ($row.panels | length / 3 | ceil) * 8)
| {
	__inputs: [{ name: "DS_PROMETHEUS", "label": "Prometheus", type: "datasource", pluginId: "prometheus", pluginName: "Prometheus" }],
	__requires: [
		{ type: "grafana", id: "grafana", name: "Grafana", version: "9.0.0" },
		{ type: "datasource", id: "prometheus", name: "Prometheus", version: "1.0.0" }
	],
	uid: "cram", title: "Memory tiers of VMs", tags: ["cram"], editable: true, schemaVersion: 36, version: 1,
	time: { from: "now-1h", to: "now" }, refresh: "30s", timezone: "browser",
	templating: { list: [
		choice("instance"; "label_values(cram_up, instance)"),
		choice("domain"; "label_values(cram_vm_info{instance=~\"$instance\"}, domain)")
	] },
	panels
}
