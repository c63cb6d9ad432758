"use strict";
// Sites x rounds as a heat map: the difference to the median of each round, or the value itself.

const CIVIDIS = [[0, 32, 77], [45, 62, 108], [96, 98, 110], [125, 124, 120], [165, 155, 115], [212, 191, 92], [255, 234, 70]];
const NAMED_ROWS = 12;
const ALL_NAMED = 24;

const hexOf = colour => [1, 3, 5].map(at => parseInt(colour.slice(at, at + 2), 16));
const between = (from, to, share) => `rgb(${from.map((one, at) => Math.round(one + (to[at] - one) * share))})`;

function scaleColour(share) {
  const at = Math.max(0, Math.min(0.9999, share)) * (CIVIDIS.length - 1);
  return between(CIVIDIS[Math.floor(at)], CIVIDIS[Math.floor(at) + 1], at % 1);
}

function matrixPanel(page) {
  const data = page.across;
  if (!data || !data.x.length || !data.sites.length) return panel("matrix", "w5", "Sites × rounds", null, empty("One row a site, one column a round, from the first round on."));
  const box = h("div", { class: "chart" });
  const read = readout();
  const key = h("div", { class: "key" });
  page.later.push(() => new Matrix(page, box, read, key).draw());
  const change = name => value => { choose({ [name]: value }); redraw(); };
  const tools = [chooser("Colour shows", [["diff", "difference to median"], ["value", "value"]], state.cells, change("cells")),
    chooser("Order of rows", [["worst", "worst first"], ["name", "by name"]], state.order, change("order"))];
  return panel("matrix", "w5", data.axis === "round" ? "Sites × rounds" : `Sites × ${data.axis}s`, tools, box, key, read);
}

class Matrix {
  constructor(page, box, read, key) {
    Object.assign(this, { page, data: page.across, box, read, key });
    const { data } = this;
    this.sites = state.order === "name" ? data.sites : data.order;
    this.groups = data.values[0].length;
    const many = this.sites.length > ALL_NAMED;
    this.named = many ? this.sites.slice(0, NAMED_ROWS) : this.sites;
    this.rest = many ? this.sites.slice(NAMED_ROWS) : [];
    this.diff = state.cells === "diff" && !data.flat && data.sites.length > 2;
    this.rows = new Map(data.sites.map((site, at) => [site, data.values[at]]));
    this.state = new Map(page.data.sites.map(site => [site.site, site]));
    this.took = page.data.time.took || {};
    this.measure();
    this.units();
  }

  measure() {
    this.width = this.box.clientWidth;
    const longest = Math.max(...this.named.map(site => clip(site, 14).length));
    this.gutter = Math.min(112, Math.max(52, longest * 6.6 + 18));
    this.rowHeight = this.rest.length ? 14 : Math.max(15, Math.min(38, 322 / this.named.length));
    this.restHeight = Math.min(this.rest.length * 3, 190);
    this.gap = this.rest.length ? 8 : 0;
    this.height = this.named.length * this.rowHeight + this.gap + this.restHeight + 22;
    this.columns = Math.max(1, Math.min(this.groups, Math.floor(this.width - this.gutter)));
    this.cell = (this.width - this.gutter) / this.columns;
  }

  /** The spread of each round, with a floor so that the last rounds are seen beside the first. */
  units() {
    const { p10, p90, p50 } = this.data.places;
    const spreads = p90.map((high, at) => (isNumber(high) && isNumber(p10[at]) ? high - p10[at] : null));
    const floor = 0.3 * (median(spreads) || 0) || 1e-9;
    this.spread = spreads.map(one => Math.max(one ?? 0, floor));
    this.middle = p50;
    const all = this.data.values.flat().filter(isNumber);
    this.low = all.reduce((a, b) => Math.min(a, b), Infinity);
    this.high = all.reduce((a, b) => Math.max(a, b), -Infinity);
  }

  place(group) {
    return Math.min(this.data.x.length - 1, group * this.data.merged);
  }

  /** How good a value is: below 0 is worse than the median. */
  goodness(value, group) {
    const at = this.place(group);
    const apart = (value - (this.middle[at] ?? value)) / this.spread[at];
    return this.data.low ? -apart : apart;
  }

