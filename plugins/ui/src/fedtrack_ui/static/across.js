"use strict";
// One metric over all sites: the band, the mean, the laggard and the picked sites.

const places = data => data.x.map((x, at) => (data.axis === "time" ? x / 1000 : x));
const finite = values => values.map(value => (isNumber(value) ? value : null));

/** The thick line: the server's own values, else the mean over the sites. */
function meanLine(data) {
  const own = data.server.some(isNumber);
  return { values: finite(own ? data.server : data.places.mean), own, name: own ? "weighted mean" : "mean" };
}

const hasFinal = data => isNumber(data.final) && data.axis === "round";

function acrossPanel(page) {
  const data = page.across;
  if (!data || !data.x.length) {
    const wait = page.data.run.goes_on
      ? "Waiting for the first metric. It appears here within two seconds of its log call."
      : "This run logged no metric.";
    return panel("across", "w7", "Across sites", null, empty(wait));
  }
  const box = h("div", { class: "chart" });
  const read = readout();
  page.later.push(() => drawAcross(page, box, read));
  const each = showsEach(data);
  const tools = [
    metricChooser(page.data.metrics, data.metric),
    page.data.metrics.some(one => one.key === data.metric && one.rounds)
      ? chooser("x axis", [["round", "by round"], ["step", "by step"], ["time", "by time"]], state.axis, axis => { choose({ axis }); showMetric(); })
      : chooser("x axis", [["step", "by step"], ["time", "by time"]], data.axis, axis => { choose({ axis }); showMetric(); }),
    toggle("log", state.log, () => { choose({ log: state.log ? "" : "1" }); redraw(); }),
    toggle("each site", each, () => { choose({ each: each ? "0" : "1" }); redraw(); }),
  ];
  return panel("across", "w7", `Across sites: ${data.metric}`, tools, bandNote(data), box, bandKey(data), oddNote(data), read, acrossTable(data));
}

function showsEach(data) {
  if (state.each) return state.each === "1";
  return data.sites.length <= 12 && data.x.length <= 250;
}

function metricChooser(metrics, chosen) {
  const keys = metrics.map(one => one.key);
  const change = metric => { if (keys.includes(metric)) { choose({ metric }); showMetric(); } };
  if (keys.length <= 12) return chooser("Metric", keys.map(key => [key, clip(key, 40)]), chosen, change);
  const list = h("datalist", { id: "metric-names" }, keys.slice(0, 2000).map(key => h("option", { value: key })));
  return [h("input", { type: "search", list: "metric-names", value: chosen, "aria-label": "Metric", "data-key": "Metric", onchange: event => change(event.target.value) }), list];
}

function bandNote(data) {
  if (data.coarse) return h("p", { class: "say" }, "The sites report only a few different values, as with one or two test samples each: the band says little.");
  if (data.flat && data.sites.length > 1) {
    return h("p", { class: "say" }, "Every site reports the same value, so there is no band: they score the same model on the same data. Choose a metric that differs, such as the training loss.");
  }
  return data.axis === "round" ? null : h("p", { class: "say" }, `The last value of each site up to each ${data.axis === "step" ? "step" : "moment, by the site's own clock"}.`);
}

function bandKey(data) {
  if (data.flat || data.sites.length < 2) return null;
  return h("div", { class: "key" }, h("i", { class: "sw sw-light" }), "from the lowest to the highest site", h("i", { class: "sw sw-dark" }), "80 % of the sites",
    h("span", {}, data.low ? "· lower is better" : ""));
}

/** NaN and infinity are said with place and site; in the chart they are marks on the axis. */
function oddNote(data) {
  if (!data.odd.length) return null;
  const [at, site, value] = data.odd[0];
  const more = data.odd.length > 1 ? ` and ${int(data.odd.length - 1)} more` : "";
  return h("p", { class: "say bad" }, `▼ ${num(value)}: ${clip(site, 30)} in ${placeName(data, at)}${more}`);
}

const placeName = (data, at) =>
  at >= data.x.length ? "the final model" : data.axis === "round" ? `round ${at}` : data.axis === "step" ? `step ${int(data.x[at])}` : day(data.x[at]);

function linesOf(data) {
  const named = picked().filter(site => data.sites.includes(site));
  const lines = named.map((site, at) => ({ site, colour: PICKS[at % 2] }));
  if (data.laggard && !named.includes(data.laggard)) lines.unshift({ site: data.laggard, colour: "--worst", dash: [5, 3], lags: true });
  return lines;
}

