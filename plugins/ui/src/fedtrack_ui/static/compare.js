"use strict";
// Two runs: two means with two bands, what was set differently, and what came out.

async function showCompare(names) {
  const main = document.getElementById("main");
  const pages = await Promise.all(names.map(async name => ({ name, data: await get(address(name)) })));
  const shared = pages[0].data.metrics.map(one => one.key).filter(key => pages[1].data.metrics.some(one => one.key === key));
  const metric = shared.includes(state.metric) ? state.metric : shared.includes(pages[0].data.key) ? pages[0].data.key : shared[0];
  if (metric) for (const page of pages) page.across = await get(address(page.name, "/across", { metric, axis: state.axis }));
  const box = h("div", { class: "chart" });
  const read = readout();
  const chart = metric ? panel("across", "w12", `Across sites: ${metric}`, [
    chooser("Metric", shared.map(key => [key, clip(key, 40)]), metric, chosen => { choose({ metric: chosen }); showCompare(names); }),
    toggle("log", state.log, () => { choose({ log: state.log ? "" : "1" }); showCompare(names); }),
  ], compareKey(pages), box, read) : panel("across", "w12", "Across sites", null, empty("The two runs share no metric."));
  main.replaceChildren(h("div", { class: "title" }, h("h1", {}, "Two runs")), h("div", { class: "grid" }, compareTable(pages), chart, compareParams(pages)));
  if (metric) drawCompare(pages, box, read);
}

const RUN_COLOURS = ["--mean", "--worst"];
const runTitle = page => `${page.data.run.job} ${page.data.run.run_id.slice(0, 7)}`;

function compareKey(pages) {
  return h("div", { class: "key" }, pages.map((page, at) => h("span", { css: { color: token(RUN_COLOURS[at]), fontWeight: 600 } }, `${at ? "- -" : "—"} ${runTitle(page)}`)), h("span", {}, "shaded: 80 % of the sites"));
}

function compareTable(pages) {
  const rows = [["state", page => page.data.run.state], ["started", page => day(page.data.run.started_ms)], ["took", page => sec(page.data.run.seconds)], ["sites", page => int(page.data.run.sites)], ["rounds", page => int(page.data.run.rounds)],
    ...pages[0].data.answers.map((answer, at) => [answer.question, page => `${page.data.answers[at].short}. ${page.data.answers[at].detail}`])];
  return panel("both", "w12", "Side by side", null, h("div", { class: "scroll" }, h("table", {}, h("thead", {}, h("tr", {}, h("th", { scope: "col" }, ""), pages.map(page => h("th", { scope: "col" }, KEPT ? runTitle(page) : h("a", { href: `#run=${encodeURIComponent(page.name)}` }, runTitle(page)))))),
    h("tbody", {}, rows.map(([name, of]) => h("tr", {}, h("th", { scope: "row" }, name), pages.map(page => h("td", { class: "wrapx" }, of(page)))))))));
}

function compareParams(pages) {
  const maps = pages.map(page => new Map(page.data.params.map(one => [one.key, one.same ? written(one.value) : `differs between sites: ${[...new Set(Object.values(one.by).map(written))].slice(0, 6).join(", ")}`])));
  const keys = [...new Set(maps.flatMap(map => [...map.keys()]))].filter(key => maps[0].get(key) !== maps[1].get(key));
  const same = [...maps[0].keys()].filter(key => maps[1].has(key)).length - keys.filter(key => maps[0].has(key) && maps[1].has(key)).length;
  const body = keys.slice(0, 500).map(key => h("tr", {}, h("th", { scope: "row", class: "wrapx" }, key), maps.map(map => h("td", { class: "wrapx" }, map.has(key) ? clip(map.get(key), 300) : "not set"))));
  return panel("params", "w12", "Parameters that differ", null, keys.length ? h("div", { class: "scroll" }, h("table", {}, h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "name"), pages.map(page => h("th", { scope: "col" }, runTitle(page))))), h("tbody", {}, body))) : h("p", { class: "say" }, "None."), h("p", { class: "mut" }, `${plural(same, "parameter")} the same in both.`));
}

function drawCompare(pages, box, read) {
  const datas = pages.map(page => page.across);
  const x = [...new Set(datas.flatMap(places))].sort((a, b) => a - b);
  const aligned = (data, values) => { const at = new Map(places(data).map((place, i) => [place, values[i]])); return x.map(place => { const value = at.get(place); return isNumber(value) ? value : null; }); };
  const means = datas.map(data => aligned(data, meanLine(data).values));
  const bands = datas.flatMap(data => [aligned(data, data.places.p90), aligned(data, data.places.p10)]);
  const plain = { stroke: "transparent", width: 0, points: { show: false } };
  const columns = [...bands, ...means];
  const axis = { stroke: token("--muted"), font: `11px ${token("--sans")}`, grid: { stroke: token("--line"), width: 1 }, ticks: { show: false } };
  const tell = at => {
    if (at == null) { read.textContent = "Point at the chart, or focus it and use ← →."; return; }
    const name = datas[0].axis === "round" ? `round ${x[at]}` : String(x[at]);
    read.replaceChildren(h("b", {}, name), ...pages.map((page, i) => `  ·  ${runTitle(page)} ${num(means[i][at])}`));
  };
  const chart = new uPlot({
    width: box.clientWidth, height: 340, legend: { show: false }, padding: [10, 16, 0, 0],
    scales: { x: { time: datas[0].axis === "time", range: (_, low, high) => (low === high ? [low - 1, high + 1] : [low, high]) }, y: { distr: state.log ? 3 : 1, log: 10 } },
    axes: [{ ...axis, size: 28 }, { ...axis, size: 50 }],
    series: [{}, plain, plain, plain, plain, ...pages.map((_, at) => ({ stroke: token(RUN_COLOURS[at]), width: 2.5, dash: at ? [7, 4] : undefined, points: { show: x.length < 40, size: 6 }, spanGaps: true }))],
    bands: [0, 1].map(at => ({ series: [at * 2 + 1, at * 2 + 2], fill: `${token(RUN_COLOURS[at])}2b` })),
    cursor: { y: false }, hooks: { setCursor: [plot => tell(plot.cursor.idx)] },
  }, [x, ...(state.log ? logged(columns) : columns)], box);
  withKeys(chart, x, `${datas[0].metric} of two runs. Arrow keys read values.`);
  tell(null);
}