  colour(value, group) {
    if (!this.diff) {
      const share = (value - this.low) / (this.high - this.low || 1);
      return scaleColour(this.data.low ? 1 - share : share);
    }
    const good = Math.max(-1, Math.min(1, this.goodness(value, group) / 1.5));
    return between(hexOf(token("--neutral")), hexOf(token(good < 0 ? "--heat-bad" : "--heat-good")), Math.abs(good) ** 0.8);
  }

  /** The worst of several sites and groups of rounds, which share a cell. */
  worst(sites, from, to) {
    let found = null;
    for (const site of sites) {
      const values = this.rows.get(site);
      for (let group = from; group < to; group++) {
        if (!isNumber(values[group])) continue;
        const good = this.goodness(values[group], group);
        if (!found || good < found.good) found = { value: values[group], group, good };
      }
    }
    return found;
  }

  draw() {
    const scale = devicePixelRatio;
    const { data } = this;
    const canvas = h("canvas", { width: this.width * scale, height: this.height * scale, css: { width: `${this.width}px`, height: `${this.height}px` }, tabindex: 0, role: "img", "data-key": "matrix",
      "aria-label": `${data.metric} of ${plural(this.sites.length, "site")} in ${plural(data.x.length, "place")}. Arrow keys read a cell, Enter picks the site.` });
    this.pen = canvas.getContext("2d");
    this.pen.scale(scale, scale);
    this.pen.font = `11px ${token("--sans")}`;
    this.pen.textBaseline = "middle";
    this.named.forEach((site, row) => this.drawNamed(site, row * this.rowHeight));
    this.drawRest();
    this.drawAxis();
    this.listen(canvas);
    this.box.append(canvas);
    this.drawKey();
  }

  drawNamed(site, y) {
    for (let column = 0; column < this.columns; column++) this.drawCell([site], column, y, this.rowHeight - 1);
    const mark = markOf(this.state.get(site) || {});
    if (mark) {
      this.pen.fillStyle = token(`--${mark[1]}`);
      this.pen.fillText(mark[0], 0, y + this.rowHeight / 2);
    }
    const chosen = picked().includes(site);
    this.pen.fillStyle = token(chosen ? "--pick1" : "--ink");
    this.pen.font = `${chosen ? 700 : 400} 11px ${token("--sans")}`;
    this.pen.fillText(clip(site, 14), 13, y + this.rowHeight / 2);
  }

  drawRest() {
    if (!this.rest.length) return;
    const top = this.named.length * this.rowHeight + this.gap;
    const lines = Math.min(this.rest.length, Math.floor(this.restHeight));
    const height = this.restHeight / lines;
    for (let line = 0; line < lines; line++) {
      const sites = this.rest.slice(Math.floor((line * this.rest.length) / lines), Math.floor(((line + 1) * this.rest.length) / lines));
      for (let column = 0; column < this.columns; column++) this.drawCell(sites, column, top + line * height, height + (height < 3 ? 0.3 : -0.5));
    }
    this.pen.fillStyle = token("--muted");
    this.pen.font = `11px ${token("--sans")}`;
    this.pen.fillText(`${int(this.rest.length)} more`, 13, top + 9);
    if (this.rest.length > lines) {
      this.pen.fillText("worst of", 13, top + 24);
      this.pen.fillText(`${Math.ceil(this.rest.length / lines)} a line`, 13, top + 37);
    }
  }

  range(column) {
    const from = Math.floor((column * this.groups) / this.columns);
    return [from, Math.max(from + 1, Math.floor(((column + 1) * this.groups) / this.columns))];
  }

  drawCell(sites, column, y, height) {
    const [from, to] = this.range(column);
    const found = this.worst(sites, from, to);
    const x = this.gutter + column * this.cell;
    const width = this.cell > 5 ? this.cell - 1 : this.cell + 0.5;
    if (found) {
      this.pen.fillStyle = this.colour(found.value, found.group);
      this.pen.fillRect(x, y, width, height);
    } else if (height > 6) {
      this.drawHole(sites[0], this.place(from), x + width / 2, y + height / 2, Math.min(3.2, width / 3));
    }
  }