/** The columns for uPlot: x, four of the band, the faint sites, the named sites, the mean. */
function columnsOf(data) {
  const end = hasFinal(data);
  const x = places(data);
  const mean = meanLine(data);
  const spread = values => spreadOut(values, data);
  const lines = linesOf(data);
  const faint = showsEach(data) ? data.sites.filter(site => !lines.some(line => line.site === site)) : [];
  const valuesOf = site => finite(spread(data.values[data.sites.indexOf(site)]));
  const columns = [...["max", "min", "p90", "p10"].map(name => finite(data.places[name])), ...faint.map(valuesOf), ...lines.map(line => valuesOf(line.site)), mean.values];
  const ended = columns.map((values, at) => (end ? [...values, at === columns.length - 1 ? data.final : null] : values));
  return { x: end ? [...x, x.length] : x, columns: state.log ? logged(ended) : ended, faint, lines, mean };
}

/** A grid that the server has merged has one value for several places. */
function spreadOut(values, data) {
  if (data.merged === 1) return values;
  return data.x.map((_, at) => values[Math.floor(at / data.merged)]);
}

/** Zero has no logarithm: the band ends at the smallest positive value, and a line has a hole. */
function logged(columns) {
  let least = Infinity;
  for (const values of columns) for (const value of values) if (value > 0 && value < least) least = value;
  return columns.map((values, at) => values.map(value => (value > 0 ? value : value != null && at < 4 ? least : null)));
}

function drawAcross(page, box, read) {
  const data = page.across;
  const found = columnsOf(data);
  const width = box.clientWidth;
  const narrow = width < 460;
  const plain = { stroke: "transparent", width: 0, points: { show: false } };
  const few = data.x.length < 60;
  const band = token("--band");
  const axis = { stroke: token("--muted"), font: `11px ${token("--sans")}`, grid: { stroke: token("--line"), width: 1 }, ticks: { show: false } };
  const series = [{}, plain, plain, plain, plain,
    ...found.faint.map(() => ({ stroke: `rgba(${band},.3)`, width: 1, points: { show: false }, spanGaps: true })),
    ...found.lines.map(line => ({ stroke: token(line.colour), width: 1.75, dash: line.dash, points: { show: few, size: 5, fill: token(line.colour) }, spanGaps: data.sites.length > 24 || !few })),
    { stroke: token("--mean"), width: 2.5, points: { show: data.x.length < 40, size: 6, fill: token("--mean") }, spanGaps: true }];
  const chart = new uPlot({
    width, height: Math.max(230, Math.min(360, width * 0.5)), padding: [10, narrow ? 100 : 158, 0, 0], legend: { show: false },
    scales: { x: { time: data.axis === "time", range: (_, low, high) => (low === high ? [low - 1, high + 1] : page.zoom || [low, high]) }, y: { distr: state.log ? 3 : 1, log: 10 } },
    axes: [{ ...axis, size: 28, ...(data.axis === "round" ? roundAxis(data, width, narrow) : {}) }, { ...axis, size: 50, values: (_, ticks) => ticks.map(tick => (tick == null ? "" : String(+tick.toPrecision(3)))) }],
    series, bands: [{ series: [1, 2], fill: `rgba(${band},.11)` }, { series: [3, 4], fill: `rgba(${band},.21)` }],
    cursor: { y: false, points: { size: 7 } },
    hooks: { draw: [plot => drawLabels(plot, labelsOf(data, found, narrow)), plot => drawOdd(plot, data)], setCursor: [plot => tellPlace(data, found, plot.cursor.idx, read)],
      setSelect: [plot => { if (plot.select.width > 5) page.zoom = [plot.posToVal(plot.select.left, "x"), plot.posToVal(plot.select.left + plot.select.width, "x")]; }] },
  }, [found.x, ...found.columns], box);
  chart.over.addEventListener("dblclick", () => { page.zoom = null; redraw(); });
  withKeys(chart, found.x, `${data.metric} by ${data.axis}, with the range across ${plural(data.sites.length, "site")}. Arrow keys read values; the table below has them all.`);
  tellPlace(data, found, null, read);
  page.chart = chart;
}

/** Whole rounds on the axis, and the final model after them. */
function roundAxis(data, width, narrow) {
  const last = data.x.length;
  const room = Math.max(3, (width - (narrow ? 150 : 210)) / 30);
  const splits = (_, at, low, high) => {
    const step = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000].find(one => (high - low) / one < room) || 10000;
    const found = [];
    for (let round = Math.max(0, Math.ceil(low)); round <= Math.min(high, last - 1); round++) if (round % step === 0) found.push(round);
    if (hasFinal(data) && high >= last) return [...found.filter(round => last - round >= step * 0.9), last];
    return found;
  };
  return { splits, values: (_, ticks) => ticks.map(tick => (hasFinal(data) && tick === last ? "final" : tick)) };
}

function labelsOf(data, found, narrow) {
  const lines = found.lines.map((line, at) => [(line.lags && !narrow ? "lags: " : "") + clip(line.site, narrow ? 9 : 15), found.columns[4 + found.faint.length + at], line.colour]);
  return [...lines, [narrow ? "mean" : found.mean.name, found.columns.at(-1), "--mean"]];
}

