"use strict";
// What was set: what differs between sites first; and whose model does how well on whose data.

const written = value => (value == null ? "none" : String(value));

function paramsPanel(page) {
  const { params } = page.data;
  if (!params.length) return panel("params", "w12", "Parameters", null, h("p", { class: "say" }, "No site has logged a parameter."));
  const rows = params.slice(0, 500).map(one => h("tr", {}, h("th", { scope: "row", class: "wrapx" }, one.key), h("td", { class: "wrapx" }, one.same ? clip(written(one.value), 400) : spreadOfParam(one.by)), h("td", { class: "n" }, `${one.sites}/${Math.max(one.sites, page.data.run.sites)}`)));
  return panel("params", "w12", "Parameters", null, h("div", { class: "scroll" }, h("table", {}, h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "name"), h("th", { scope: "col" }, "value"), h("th", { class: "n", scope: "col" }, "sites"))), h("tbody", {}, rows))));
}

/** Numbers that differ are dots on a line with the lowest and the highest site; texts are listed with their sites. */
function spreadOfParam(by) {
  const pairs = Object.entries(by);
  if (pairs.every(([, value]) => typeof value === "number")) {
    const sorted = pairs.sort((a, b) => a[1] - b[1]);
    const [low, high] = [sorted[0], sorted.at(-1)];
    const x = value => 5 + ((value - low[1]) / (high[1] - low[1] || 1)) * 150;
    return [svg("svg", { width: 160, height: 14, class: "dots", "aria-hidden": "true" }, svg("line", { x1: 5, x2: 155, y1: 7, y2: 7, class: "rule" }), sorted.slice(0, 1000).map(([, value]) => svg("circle", { cx: x(value), cy: 7, r: 3 }))),
      ` ${low[1]} (${clip(low[0], 20)}) to ${high[1]} (${clip(high[0], 20)})`];
  }
  const groups = new Map();
  for (const [site, value] of pairs) groups.set(written(value), [...(groups.get(written(value)) || []), site]);
  return [...groups].slice(0, 20).map(([value, sites]) => h("div", {}, clip(value, 120), h("span", { class: "mut" }, ` · ${sites.length > 3 ? plural(sites.length, "site") : sites.map(site => clip(site, 20)).join(", ")}`)));
}

function crossPanel(page) {
  const tables = Object.entries(page.data.cross);
  if (!tables.length) return null;
  return panel("cross", "w12", "Cross-site: whose model on whose data", null, tables.map(([name, results]) => crossTable(page, name, results)));
}

function crossTable(page, name, results) {
  const owners = [...new Set(Object.values(results).flatMap(models => Object.keys(models)))].slice(0, 60);
  const metrics = [...new Set(Object.values(results).flatMap(models => Object.values(models).flatMap(found => Object.keys(found))))];
  const metric = metrics.includes(page.data.key) ? page.data.key : metrics[0];
  const sites = Object.keys(results).slice(0, 200);
  const values = sites.flatMap(site => owners.map(owner => results[site][owner]?.[metric])).filter(isNumber);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const cell = (site, owner) => {
    const value = results[site][owner]?.[metric];
    if (!isNumber(value)) return h("td", { class: "n mut" }, value === undefined ? "–" : "NaN");
    const share = (value - low) / (high - low || 1);
    return h("td", { class: "n heat", css: { background: scaleColour(share), color: share > 0.55 ? "#17191d" : "#fff" } }, num(value));
  };
  return h("div", { class: "scroll" }, h("table", { class: "cross" }, h("caption", {}, `${name ? `${name}: ` : ""}${metric}`),
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "data of"), owners.map(owner => h("th", { class: "n", scope: "col" }, clip(owner.replace("_FL_global_model", ""), 18))))),
    h("tbody", {}, sites.map(site => h("tr", {}, h("th", { scope: "row" }, clip(site, 30)), owners.map(owner => cell(site, owner)))))));
}
