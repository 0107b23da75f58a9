// The view of a pair: both pictures, where they agree, what differs, and why they score as they do.

import * as api from "./api.js";
import {
  counted, el, imageHash, kindBadge, message, pairHash, percent, picture, scoreBar, shortId, svg, termBar, undistinctiveTag,
} from "./elements.js";

const TERMS_SHOWN = 8;
// Degrees and shares below these are within the precision of alignment.
const LEAST_DEGREES = 1;
const LEAST_DIFFERING = 0.005;
// Share from which the API calls a picture covered whole.
const WHOLE = 0.95;

export async function ofImages(a, b) {
  const result = await api.pair(a, b);
  return pairView(result, { id: a, path: result.a.picture }, { id: b, path: result.b.picture });
}

export async function ofExample(example, id) {
  if (!example) return message("Your picture is no longer here", "It was only kept in this page. Search by it again.");
  const result = await api.pair(example.file, id);
  return pairView(result, { name: example.file.name, url: example.url }, { id, path: result.b.picture });
}

// Where two pictures agree, in words; a and b name them at the beginning of a sentence and within one.
export function inWords(structure, [a, ofA] = ["The first picture", "the first"], [b, ofB] = ["The second picture", "the second"]) {
  const overlap = structure.overlap;
  if (!overlap) return `Where the pictures agree is not available: ${structure.reason}.`;
  if (overlap.relation === "none") return "The pictures agree nowhere.";
  const extent = {
    "equal extent": "Both pictures show the same part.",
    "a inside b": `${a} lies inside ${ofB}: it shows ${percent(overlap.b_covered)} of it.`,
    "b inside a": `${b} lies inside ${ofA}: it shows ${percent(overlap.a_covered)} of it.`,
    "overlap": `The pictures overlap: they share ${percent(overlap.a_covered)} of ${ofA} and ${percent(overlap.b_covered)} of ${ofB}.`,
  }[overlap.relation];
  return [extent, placement(overlap, b, ofA), differing(overlap)].filter(Boolean).join(" ");
}

function placement(overlap, b, ofA) {
  const degrees = overlap.turned + overlap.rotation;
  const clockwise = degrees > 180 ? degrees - 360 : degrees;
  const parts = [
    overlap.mirrored && "mirrored",
    Math.abs(clockwise) >= LEAST_DEGREES && `turned by ${Math.abs(clockwise).toFixed(0)}° ${clockwise > 0 ? "clockwise" : "anticlockwise"}`,
  ].filter(Boolean);
  return parts.length > 0 && `${b} is ${ofA} ${parts.join(" and ")}.`;
}

function differing(overlap) {
  if (overlap.differing < LEAST_DIFFERING) return "Nothing differs in what they share.";
  return `${percent(Math.max(0.01, overlap.differing))} of what they share differs.`;
}

function pairView(result, a, b) {
  const overlap = result.structure.overlap;
  const drawn = overlap && overlap.relation !== "none";
  const differences = drawn && overlap.differing >= LEAST_DIFFERING ? overlap.differences : [];
  const figures = el(
    "div",
    { class: "pair" },
    side(a, overlap?.a_aspect, drawn && marks(overlap.a_covered, overlap.b_in_a, differences.map((each) => each.in_a))),
    side(b, overlap?.b_aspect, drawn && marks(overlap.b_covered, overlap.a_in_b, differences.map((each) => each.in_b))),
  );
  return el(
    "section",
    {},
    el("h1", { tabindex: "-1" }, el("small", {}, "Pair"), el("span", { class: "id" }, `${nameOf(a)} and ${nameOf(b)}`)),
    el(
      "section",
      { class: "card" },
      el("h2", {}, result.match ? "A match" : "No match", " ", kindBadge(result.kind),
        result.undistinctive.some(Boolean) && undistinctiveTag()),
      el("p", {}, inWords(result.structure)),
      el("div", { class: "checks" },
        el("span", {}, "Pair score"), scoreBar(result.score, result.threshold, "pair score"),
        el("span", {}, "As wholes"), scoreBar(result.first_score, result.threshold, "score of the pictures as wholes")),
    ),
    figures,
    drawn && legend(figures, overlap.relation, differences.length),
    terms(result.terms),
    a.id && el("p", {}, el("a", { href: pairHash(b.id, a.id) }, "Exchange the pictures")),
  );
}

const nameOf = (each) => each.id ?? `your picture ${each.name}`;

function side(each, aspect, marked) {
  const shown = each.url ? el("img", { src: each.url, alt: "" }) : picture(each.id, each.path, false);
  const frame = el("div", { class: "located" }, shown, marked);
  const fit = (ratio) => frame.style.setProperty("--aspect", ratio);
  if (aspect) fit(aspect);
  shown.addEventListener("load", () => fit(shown.naturalWidth / shown.naturalHeight));
  const name = each.id ? el("a", { href: imageHash(each.id), title: each.id }, shortId(each.id)) : nameOf(each);
  return el("figure", {}, frame, el("figcaption", {}, name));
}

const corners = (outline) => outline.map(([x, y]) => `${x},${y}`).join(" ");

// What the other picture does not show is dimmed, its outline drawn, and what differs shaded. Where the other picture
// shows everything, its outline would only run along the edges.
function marks(covered, outline, differences) {
  const whole = covered >= WHOLE;
  return svg(
    "svg",
    { viewBox: "0 0 1 1", preserveAspectRatio: "none", "aria-hidden": "true" },
    !whole && svg("path", { class: "elsewhere", d: `M0,0H1V1H0Z M${corners(outline)}Z` }),
    svg("g", { class: "differs" }, differences.map((each) => svg("polygon", { points: corners(each) }))),
    !whole && ["halo", "outline"].map((kind) => svg("polygon", { class: kind, points: corners(outline) })),
  );
}

function legend(figures, relation, differences) {
  const shown = el("input", { type: "checkbox", checked: true });
  shown.addEventListener("change", () => figures.classList.toggle("plain", !shown.checked));
  return el(
    "p",
    { class: "legend" },
    el("label", {}, shown, " Show marks"),
    relation !== "equal extent" && [
      el("span", {}, el("i", { class: "key outline" }), "outline of the other picture"),
      el("span", {}, el("i", { class: "key elsewhere" }), "not in the other picture"),
    ],
    differences > 0 && el("span", {}, el("i", { class: "key differs" }), "differs"),
  );
}

function terms(found) {
  if (!found.length) return false;
  const most = Math.abs(found[0].value);
  const rest = found.slice(TERMS_SHOWN).reduce((sum, each) => sum + each.value, 0);
  const shown = found.slice(0, TERMS_SHOWN).map((each) => [each.name.replaceAll("_", " "), each.value]);
  if (found.length > TERMS_SHOWN) shown.push([counted(found.length - TERMS_SHOWN, "other"), rest]);
  return el(
    "section",
    { class: "card" },
    el("h2", {}, "Why this score"),
    el("p", { class: "quiet" }, "What each piece of evidence of the second look adds to the logit of the score: to the right for a match, to the left against it."),
    el("div", { class: "terms" }, shown.flatMap(([name, value]) => [el("span", {}, name), termBar(value, most)])),
  );
}
