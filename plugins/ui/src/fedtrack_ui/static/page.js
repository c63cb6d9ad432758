"use strict";
// The page: what the address names is fetched and drawn; news of a run that goes on change it in place.

let page = null;
let news = null;
let ticket = 0;

/** Go to another run, comparison or the list. */
function go(where) {
  choose({ ...DEFAULTS, ...where }, { history: true });
  show();
}

async function show() {
  const mine = ++ticket;
  news?.close();
  news = null;
  page = null;
  try {
    const compared = state.compare.split("\n").filter(Boolean);
    if (compared.length === 2) await showCompare(compared);
    else if (state.run) await showRun(state.run, mine);
    else await showRuns();
  } catch (error) {
    if (mine === ticket) document.getElementById("main").replaceChildren(empty(error.message));
  }
}

async function showRun(name, mine) {
  const next = { name, later: [], zoom: null, across: null, counts: null, steps: null };
  next.data = await get(address(name));
  if (mine !== ticket) return;
  page = next;
  await fetchMetric();
  redraw();
  listen(name);
  await Promise.all([fetchCounts(), fetchSteps()]);
  redraw();
  next.settled = true;
}

async function fetchMetric() {
  const keys = page.data.metrics.map(one => one.key);
  const metric = keys.includes(state.metric) ? state.metric : page.data.key;
  const shown = page;
  const across = metric ? await get(address(shown.name, "/across", { metric, axis: state.axis })).catch(() => null) : null;
  shown.across = across;
}

async function fetchSteps() {
  const shown = page;
  const metric = shown && stepsMetric(shown);
  if (!metric) return;
  shown.steps = { metric: metric.key, series: {} };
  const query = KEPT ? { metric: metric.key } : { metric: metric.key, site: stepsSites(shown) };
  shown.steps = await get(address(shown.name, "/stream", query)).catch(() => null);
}

async function fetchCounts() {
  const shown = page;
  const counts = await get(address(shown.name, "/counts")).catch(() => null);
  if (counts) shown.counts = counts;
}

/** Show another metric or axis of the same run. */
async function showMetric() {
  if (!page) return;
  page.zoom = null;
  await fetchMetric();
  await fetchSteps();
  redraw();
}

/** Draw everything again, and keep the focus, the place on the page and what was opened. */
function redraw() {
  if (!page) return;
  const main = document.getElementById("main");
  const key = document.activeElement?.dataset?.key;
  const id = !key && document.activeElement?.id;
  const open = [...main.querySelectorAll("details[open] > summary")].map(one => one.textContent);
  const top = scrollY;
  const at = page.chart?.cursor.idx;
  page.later = [];
  page.chart = null;
  document.title = `${page.data.run.job} · fedtrack`;
  document.getElementById("where").textContent = page.data.run.folder;
  const panels = [acrossPanel, matrixPanel, timePanel, deliveryPanel, stepsPanel, sitesPanel, crossPanel, mediaPanel, paramsPanel, modelsPanel];
  main.replaceChildren(...headerOf(page.data, page.counts).filter(Boolean), answersOf(page.data, page.counts), h("div", { class: "grid" }, panels.map(make => make(page))));
  for (const draw of page.later) draw();
  for (const summary of main.querySelectorAll("summary")) if (open.includes(summary.textContent)) summary.parentElement.open = true;
  scrollTo(0, top);
  if (at != null && page.chart) page.chart.setCursor({ left: page.chart.valToPos(page.chart.data[0][at], "x"), top: 10 });
  if (key) main.querySelector(`[data-key="${CSS.escape(key)}"]`)?.focus({ preventScroll: true });
  else if (id && id !== "main") document.getElementById(id)?.focus({ preventScroll: true });
}

/** Follow a run: the server says that there is news, and the page fetches what is shown. */
function listen(name) {
  if (KEPT) return;
  let [first, busy, again] = [true, false, false];
  const refresh = async () => {
    if (busy) { again = true; return; }
    busy = true;
    try {
      do {
        again = false;
        const shown = page;
        if (!shown || shown.name !== name) return;
        shown.data = await get(address(name));
        await fetchMetric();
        await Promise.all([fetchSteps(), fetchCounts()]);
        if (shown !== page) return;
        redraw();
      } while (again);
    } catch (error) {
      document.getElementById("live").textContent = error.message;
    } finally {
      busy = false;
    }
  };
  news = new EventSource(address(name, "/live"));
  news.onmessage = () => {
    const stale = page?.data.behind;
    if (first && !stale) first = false;
    else refresh();
  };
}

/** The list of runs changes, too. */
setInterval(() => { if (!KEPT && !state.run && !state.compare && document.visibilityState === "visible" && !document.activeElement?.closest("main")) showRuns().catch(() => {}); }, 5000);

let resizing = null;
addEventListener("resize", () => { clearTimeout(resizing); resizing = setTimeout(redraw, 120); });
addEventListener("popstate", () => { readState(); show(); });
addEventListener("hashchange", () => {
  if (/^#[a-z]+$/.test(location.hash)) return; // a panel or the main part, which the browser jumps to
  readState();
  show();
});
document.getElementById("home").addEventListener("click", event => { event.preventDefault(); if (!KEPT) go({}); });
document.getElementById("theme").addEventListener("click", () => {
  setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark");
  if (page) redraw();
  else show();
});
startTheme();
readState();
if (KEPT && !state.run && !state.compare) choose(KEPT.start);
show();