/** Name the lines at their ends, pushed apart, instead of a legend. */
function drawLabels(plot, labels) {
  const { ctx, bbox } = plot;
  const scale = devicePixelRatio;
  const found = labels.map(([name, values, colour]) => {
    const at = values.findLastIndex(value => value != null);
    return at < 0 ? null : { text: `${name} ${num(values[at])}`, colour, y: plot.valToPos(values[at], "y", true) };
  }).filter(Boolean).sort((a, b) => a.y - b.y);
  found.forEach((label, at) => { if (at) label.y = Math.max(label.y, found[at - 1].y + 14 * scale); });
  const bottom = bbox.top + bbox.height - 4 * scale;
  for (let at = found.length - 1, y = bottom; at >= 0 && found[at].y > y; at--, y -= 14 * scale) found[at].y = y;
  ctx.save();
  ctx.font = `600 ${11 * scale}px ${token("--sans")}`;
  ctx.textBaseline = "middle";
  ctx.textAlign = "left";
  for (const label of found) {
    ctx.fillStyle = token(label.colour);
    ctx.fillText(label.text, bbox.left + bbox.width + 8 * scale, label.y);
  }
  ctx.restore();
}

/** A value that is not finite is a mark on the axis, and never a hole. */
function drawOdd(plot, data) {
  const { ctx, bbox } = plot;
  const scale = devicePixelRatio;
  const x = places(data);
  ctx.save();
  ctx.fillStyle = token("--bad");
  for (const [at] of data.odd) {
    const left = plot.valToPos(x[at], "x", true);
    if (left < bbox.left || left > bbox.left + bbox.width) continue;
    const y = bbox.top + bbox.height;
    ctx.beginPath();
    ctx.moveTo(left - 5 * scale, y - 9 * scale);
    ctx.lineTo(left + 5 * scale, y - 9 * scale);
    ctx.lineTo(left, y);
    ctx.fill();
  }
  ctx.restore();
}

function tellPlace(data, found, at, read) {
  if (at == null) {
    read.textContent = matchMedia("(pointer: coarse)").matches ? "Touch the chart for values." : "Point at the chart, or focus it and use ← →; drag to zoom, double-click to reset.";
    return;
  }
  const mean = found.columns.at(-1)[at];
  const of = name => data.places[name][at];
  const parts = [mean != null && `${found.mean.name} ${num(mean)}`,
    at < data.x.length && of("n") > 1 && `${of("n")} sites: ${num(of("min"))} (${clip(data.lowest[at], 16)}) to ${num(of("max"))} (${clip(data.highest[at], 16)}), median ${num(of("p50"))}`,
    ...found.lines.map(line => `${clip(line.site, 16)} ${num(at < data.x.length ? spreadOut(data.values[data.sites.indexOf(line.site)], data)[at] : null)}`),
    ...data.odd.filter(odd => odd[0] === at).slice(0, 3).map(odd => `${clip(odd[1], 16)} ${num(odd[2])}`)];
  read.replaceChildren(h("b", {}, placeName(data, at)), ...parts.filter(Boolean).map(text => `  ·  ${text}`));
}

/** Arrow keys, Home and End move the cursor of a chart. */
function withKeys(chart, x, label) {
  let at = null;
  chart.over.tabIndex = 0;
  chart.over.setAttribute("role", "img");
  chart.over.setAttribute("aria-label", label);
  chart.over.dataset.key = "chart";
  chart.over.addEventListener("keydown", event => {
    const by = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity }[event.key];
    if (!by) return;
    event.preventDefault();
    at = Math.max(0, Math.min(x.length - 1, (at ?? (by < 0 ? x.length : -1)) + by));
    chart.setCursor({ left: chart.valToPos(x[at], "x"), top: 10 });
  });
}

function acrossTable(data) {
  const heads = ["sites", "mean", "min", "median", "max"];
  const names = ["n", "mean", "min", "p50", "max"];
  const from = Math.max(0, data.x.length - 60);
  const body = () => data.x.slice(from).map((_, i) => {
    const at = from + i;
    return h("tr", {}, h("th", { scope: "row" }, placeName(data, at)), names.map(name => h("td", { class: "n" }, name === "n" ? int(data.places.n[at]) : num(data.places[name][at]))), h("td", {}, data.low ? data.highest[at] : data.lowest[at]));
  });
  const table = h("div", { class: "scroll" });
  const fill = event => {
    if (!event.target.open || table.firstChild) return;
    table.append(h("table", {}, h("thead", {}, h("tr", {}, h("th", { scope: "col" }, data.axis), heads.map(text => h("th", { class: "n", scope: "col" }, text)), h("th", { scope: "col" }, "worst site"))), h("tbody", {}, body())));
  };
  return h("details", { ontoggle: fill }, h("summary", {}, "as a table"), table);
}
