"use strict";
// Rounds in time: who trained, who waited; with many sites, the seconds of each round.

function timePanel(page) {
  const { time, sites } = page.data;
  if (!time.rounds.length) return panel("time", "w7", "Rounds in time", null, empty("Who trained and who waited, from the first round on."));
  const box = h("div", { class: "chart" });
  const slow = sites.some(site => site.slow);
  page.later.push(() => box.append(time.spans ? gantt(page, box.clientWidth) : roundBars(time, box.clientWidth)));
  const note = time.spans
    ? [time.asked ? "Blue: from the server's question to the site's answer, with the transfer. Grey: waiting for the others. " : "Blue: busy, from the round's start to the site's last record. Grey: waiting for the others. ", slow && h("span", {}, h("b", { class: "worst" }, "Orange"), ": the slow site that ended last.")]
    : ["Grey: the whole round. Blue: where 80 % of the sites lie. Orange: the slowest site."];
  return panel("time", "w7", time.spans ? "Rounds in time: who trained, who waited" : "Seconds by round", null, h("p", { class: "say" }, note), box);
}

function gantt(page, width) {
  const { time, sites } = page.data;
  const narrow = width < 460;
  const [left, right, row, top] = [narrow ? 64 : 92, narrow ? 42 : 96, 17, 18];
  const end = Math.max(...time.rounds.map(round => round.end), 1e-9);
  const x = at => left + (at / end) * (width - left - right);
  const order = [...sites].map(site => site.site).sort((a, b) => a.length - b.length || (a < b ? -1 : 1));
  const height = top + order.length * row + 22;
  const root = svg("svg", { width, height, role: "img", "aria-label": `Training and waiting of ${plural(order.length, "site")} in ${plural(time.rounds.length, "round")}` });
  let labelled = -Infinity;
  time.rounds.forEach((round, at) => {
    root.append(svg("line", { x1: x(round.end), x2: x(round.end), y1: top - 4, y2: height - 20, class: "rule" }));
    const middle = (x(round.start) + x(round.end)) / 2;
    if (middle - labelled < 20) return;
    labelled = middle;
    root.append(svg("text", { x: middle, y: 10, "text-anchor": "middle" }, String(at)));
  });
  const standing = new Map(sites.map(site => [site.site, site]));
  order.forEach((site, at) => ganttRow(root, page, standing.get(site), { site, y: top + at * row, row, x, width, right, narrow }));
  root.append(svg("text", { x: left, y: height - 6 }, "0 s"), svg("text", { x: width - right, y: height - 6, "text-anchor": "end" }, sec(end)));
  return root;
}

function ganttRow(root, page, standing, { site, y, row, x, width, right, narrow }) {
  const { time } = page.data;
  const spans = new Map(time.spans[site].map(([round, start, end]) => [round, [start, end]]));
  const took = new Set(time.took[site]);
  let [waited, whole] = [0, 0];
  root.append(svg("text", { x: 0, y: y + 12, class: picked().includes(site) ? "picked" : "name" }, clip(site, narrow ? 9 : 14)));
  time.rounds.forEach((round, at) => {
    if (!took.has(at)) return;
    const span = spans.get(at);
    if (!span) {
      root.append(svg("circle", { cx: (x(round.start) + x(round.end)) / 2, cy: y + 8, r: 3, class: "silent" }));
      return;
    }
    const from = time.asked ? Math.max(round.start, span[0]) : round.start;
    const until = Math.max(from, span[1]);
    const slow = round.last === site && standing.slow;
    if (round.ended) [waited, whole] = [waited + Math.max(0, round.end - until), whole + round.end - round.start];
    root.append(svg("line", { x1: x(until), x2: Math.max(x(until), x(round.end) - 1), y1: y + 8, y2: y + 8, class: "waiting" }),
      svg("rect", { x: x(from) + 0.5, y: y + 2, width: Math.max(1.5, x(until) - x(from) - 0.5), height: row - 5, rx: 1.5, class: slow ? "busy slow" : "busy" },
        svg("title", {}, `${site}, round ${at}: busy ${sec(until - from)}, then waited ${sec(round.end - until)}`)));
  });
  if (standing.error) {
    const last = time.took[site].at(-1) ?? 0;
    root.append(svg("text", { x: x(time.rounds[last]?.end ?? 0) + 3, y: y + 12, class: "failed" }, "✕"));
  }
  if (whole) root.append(svg("text", { x: width - right + 8, y: y + 12, class: standing.slow ? "late" : null }, narrow ? percent(waited / whole) : `waited ${percent(waited / whole)}`));
}

/** One column holds one round, or several of which the longest is kept. */
function roundBars(time, width) {
  const narrow = width < 460;
  const [left, right, height, top, foot] = [52, narrow ? 8 : 126, 200, 8, 22];
  const columns = Math.max(1, Math.min(time.rounds.length, Math.floor((width - left - right) / 3)));
  const step = (width - left - right) / columns;
  const bars = Array.from({ length: columns }, (_, at) => barOf(time, Math.floor((at * time.rounds.length) / columns), Math.floor(((at + 1) * time.rounds.length) / columns)));
  const most = Math.max(...bars.map(bar => bar.seconds), 1e-9);
  const y = value => top + (1 - Math.min(1, value / most)) * (height - top - foot);
  const root = svg("svg", { width, height, role: "img", "aria-label": "Seconds of each round, and the spread of the sites' own seconds" });
  for (const share of [0, 0.5, 1]) root.append(svg("line", { x1: left, x2: width - right, y1: y(most * share), y2: y(most * share), class: "rule" }), svg("text", { x: left - 6, y: y(most * share) + 4, "text-anchor": "end" }, sec(most * share)));
  bars.forEach((bar, at) => {
    const [x, wide] = [left + at * step, Math.max(1, step * 0.76)];
    root.append(svg("rect", { x, y: y(bar.seconds), width: wide, height: Math.max(0.5, y(0) - y(bar.seconds)), class: "whole" }));
    if (bar.spread) {
      const [low, high, slowest, site] = bar.spread;
      root.append(svg("rect", { x, y: y(high), width: wide, height: Math.max(1.5, y(low) - y(high)), class: "busy" }, svg("title", {}, `round ${bar.round}: ${sec(bar.seconds)}; 80 % of the sites ${sec(low)} to ${sec(high)}; slowest ${site} ${sec(slowest)}`)),
        svg("rect", { x, y: y(slowest) - 1, width: wide, height: 2, class: "slowest" }));
    }
    if (at % Math.ceil(34 / step) === 0) root.append(svg("text", { x: x + wide / 2, y: height - 6, "text-anchor": "middle" }, String(bar.round)));
  });
  return root;
}

function barOf(time, from, to) {
  let found = null;
  for (let round = from; round < Math.max(from + 1, to); round++) {
    const { start, end } = time.rounds[round];
    const spread = time.spread?.[round];
    if (!found || end - start > found.seconds) found = { round, seconds: end - start, spread: spread?.length ? spread : null };
  }
  return found;
}