  /** Not finite, failed, silent or not asked: each has a sign of its own. */
  drawHole(site, at, x, y, size) {
    const odd = this.data.odd.some(one => one[0] === at && one[1] === site);
    const took = this.took[site]?.includes(at);
    const pen = this.pen;
    pen.save();
    pen.lineWidth = 1.2;
    pen.beginPath();
    if (odd) {
      pen.fillStyle = token("--bad");
      pen.fillText("▼", x - 4, y);
    } else if (this.state.get(site)?.error && !took) {
      pen.strokeStyle = token("--bad");
      pen.moveTo(x - size, y - size);
      pen.lineTo(x + size, y + size);
      pen.moveTo(x + size, y - size);
      pen.lineTo(x - size, y + size);
    } else if (took) {
      pen.strokeStyle = token("--warn");
      pen.arc(x, y, size, 0, 7);
    } else {
      pen.fillStyle = token("--wait");
      pen.fillRect(x - 1, y - 1, 2, 2);
    }
    pen.stroke();
    pen.restore();
  }

  drawAxis() {
    this.pen.fillStyle = token("--muted");
    this.pen.font = `11px ${token("--sans")}`;
    this.pen.textAlign = "center";
    const every = Math.ceil(34 / this.cell);
    for (let column = 0; column < this.columns; column += every) {
      const at = this.place(this.range(column)[0]);
      const text = this.data.axis === "round" ? String(at) : this.data.axis === "step" ? int(this.data.x[at]) : "";
      this.pen.fillText(text, this.gutter + column * this.cell + Math.min(this.cell, 16) / 2, this.height - 9);
    }
  }

  drawKey() {
    const ramp = h("span", { class: "ramp", css: { background: `linear-gradient(90deg, ${this.rampColours().join(",")})` } });
    const ends = this.diff ? ["worse", "better than the median (± 1.5 spreads)"] : [num(this.low), num(this.high)];
    this.key.replaceChildren(ends[0], ramp, ends[1], h("span", { class: "whole" }, "○ took part, logged none · ✕ failed · ▼ not finite · dot: not asked"));
  }

  rampColours() {
    if (!this.diff) return [0, 0.25, 0.5, 0.75, 1].map(share => scaleColour(this.data.low ? 1 - share : share));
    return [token("--heat-bad"), token("--neutral"), token("--heat-good")];
  }

  siteAt(y) {
    if (y < 0) return null;
    const row = Math.floor(y / this.rowHeight);
    if (row < this.named.length) return this.named[row];
    const inside = y - this.named.length * this.rowHeight - this.gap;
    if (inside < 0 || inside >= this.restHeight) return null;
    return this.rest[Math.min(this.rest.length - 1, Math.floor((inside / this.restHeight) * this.rest.length))];
  }

  tell(site, column) {
    if (!site) { this.read.textContent = ""; return; }
    const parts = [h("b", {}, clip(site, 40))];
    if (column != null && column >= 0 && column < this.columns) parts.push(` · ${this.describe(site, this.range(column)[0])}`);
    const error = this.state.get(site)?.error;
    if (error) parts.push(` · ${clip(error, 120)}`);
    this.read.replaceChildren(...parts);
  }

  describe(site, group) {
    const at = this.place(group);
    const value = this.rows.get(site)[group];
    const name = placeName(this.data, at);
    if (isNumber(value)) return `${name}: ${num(value)} (${signed(value - this.middle[at])} to the median)`;
    const odd = this.data.odd.find(one => one[0] === at && one[1] === site);
    if (odd) return `${name}: ${num(odd[2])}`;
    if (this.took[site]?.includes(at)) return `${name}: took part, logged no ${this.data.metric}`;
    return `${name}: ${this.state.get(site)?.error ? "failed before" : "no value"}`;
  }

  listen(canvas) {
    const column = x => Math.floor((x - this.gutter) / this.cell);
    canvas.addEventListener("mousemove", event => this.tell(this.siteAt(event.offsetY), column(event.offsetX)));
    canvas.addEventListener("mouseleave", () => this.tell(null));
    canvas.addEventListener("click", event => { const site = this.siteAt(event.offsetY); if (site) pick(site); });
    let [row, at] = [0, this.columns - 1];
    canvas.addEventListener("keydown", event => {
      if (event.key === "Enter") { pick(this.sites[row]); return; }
      const move = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
      if (!move) return;
      event.preventDefault();
      row = Math.max(0, Math.min(this.sites.length - 1, row + move[0]));
      at = Math.max(0, Math.min(this.columns - 1, at + move[1]));
      this.tell(this.sites[row], at);
    });
  }
}
