"use strict";
// The table of the sites.

/** What is wrong with a site: a glyph, its mood, and in words; null if nothing is. */
function markOf(site) {
  if (site.error) return ["✕", "bad", "failed"];
  if (site.silent) return ["◌", "warn", `silent for ${plural(site.silent, "round")}`];
  if (site.slow) return ["▲", "warn", `${site.ratio.toFixed(1)} × the usual time`];
  return null;
}

const table = { filter: "", limit: 25, by: "", down: 1 };

function sitesPanel(page) {
  const box = h("div", { class: "scroll" });
  fillSites(page, box);
  const count = page.data.sites.length;
  const search = count > 12 && h("input", { type: "search", placeholder: "find a site", "aria-label": "Find a site", value: table.filter, "data-key": "find-site", oninput: event => { table.filter = event.target.value.toLowerCase(); fillSites(page, box); } });
  return panel("sites", "w12", `Sites (${int(count)})`, search || null, count ? box : empty("No site has logged anything yet."));
}

function siteColumns(page) {
  const standing = page.across?.standing || {};
  const counts = page.counts?.sites || {};
  const count = (site, field) => counts[site.site]?.[field];
  return [
    { name: "site", value: site => site.site },
    { name: page.across?.metric || "metric", value: site => standing[site.site]?.[0], number: true, show: num },
    { name: "to median", value: site => standing[site.site]?.[1], number: true, show: signed, why: "the usual difference to the median of all sites, lately" },
    { name: "by round" },
    { name: "s / round", value: site => site.seconds, number: true, show: sec, optional: true, why: "median, from the round's start to the site's last record" },
    { name: "× usual", value: site => site.ratio, number: true, show: value => (value == null ? "–" : value.toFixed(1)), optional: true },
    { name: "took part", value: site => site.took, number: true, show: value => `${value ?? "–"}/${page.data.run.rounds}`, optional: true },
    { name: "logged", value: site => count(site, "logged") ?? count(site, "journaled"), number: true, optional: true, show: (value, site) => (value == null ? "–" : `${count(site, "logged") == null ? "≥ " : ""}${int(value)}`) },
    { name: "journaled", value: site => count(site, "journaled"), number: true, show: value => (value == null ? "–" : int(value)), optional: true },
    { name: "state" },
  ];
}

function sortedSites(page, columns) {
  const shown = page.data.sites.filter(site => site.site.toLowerCase().includes(table.filter));
  const column = columns.find(one => one.name === table.by && one.value);
  if (!column) return shown;
  return [...shown].sort((a, b) => {
    const [x, y] = [column.value(a), column.value(b)];
    if (x == null || y == null) return x == null ? 1 : -1;
    return (x < y ? -1 : x > y ? 1 : 0) * table.down;
  });
}

function fillSites(page, box) {
  const columns = siteColumns(page);
  const rows = sortedSites(page, columns);
  const cls = column => [column.number && "n", column.optional && "opt"].filter(Boolean).join(" ");
  const sort = name => () => { table.down = table.by === name ? -table.down : 1; table.by = name; fillSites(page, box); };
  const head = columns.map(column => h("th", { class: cls(column), scope: "col", title: column.why, "aria-sort": table.by === column.name ? (table.down > 0 ? "ascending" : "descending") : null },
    column.value ? h("button", { type: "button", onclick: sort(column.name) }, column.name, table.by === column.name ? (table.down > 0 ? " ↑" : " ↓") : "") : column.name));
  const body = rows.slice(0, table.limit).map(site => siteRow(page, site, columns, cls));
  const more = rows.length > table.limit && h("p", {}, h("button", { type: "button", onclick: () => { table.limit += 250; fillSites(page, box); } }, `show ${int(Math.min(250, rows.length - table.limit))} more of ${int(rows.length)}`));
  box.replaceChildren(h("table", {}, h("thead", {}, h("tr", {}, head)), h("tbody", {}, body)), more || "");
}

function siteRow(page, site, columns, cls) {
  const chosen = picked().includes(site.site);
  const mark = markOf(site);
  const cells = columns.map(column => {
    if (column.name === "site") {
      return h("th", { scope: "row" }, h("button", { type: "button", class: "site", "aria-pressed": String(chosen), title: site.site, "data-key": `site ${site.site}`, onclick: () => pick(site.site) }, mark && h("span", { class: mark[1], "aria-hidden": "true" }, `${mark[0]} `), clip(site.site, 60)));
    }
    if (column.name === "by round") return h("td", {}, spark(page, site.site));
    if (column.name === "state") return h("td", { class: "wrapx" }, stateWords(page, site, mark));
    const value = column.value(site);
    const late = (column.name === "to median" && page.across?.laggard === site.site) || (column.name === "× usual" && site.slow);
    return h("td", { class: `${cls(column)}${late ? " worst" : ""}` }, column.show(value, site));
  });
  return h("tr", { class: chosen ? "chosen" : null }, cells);
}

function stateWords(page, site, mark) {
  const rejected = page.counts?.sites[site.site]?.rejected;
  const words = [mark && h("span", { class: mark[1] }, mark[2]), rejected > 0 && h("span", { class: "warn" }, `${int(rejected)} rejected`)].filter(Boolean);
  if (words.length) return words.flatMap((word, at) => (at ? [", ", word] : [word]));
  return h("span", { class: "mut" }, page.across?.laggard === site.site ? "lags most" : page.across?.standing[site.site]?.[3] ? "lags" : "–");
}

/** A site's values over the band of 80 % of the sites. */
function spark(page, site) {
  const data = page.across;
  const at = data ? data.sites.indexOf(site) : -1;
  if (at < 0) return h("span", { class: "mut" }, "no values");
  const values = spreadOut(data.values[at], data);
  const { p10, p90 } = data.places;
  const all = [...values, ...p10, ...p90].filter(isNumber);
  if (!all.length) return h("span", { class: "mut" }, "no values");
  const [width, height] = [innerWidth > 900 ? 168 : 92, 22];
  const low = all.reduce((a, b) => Math.min(a, b));
  const high = all.reduce((a, b) => Math.max(a, b));
  const x = i => (1 + (i / Math.max(1, values.length - 1)) * (width - 5)).toFixed(1);
  const y = value => (2 + (1 - (value - low) / (high - low || 1)) * (height - 4)).toFixed(1);
  const band = p90.map((value, i) => (isNumber(value) ? i : -1)).filter(i => i >= 0);
  const root = svg("svg", { width, height, "aria-hidden": "true" });
  if (band.length > 1) root.append(svg("path", { class: "spark-band", d: `M${[...band.map(i => `${x(i)},${y(p90[i])}`), ...[...band].reverse().map(i => `${x(i)},${y(p10[i])}`)].join("L")}Z` }));
  let [d, pen, last] = ["", false, -1];
  values.forEach((value, i) => {
    if (!isNumber(value)) { pen = pen && data.sites.length > 24; return; }
    d += `${pen ? "L" : "M"}${x(i)},${y(value)}`;
    [pen, last] = [true, i];
  });
  const colour = token(colourOf(site, data.laggard));
  root.append(svg("path", { d, fill: "none", stroke: colour, "stroke-width": 1.5 }));
  if (last >= 0) root.append(svg("circle", { cx: x(last), cy: y(values[last]), r: 2.2, fill: colour }));
  return root;
}
