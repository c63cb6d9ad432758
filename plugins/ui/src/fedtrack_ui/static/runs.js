"use strict";
// The list of runs, newest first, with their state and last values; two of them can be compared.

const chosenRuns = new Set();

async function showRuns() {
  const main = document.getElementById("main");
  const found = await get("/api/runs");
  document.getElementById("where").textContent = found.folder;
  document.title = "fedtrack runs";
  if (!found.runs.length) {
    main.replaceChildren(h("div", { class: "title" }, h("h1", {}, "Runs")), empty(`There is no run below ${found.folder} yet. It appears here as soon as one begins.`));
    return;
  }
  const compare = h("button", { type: "button", disabled: chosenRuns.size !== 2, onclick: () => go({ compare: [...chosenRuns].join("\n") }) }, "compare two");
  const change = name => event => {
    if (event.target.checked) chosenRuns.add(name);
    else chosenRuns.delete(name);
    compare.disabled = chosenRuns.size !== 2;
  };
  const heads = ["", "job", "state", "last value", "rounds", "sites", "events", "took", "started"];
  const rows = found.runs.map(run => h("tr", {},
    h("td", {}, h("input", { type: "checkbox", "aria-label": `Compare ${run.job} ${run.name.slice(0, 7)}`, checked: chosenRuns.has(run.name), onchange: change(run.name) })),
    h("th", { scope: "row" }, h("a", { href: `#run=${encodeURIComponent(run.name)}` }, run.job), h("span", { class: "mut" }, ` ${run.name.slice(0, 7)}`)),
    h("td", {}, stateMark(run.state), run.complete === false && h("span", { class: "bad" }, " events are missing"), run.detail && h("span", { class: "mut" }, ` ${clip(run.detail, 80)}`)),
    h("td", { class: "n" }, run.key ? `${clip(run.key, 24)} ${num(run.value)}` : "–"),
    h("td", { class: "n" }, run.rounds == null ? "–" : int(run.rounds)), h("td", { class: "n opt" }, run.sites == null ? "–" : int(run.sites)),
    h("td", { class: "n opt" }, run.events == null ? "–" : int(run.events)), h("td", { class: "n opt" }, sec(run.seconds)), h("td", { class: "opt" }, day(run.started_ms))));
  const classes = ["", "", "", "n", "n", "n opt", "n opt", "n opt", "opt"];
  main.replaceChildren(h("div", { class: "title" }, h("h1", {}, "Runs"), h("span", { class: "mut" }, found.total > found.runs.length ? `the newest ${found.runs.length} of ${int(found.total)}` : plural(found.total, "run")), h("span", { class: "grow" }), compare),
    h("section", { class: "panel", "aria-label": "Runs" }, h("div", { class: "scroll" }, h("table", {}, h("thead", {}, h("tr", {}, heads.map((text, at) => (text ? h("th", { scope: "col", class: classes[at] }, text) : h("td"))))), h("tbody", {}, rows)))));
}
