"use strict";
// The run's state, what became of its events, and the four answers.

const STATES = {
  completed: ["✓", "ok"], running: ["●", "ok"], failed: ["✕", "bad"], aborted: ["◼", "warn"], lost: ["✕", "bad"],
};

function stateMark(name) {
  const [glyph, mood] = STATES[name] || ["?", "mut"];
  return h("span", { class: `pill ${mood}` },
    h("span", { class: name === "running" ? "live" : null, "aria-hidden": "true" }, glyph), ` ${name}`);
}

function headerOf(data, counts) {
  const { run, progress } = data;
  const facts = [run.run_id.slice(0, 7), day(run.started_ms), sec(run.seconds), plural(run.sites, "site"), plural(run.rounds, "round")];
  const reading = progress.of && progress.read < progress.of * 0.999 && data.behind;
  return [
    h("div", { class: "title" }, h("h1", {}, run.job), stateMark(run.state), h("span", { class: "mut" }, facts.filter(Boolean).join(" · "))),
    counts ? accounting(counts) : h("div", { class: "acct" }, "Counting the events …"),
    run.detail && run.state !== "completed" && h("p", { class: "say" }, run.detail, run.remedy && h("code", {}, run.remedy)),
    reading && h("p", { class: "say warn", role: "status" },
      `Reading the journal: ${int(progress.read)} of ${int(progress.of)} events are shown so far.`),
  ];
}

/** Say logged = journaled = receivers; `≥` where a site died before it counted, and never 0 or a question mark. */
function accounting({ totals, receivers }) {
  const item = (label, text, mood, title) => h("span", { class: mood, title }, `${label} `, h("b", {}, text));
  const sign = text => h("span", { "aria-hidden": "true" }, text);
  const lost = totals.lost + totals.dropped;
  const has = one => one.pending === 0 && one.dead === 0;
  return h("div", { class: "acct", role: "group", "aria-label": "What became of every event" },
    item("logged", (totals.unknown.length ? "≥ " : "") + int(totals.logged), null,
      totals.unknown.length ? `${totals.unknown.join(", ")} could not count; every call that returned is kept` : null),
    sign(totals.in_spool ? ">" : totals.logged === totals.journaled ? "=" : "→"),
    item("journaled", int(totals.journaled)),
    receivers.length > 0 && sign(receivers.every(has) ? "=" : "→"),
    receivers.map(one => item(one.label === one.id ? one.receiver : `${one.node}/${one.receiver}`,
      int(one.delivered) + (one.pending ? ` (${int(one.pending)} waiting)` : ""), has(one) ? null : "warn")),
    totals.in_spool > 0 && item("in spools", int(totals.in_spool), "warn"),
    item("withheld", int(totals.withheld)),
    item("rejected", int(totals.rejected), totals.rejected ? "warn" : null),
    item("lost", lost || !totals.gaps ? int(lost) : "unknown", lost || totals.gaps ? "bad" : null));
}

function answersOf(data, counts) {
  const [learning, standing, time] = data.answers;
  const waiting = { question: "Is anything lost?", short: "Counting …", detail: "", mood: "", panel: "delivery" };
  const all = [learning, standing, counts ? counts.answer : waiting, time];
  return h("nav", { class: "answers", "aria-label": "The run in four answers" }, all.map(answerTile));
}

function answerTile(answer) {
  const go = event => {
    event.preventDefault();
    if (answer.metric) choose({ metric: answer.metric, ...(answer.site ? { site: answer.site } : {}) });
    const then = () => document.getElementById(answer.panel)?.focus();
    if (answer.metric) showMetric().then(then);
    else then();
  };
  return h("a", { class: "answer", href: `#${answer.panel}`, onclick: go, "data-key": answer.question },
    h("h2", {}, answer.question), h("div", { class: `big ${answer.mood}` }, answer.short), h("p", {}, answer.detail));
}
