"use strict";
// Elements, numbers and requests. What comes from a run goes into text nodes and attributes; no HTML is ever parsed.

/** Make an element; `on...` are listeners, `css` is an object of styles, null and false leave an attribute out. */
function h(tag, attrs, ...kids) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attrs || {})) {
    if (value == null || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name === "css") Object.assign(made.style, value);
    else made.setAttribute(name, value === true ? "" : value);
  }
  for (const kid of kids.flat(3)) if (kid != null && kid !== false) made.append(kid);
  return made;
}

/** Make an element of SVG. */
function svg(tag, attrs, ...kids) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attrs || {})) {
    if (value == null) continue;
    if (name === "css") Object.assign(made.style, value);
    else made.setAttribute(name, value);
  }
  for (const kid of kids.flat()) if (kid != null) made.append(kid);
  return made;
}

const token = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const counted = new Intl.NumberFormat("en-US");
const int = value => (value == null ? "unknown" : counted.format(value));
const plural = (count, noun) => `${int(count)} ${noun}${count === 1 ? "" : "s"}`;
const clip = (text, length) => (text.length > length ? text.slice(0, length - 1) + "…" : text);
const percent = share => `${(share * 100).toFixed(0)} %`;
const isNumber = value => typeof value === "number" && Number.isFinite(value);

/** Write a value with about four digits; NaN and infinity by name. */
function num(value) {
  if (value == null) return "–";
  if (typeof value === "string") return value.replace("Infinity", "∞");
  const size = Math.abs(value);
  if (size >= 1e5 || (size && size < 1e-3)) return value.toExponential(1).replace("e+", "e");
  return value.toFixed(size >= 100 ? 0 : size >= 10 ? 1 : size >= 1 ? 3 : 4);
}

/** Write a difference with its sign. */
const signed = value => (!isNumber(value) ? "–" : `${value < 0 ? "−" : "+"}${num(Math.abs(value))}`);

/** Write a time in the unit that suits it. */
function sec(value) {
  if (value == null) return "–";
  if (value >= 5400) return `${(value / 3600).toFixed(1)} h`;
  if (value >= 90) return `${(value / 60).toFixed(1)} min`;
  if (value >= 1) return `${value.toFixed(value >= 10 ? 0 : 1)} s`;
  return value >= 0.001 ? `${(value * 1000).toFixed(0)} ms` : value > 0 ? "under 1 ms" : "0 s";
}

const bytes = size => (size >= 1e6 ? `${(size / 1e6).toFixed(1)} MB` : size >= 1e3 ? `${(size / 1e3).toFixed(1)} kB` : `${size} B`);
const day = ms => (ms ? new Date(ms).toISOString().slice(0, 16).replace("T", " ") + " UTC" : "–");

function median(values) {
  const found = values.filter(isNumber).sort((a, b) => a - b);
  const half = found.length >> 1;
  return found.length ? (found.length % 2 ? found[half] : (found[half - 1] + found[half]) / 2) : null;
}

// A report has its data in the page itself, by address; the live page asks its server.
const kept = document.getElementById("report-data");
const KEPT = kept ? JSON.parse(kept.textContent) : null;

/** Return the data at an address. */
async function get(path) {
  if (KEPT) {
    if (path in KEPT) return KEPT[path];
    throw new Error("The report does not hold this; the live page does: fedtrack ui FOLDER");
  }
  const answer = await fetch(path, { credentials: "same-origin" });
  const found = await answer.json().catch(() => ({ error: `The server answered ${answer.status}.` }));
  if (!answer.ok) throw new Error(found.error || `The server answered ${answer.status}.`);
  return found;
}

/** Return the address of a run's data. */
function address(run, rest = "", query = {}) {
  const pairs = Object.entries(query).flatMap(([name, value]) => [value].flat().map(one => [name, one]));
  const asked = new URLSearchParams(pairs.filter(([, value]) => value !== "")).toString();
  return `/api/runs/${encodeURIComponent(run)}${rest}${asked ? `?${asked}` : ""}`;
}

/** Make a panel: a region with a heading. */
function panel(id, width, title, tools, ...kids) {
  const head = h("div", { class: "head" }, h("h2", { id: `${id}-title` }, title), tools && h("div", { class: "tools" }, tools));
  return h("section", { class: `panel ${width}`, id, tabindex: "-1", "aria-labelledby": `${id}-title` }, head, ...kids);
}

const toggle = (label, on, change, key) =>
  h("button", { type: "button", "aria-pressed": String(!!on), onclick: change, "data-key": key || label }, label);

function chooser(label, options, chosen, change) {
  return h("select", { "aria-label": label, "data-key": label, onchange: event => change(event.target.value) },
    options.map(([value, text]) => h("option", { value, selected: value === chosen }, text)));
}

const readout = () => h("div", { class: "read", role: "status", "aria-live": "polite" });
const empty = text => h("div", { class: "empty" }, text);
