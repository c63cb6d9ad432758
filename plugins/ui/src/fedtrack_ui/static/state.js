"use strict";
// What is chosen is in the address, so that a link shows a colleague the same.

const DEFAULTS = {
  run: "", compare: "", metric: "", site: "", axis: "round", log: "", each: "", smooth: "0", cells: "diff", order: "worst",
  xaxis: "step",
};
let state = {};

/** Read the state from the address. */
function readState() {
  state = { ...DEFAULTS, ...Object.fromEntries(new URLSearchParams(location.hash.slice(1))) };
}

/** Change the state; an address that names another run is a step in the browser's history. */
function choose(changes, { history: step = false } = {}) {
  Object.assign(state, changes);
  const shown = Object.entries(state).filter(([name, value]) => value !== "" && value !== DEFAULTS[name]);
  const hash = `#${new URLSearchParams(shown)}`;
  try {
    if (step) history.pushState(null, "", hash);
    else history.replaceState(null, "", hash);
  } catch { /* a sandboxed file has no history */ }
}

/** Return the picked sites, two at most. */
const picked = () => state.site.split("\n").filter(Boolean);
const PICKS = ["--pick1", "--pick2"];

/** Pick a site everywhere, or drop it. */
function pick(site) {
  const now = picked();
  const next = now.includes(site) ? now.filter(other => other !== site) : [...now.slice(-1), site];
  choose({ site: next.join("\n") });
  redraw();
}

/** Return the colour's name of a site. */
function colourOf(site, laggard) {
  const at = picked().indexOf(site);
  return at >= 0 ? PICKS[at % 2] : site === laggard ? "--worst" : "--mean";
}

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  try {
    localStorage.setItem("fedtrack-theme", theme);
  } catch { /* storage is not allowed */ }
}

function startTheme() {
  let theme = new URLSearchParams(location.hash.slice(1)).get("theme");
  try {
    theme = theme || localStorage.getItem("fedtrack-theme");
  } catch { /* storage is not allowed */ }
  document.documentElement.dataset.theme = theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
}
