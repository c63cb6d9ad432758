"use strict";
// Images, texts, histograms and files that were logged, and the models that the server kept.

const SHOWN_IMAGES = 24;
const SHOWN_TEXTS = 12;

function mediaPanel(page) {
  const { items } = page.data;
  const of = kind => items.filter(item => item.kind === kind);
  const [images, texts, histograms, files] = [of("image"), of("text"), of("histogram"), of("artifact")];
  if (!items.length) return null;
  return panel("media", "w12", "Images, texts and files", null,
    images.length > 0 && h("div", { class: "pictures" }, images.slice(0, SHOWN_IMAGES).map(item => imageFigure(page, item))),
    texts.slice(0, SHOWN_TEXTS).map(item => textBlock(page, item)),
    histograms.slice(0, SHOWN_TEXTS).map(item => histogramBlock(page, item)),
    files.length > 0 && h("ul", { class: "files" }, files.slice(0, 50).map(item => h("li", {}, itemLink(page, item), h("span", { class: "mut" }, ` ${item.site} · ${bytes(item.size)}`)))),
    items.length >= 400 && h("p", { class: "mut" }, "The newest 400 are listed."));
}

const itemAddress = (page, item) => address(page.name, `/items/${item.id}`);
const itemPlace = item => [item.site, item.round != null && `round ${item.round}`, item.step != null && `step ${int(item.step)}`].filter(Boolean).join(" · ");

function itemLink(page, item) {
  const data = KEPT?.[itemAddress(page, item)];
  if (KEPT && !data) return item.key;
  return h("a", { href: data || itemAddress(page, item), download: "" }, item.key);
}

function imageFigure(page, item) {
  const source = KEPT ? KEPT[itemAddress(page, item)] : itemAddress(page, item);
  if (!source) return h("figure", {}, h("figcaption", {}, item.key, h("span", { class: "mut" }, ` ${itemPlace(item)} · ${bytes(item.size)}, only in the live page`)));
  return h("figure", {}, h("img", { src: source, alt: `${item.key} of ${itemPlace(item)}`, loading: "lazy" }), h("figcaption", {}, h("b", {}, clip(item.key, 40)), h("span", { class: "mut" }, ` ${itemPlace(item)}`)));
}

/** A text is fetched when somebody opens it. */
function textBlock(page, item) {
  const body = h("pre", {});
  const fill = async event => {
    if (!event.target.open || body.textContent) return;
    body.textContent = await rawOf(page, item);
  };
  return h("details", { ontoggle: fill }, h("summary", {}, item.key, h("span", { class: "mut" }, ` ${itemPlace(item)} · ${bytes(item.size)}`)), body);
}

async function rawOf(page, item) {
  const path = itemAddress(page, item);
  if (KEPT) return KEPT[path] ?? "Only the live page holds this: fedtrack ui FOLDER";
  const answer = await fetch(path);
  return answer.ok ? answer.text() : `It cannot be read: the server answered ${answer.status}.`;
}

function histogramBlock(page, item) {
  const box = h("div", {});
  const fill = async event => {
    if (!event.target.open || box.firstChild) return;
    const raw = await rawOf(page, item);
    try {
      box.append(histogramPicture(JSON.parse(raw), item.key));
    } catch {
      box.append(raw);
    }
  };
  return h("details", { ontoggle: fill }, h("summary", {}, item.key, h("span", { class: "mut" }, ` histogram · ${itemPlace(item)}`)), box);
}

function histogramPicture({ edges, counts }, name) {
  const most = Math.max(...counts, 1e-12);
  const wide = edges.at(-1) - edges[0] || 1;
  return svg("svg", { viewBox: "0 0 300 80", width: 300, height: 96, role: "img", "aria-label": `Histogram of ${name} from ${num(edges[0])} to ${num(edges.at(-1))}` },
    counts.map((count, at) => svg("rect", { x: ((edges[at] - edges[0]) / wide) * 300, y: 68 - (count / most) * 66, width: Math.max(0.5, ((edges[at + 1] - edges[at]) / wide) * 300 - 0.5), height: (count / most) * 66, class: "busy" })),
    svg("text", { x: 0, y: 79 }, num(edges[0])), svg("text", { x: 300, y: 79, "text-anchor": "end" }, num(edges.at(-1))));
}

function modelsPanel(page) {
  const { models } = page.data;
  if (!models.length) return null;
  return panel("models", "w12", "Models", null, h("ul", { class: "files" }, models.map(model => h("li", {}, KEPT ? model.name : h("a", { href: address(page.name, `/models/${encodeURIComponent(model.name)}`), download: model.name }, model.name), h("span", { class: "mut" }, ` ${bytes(model.size)}`)))));
}
