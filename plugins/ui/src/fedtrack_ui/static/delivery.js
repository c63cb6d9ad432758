"use strict";
// Where events went: one bar a receiver, and what is worth knowing, worst first.

function deliveryPanel(page) {
  const { counts } = page;
  if (!counts) return panel("delivery", "w5", "Where events went", null, empty("Counting the events …"));
  const body = counts.receivers.length ? counts.receivers.map(one => receiverRow(one, counts, page.data.run.goes_on)) : empty("The run has no receiver: its events are in the journal only.");
  const shown = counts.issues.slice(0, 8);
  const glyph = { bad: "✕", warn: "!" };
  const list = shown.length > 0 && h("ul", { class: "issues", "aria-label": "Worth knowing" },
    shown.map(([mood, text]) => h("li", {}, h("span", { class: mood, "aria-hidden": "true" }, glyph[mood]), h("span", {}, clip(text, 300)))),
    counts.issues.length > 8 && h("li", {}, h("span"), `and ${int(counts.issues.length - 8)} more: fedtrack runs show`));
  return panel("delivery", "w5", "Where events went", null, body, list);
}

function receiverRow(one, counts, running) {
  const total = one.addressed ?? one.delivered + one.skipped_sum + one.dead + one.pending + one.lost;
  const part = (count, name) => count > 0 && h("i", { class: name, css: { width: `${(count / (total || 1)) * 100}%` } });
  const [mood, said] = one.lost ? ["bad", "✕ lost some"] : one.dead ? ["bad", "✕ refused some"] : one.pending ? (running ? ["mut", "● on their way"] : ["warn", "▲ behind"])
    : !total ? ["mut", "○ nothing yet"] : ["ok", one.skipped_sum ? "✓ has all it can hold" : "✓ has everything"];
  const kinds = Object.keys(one.skipped).join(", ");
  const parts = [one.skipped_sum && `${int(one.skipped_sum)} of kinds that it cannot hold${kinds ? ` (${kinds})` : ""}`, one.dead && `${int(one.dead)} refused`,
    one.pending && `${int(one.pending)} wait in the journal`, one.lost && `${int(one.lost)} damaged before it could take them`, one.outage_seconds > 0 && `took nothing for ${sec(one.outage_seconds)}`].filter(Boolean);
  return h("div", { class: "rec" },
    h("div", { class: "row" }, h("b", {}, one.receiver), h("span", { class: "mut" }, one.label), h("span", { class: "grow" }), h("span", { class: mood }, said)),
    h("div", { class: "track", role: "img", "aria-label": `${int(one.delivered)} of ${int(total)} delivered` },
      part(one.delivered, "t-delivered"), part(one.skipped_sum, "t-skipped"), part(one.dead + one.lost, "t-dead"), part(one.pending, "t-pending")),
    h("div", { class: "mut" }, h("b", { class: "ink" }, int(one.delivered)), ` of ${int(total)} delivered`, parts.map(text => ` · ${text}`)),
    one.error && h("div", {}, clip(one.error, 200)),
    one.link ? h("div", {}, h("a", { href: one.link, rel: "noreferrer noopener", target: "_blank" }, `Open ${one.receiver}`)) : one.location && h("div", { class: "mut" }, one.location),
    one.command && h("div", {}, "See it: ", h("code", {}, one.command)),
    one.pending > 0 && !running && h("div", {}, "Deliver them: ", h("code", {}, counts.replay)));
}
