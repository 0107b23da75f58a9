// Building blocks of the pages. Ids come from outside: they reach the page as text nodes and attributes only.

import { pictureUrl } from "./api.js";
import { token } from "./token.js";

export const el = (tag, attributes, ...children) => filled(document.createElement(tag), attributes, children);

export const svg = (tag, attributes, ...children) =>
  filled(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);

function filled(node, attributes = {}, children = []) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value != null) node.setAttribute(name, value);
  }
  node.append(...children.flat().filter((child) => child != null && child !== false));
  return node;
}

export const imageHash = (id) => `#/image/${encodeURIComponent(id)}`;
export const pairHash = (a, b) => `#/pair/${encodeURIComponent(a)}/${encodeURIComponent(b)}`;
// The picture that was searched for last, and an image.
export const exampleHash = (id) => `#/example/${encodeURIComponent(id)}`;
export const clusterHash = (id) => `#/cluster/${encodeURIComponent(id)}`;

export const count = (n) => n.toLocaleString("en");
export const counted = (n, one, many = `${one}s`) => `${count(n)} ${n === 1 ? one : many}`;
export const percent = (share) => `${Math.round(100 * share)}%`;
export const scoreText = (score) => score.toFixed(3);

export function ago(ms) {
  const seconds = Math.max(0, (Date.now() - ms) / 1000);
  if (seconds < 10) return "just now";
  const units = [[86400, "day"], [3600, "hour"], [60, "minute"], [1, "second"]];
  const [size, unit] = units.find(([size]) => seconds >= size);
  return `${counted(Math.floor(seconds / size), unit)} ago`;
}

export function when(ms) {
  const moment = new Date(ms);
  return el("time", { datetime: moment.toISOString(), title: moment.toLocaleString() }, ago(ms));
}

// The part of an id that people tell images apart by.
export function shortId(id, most = 42) {
  const last = id.split("/").filter(Boolean).pop() ?? id;
  return last.length > most ? `${last.slice(0, Math.ceil(most * 0.6))}…${last.slice(-Math.floor(most * 0.35))}` : last;
}

function hueOf(id) {
  let hash = 0;
  for (const letter of id) hash = (hash * 31 + letter.codePointAt(0)) >>> 0;
  return hash % 360;
}

function placeholder(id) {
  const box = el("span", { class: "placeholder", "aria-hidden": "true" }, shortId(id));
  box.style.setProperty("--hue", hueOf(id));
  return box;
}

export function picture(id, path, lazy = true) {
  if (!path) return placeholder(id);
  const image = el("img", { src: token() ? null : path, alt: "", loading: lazy ? "lazy" : "eager", decoding: "async" });
  image.addEventListener("error", () => image.replaceWith(placeholder(id)));
  if (token()) fill(image, path);
  return image;
}

async function fill(image, path) {
  try {
    const url = await pictureUrl(path);
    image.addEventListener("load", () => URL.revokeObjectURL(url));
    image.src = url;
  } catch {
    image.dispatchEvent(new Event("error"));
  }
}

// A picture that leads to its image: what every list is made of.
export function thumb(image, { badge, note, href } = {}) {
  return el(
    "a",
    { class: badge ? "thumb marked" : "thumb", href: href ?? imageHash(image.image_id), title: image.image_id },
    el("span", { class: "frame" }, picture(image.image_id, image.picture), badge && el("b", { class: "badge" }, badge)),
    el("span", { class: "caption" }, shortId(image.image_id, 26)),
    note && el("span", { class: "note" }, note),
  );
}

// A match kind; nothing where none is claimed.
export function kindBadge(kind) {
  return kind && el("b", { class: "kind" }, kind.replace("-", " "));
}

// A probability as a bar, with the threshold it is held against.
export function scoreBar(score, threshold, label) {
  const fill = el("i", { class: score >= threshold ? "fill pass" : "fill" });
  fill.style.width = `${100 * score}%`;
  const mark = el("i", { class: "mark" });
  mark.style.left = `${100 * threshold}%`;
  const title = `${label} ${scoreText(score)}, threshold ${scoreText(threshold)}`;
  return el(
    "span",
    { class: "score" },
    el("span", { class: "track", role: "img", "aria-label": title, title }, fill, mark),
    el("output", {}, scoreText(score)),
  );
}

// How many of all, as a bar.
export function shareBar(some, all) {
  const fill = el("i", { class: "fill" });
  fill.style.width = `${(100 * some) / all}%`;
  return el("span", { class: "score" }, el("span", { class: "track", "aria-hidden": "true" }, fill), el("output", {}, `${count(some)} of ${count(all)}`));
}

// What a piece of evidence adds to a logit, left or right of the middle; `most` fills one side.
export function termBar(value, most) {
  const fill = el("i", { class: value < 0 ? "fill against" : "fill for" });
  fill.style.width = `${50 * Math.min(1, Math.abs(value) / most)}%`;
  const text = `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(2)}`;
  return el("span", { class: "score term" }, el("span", { class: "track", "aria-hidden": "true" }, fill), el("output", {}, text));
}

export function facts(pairs) {
  return el("dl", { class: "facts" }, pairs.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
}

// Text with `code` in it.
export const marked = (text) => text.split("`").map((part, n) => (n % 2 ? el("code", {}, part) : part));

export function message(title, detail, ...more) {
  return el("section", { class: "empty" }, el("h1", { tabindex: "-1" }, title), el("p", {}, marked(detail)), ...more.filter(Boolean));
}

export function tokenForm(keep) {
  const input = el("input", {
    type: "password", name: "token", placeholder: "Token", "aria-label": "Token", autocomplete: "off", spellcheck: "false",
    required: true,
  });
  const enter = (event) => {
    event.preventDefault();
    keep(input.value.trim());
  };
  return el("form", { class: "token", onsubmit: enter }, input, el("button", { type: "submit" }, "Use it"));
}

// A picture that many others resemble.
export function undistinctiveTag() {
  return el("span", { class: "tag", title: "Plain, or like many other pictures, such as a blank page, a receipt or a code. "
    + "Look-alikes are easily taken for copies, so it needs a higher score to join a cluster." }, "undistinctive");
}
