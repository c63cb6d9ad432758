"use strict";
// Step by step: one small picture a site, all with the same scale; the odd one first.

const STEP_SITES = 24;

function stepsMetric(page) {
  const streamed = page.data.metrics.filter(one => one.streamed);
  return streamed.find(one => one.key === page.across?.metric) || streamed[0] || null;
}

function stepsSites(page) {
  const odd = page.data.departure?.metric === page.steps.metric ? page.data.departure.site : null;
  const order = page.data.sites.map(site => site.site);
  return [...new Set([...picked(), odd, ...order])].filter(Boolean).slice(0, STEP_SITES);
}

function stepsPanel(page) {
  const found = page.steps;
  if (!found) return null;
  const sites = Object.keys(found.series).filter(site => found.series[site].points);
  if (!sites.length) return null;
  const scale = stepScale(found, sites);
  const tools = [
    chooser("x of the steps", [["step", "by step"], ["round", "by round"], ["time", "by time"]], state.xaxis, xaxis => { choose({ xaxis }); redraw(); }),
    h("label", { class: "range" }, "smoothing ", h("input", { type: "range", min: 0, max: 0.95, step: 0.05, value: state.smooth, "data-key": "smoothing", onchange: event => { choose({ smooth: event.target.value }); redraw(); } })),
  ];
  const note = `One picture a site, all with one scale${scale.logs ? " (logarithmic)" : ""} from ${num(scale.low)} to ${num(scale.high)}, with the last value at the right. Of each bucket the first, smallest, largest and last point are drawn, so no spike is lost.`;
  return panel("steps", "w12", `Step by step: ${found.metric}`, tools, h("p", { class: "say" }, note),
    h("div", { class: "small-pictures" }, sites.map(site => stepFigure(page, site, scale))),
    page.data.sites.length > STEP_SITES && h("p", { class: "mut" }, `The ${STEP_SITES} that stand out most of ${int(page.data.sites.length)}.`));
}

/** The points of a series: four of a bucket with many points, one of a bucket with one. */
function stepPoints(series) {
  const [from, to] = state.xaxis === "time" ? [series.t0, series.t1] : [series.x0, series.x1];
  const points = [];
  for (let at = 0; at < series.n.length; at++) {
    let [x0, x1] = [from[at], to[at]];
    if (state.xaxis === "round") [x0, x1] = roundPlace(series, at);
    if (series.n[at] === 1) points.push([x0, series.first[at]]);
    else [series.first[at], series.low[at], series.high[at], series.last[at]].forEach((value, part) => points.push([x0 + ((x1 - x0) * part) / 3, value]));
  }
  return points;
}

/** A bucket's place among those of its round. */
function roundPlace(series, at) {
  let [start, end] = [at, at];
  while (start > 0 && series.round[start - 1] === series.round[at]) start--;
  while (end < series.n.length - 1 && series.round[end + 1] === series.round[at]) end++;
  const size = end - start + 1;
  const round = series.round[at] ?? -1;
  return [round + (at - start) / size, round + (at - start + 1) / size];
}

function stepScale(found, sites) {
  const values = sites.flatMap(site => [...found.series[site].low, ...found.series[site].high]).filter(isNumber).sort((a, b) => a - b);
  if (!values.length) return { low: 0, high: 1, logs: false };
  const [low, high] = [values[0], values[Math.floor((values.length - 1) * 0.995)]];
  const logs = state.log === "1" ? low > 0 : low > 0 && high / Math.max(low, 1e-4) > 50;
  return { low: logs ? Math.max(low, 1e-4) : low, high, logs };
}

const SMALL = { width: 180, height: 56 };

function stepFigure(page, site, scale) {
  const series = page.steps.series[site];
  const standing = page.data.sites.find(one => one.site === site) || {};
  const points = stepPoints(series);
  const [first, last] = [points[0][0], points.at(-1)[0]];
  const shown = value => (scale.logs ? Math.log(Math.max(value, scale.low)) : value);
  const x = at => ((at - first) / (last - first || 1)) * SMALL.width;
  const y = value => 2 + (1 - (shown(Math.min(value, scale.high)) - shown(scale.low)) / (shown(scale.high) - shown(scale.low) || 1)) * (SMALL.height - 4);
  const path = list => list.map(([at, value], i) => (isNumber(value) ? `${i && isNumber(list[i - 1][1]) ? "L" : "M"}${x(at).toFixed(1)},${y(value).toFixed(1)}` : "")).join("");
  const colour = token(page.data.departure?.site === site && page.data.departure.metric === page.steps.metric && !picked().includes(site) ? "--worst" : colourOf(site, page.across?.laggard));
  const line = (d, more) => svg("path", { d, fill: "none", stroke: colour, "stroke-width": 1.2, "vector-effect": "non-scaling-stroke", "stroke-linejoin": "round", ...more });
  const smooth = Number(state.smooth);
  const odd = points.filter(point => point[1] != null && !isNumber(point[1]));
  const nan = series.nan.reduce((a, b) => a + b, 0);
  const mark = markOf(standing);
  return h("figure", {},
    h("figcaption", {}, h("b", {}, mark && h("span", { class: mark[1], title: mark[2] }, `${mark[0]} `), clip(site, 20)),
      h("span", { class: nan || odd.length ? "bad" : "mut", title: `last of ${plural(series.points, "point")}${nan ? `, ${int(nan)} of them NaN` : ""}` }, num(series.last.at(-1)))),
    svg("svg", { viewBox: `0 0 ${SMALL.width} ${SMALL.height}`, width: "100%", height: SMALL.height, preserveAspectRatio: "none", role: "img", "aria-label": `${page.steps.metric} of ${site}: ${plural(series.points, "point")}, last ${num(series.last.at(-1))}` },
      svg("line", { x1: 0, x2: SMALL.width, y1: SMALL.height - 1, y2: SMALL.height - 1, class: "rule", "vector-effect": "non-scaling-stroke" }),
      smooth ? [line(path(points), { opacity: 0.25 }), line(path(smoothed(points, smooth)))] : line(path(points)),
      odd.map(([at]) => svg("rect", { x: x(at) - 1, y: SMALL.height - 6, width: 2, height: 6, class: "odd" }))));
}

/** An exponential mean of what was drawn; the raw line stays behind it. */
function smoothed(points, weight) {
  let mean = null;
  return points.map(([x, value]) => {
    if (isNumber(value)) mean = mean == null ? value : mean * weight + value * (1 - weight);
    return [x, isNumber(value) ? mean : null];
  });
}
