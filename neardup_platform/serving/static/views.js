// The views, each a function from answers of the API to elements.

import * as api from "./api.js";
import {
  clusterHash, count, counted, el, exampleHash, facts, imageHash, kindBadge, message, pairHash, picture, scoreBar, scoreText,
  shareBar, shortId, thumb, undistinctiveTag, when,
} from "./elements.js";
import { inWords } from "./pairs.js";

const PAGE = 60;
const heading = (...parts) => el("h1", { tabindex: "-1" }, ...parts);
const clusterLink = (head) => el("a", { href: clusterHash(head), title: head }, shortId(head));

// What applies to a cluster: its labels, and the quarantines that are not those of a label.
function standing(labels, quarantines) {
  return labels.length + quarantines.length > 0 && el(
    "ul",
    { class: "standing" },
    labels.map((label) => el(
      "li",
      {},
      el("b", {}, label.action), el("span", {}, label.policy), el("span", { class: "quiet" }, `bank ${label.bank} · from `,
        el("a", { href: imageHash(label.image_id), title: label.image_id }, shortId(label.image_id))),
    )),
    quarantines.filter((each) => !each.bank).map((each) => el(
      "li",
      {},
      el("b", {}, "quarantine"), el("span", {}, each.reason || "no new image joins by its matches"),
      each.issued_by && el("span", { class: "quiet" }, `by ${each.issued_by} · `, when(each.at_ms)),
    )),
  );
}

const ROWS = 30;
const NEWEST = "Newest clusters";
const LARGEST = "Largest clusters";
const ORDERS = [[NEWEST, "#/"], [LARGEST, "#/largest"]];
export const newest = async () => clusterList(NEWEST, (await api.recentClusters(ROWS)).clusters);
export const largest = async () => clusterList(LARGEST, (await api.largestClusters(ROWS)).clusters);

function clusterList(title, clusters) {
  if (!clusters.length) {
    return message(
      "No near-duplicates yet",
      "A cluster appears here as soon as a second image joins it. Publish pictures with `neardup ingest PATH`.",
    );
  }
  return el(
    "section",
    {},
    heading(title),
    el("p", { class: "orders" }, ORDERS.map(([name, href]) => (name === title ? el("b", {}, name) : el("a", { href }, name)))),
    el("div", { class: "rows" }, clusters.map(clusterRow)),
  );
}

function clusterRow(cluster) {
  const more = cluster.size - cluster.members.length;
  return el(
    "article",
    { class: "row" },
    el(
      "header",
      {},
      el("h2", {}, clusterLink(cluster.head)),
      el("p", { class: "quiet" }, counted(cluster.size, "image"), " · ", when(cluster.updated_ms)),
    ),
    el(
      "div",
      { class: "strip" },
      cluster.members.map((member) => thumb(member, { badge: member.image_id === cluster.head && "head" })),
      more > 0 && el("a", { class: "more", href: clusterHash(cluster.head) }, `+${count(more)}`),
    ),
  );
}

export async function cluster(asked) {
  const [record, first] = await Promise.all([api.cluster(asked), api.members(asked, PAGE)]);
  const { head } = record;
  const grid = el("div", { class: "grid" });
  const more = el("button", { type: "button", class: "wide" }, "Show more");
  const add = (page) => {
    grid.append(...page.members.map((member) => memberThumb(member, head)));
    more.hidden = !page.next_cursor;
    more.onclick = async () => {
      more.disabled = true;
      try {
        add(await api.members(asked, PAGE, page.next_cursor));
      } finally {
        more.disabled = false;
      }
    };
  };
  add(first);
  return el(
    "section",
    {},
    heading(el("small", {}, "Cluster of"), el("span", { class: "id" }, head)),
    standing(record.labels, record.quarantines),
    facts([
      ...(record.redirected_from ? [["Formerly", shortId(record.redirected_from)]] : []),
      ["Images", count(record.size)],
      ["Found by", counted(record.representatives.length, "representative")],
      ["Created", when(record.created_ms)],
      ["Last joined", when(record.updated_ms)],
    ]),
    grid,
    more,
  );
}

function memberThumb(member, head) {
  const isHead = member.image_id === head;
  return thumb(member, { badge: isHead && "head", note: isHead ? "founder" : el("span", {}, `score ${scoreText(member.score)} `, kindBadge(member.kind)) });
}

export async function image(id) {
  const [record, why, past] = await Promise.all([api.image(id), api.explanation(id), api.history(id)]);
  const { labels, quarantines } = await api.cluster(record.head);
  return el(
    "section",
    { class: "why" },
    heading(el("small", {}, "Image"), el("span", { class: "id" }, id)),
    standing(labels, quarantines),
    el(
      "div",
      { class: "columns" },
      el(
        "div",
        {},
        el("div", { class: "poster" }, picture(id, record.picture, false)),
        facts([
          ["Cluster", clusterLink(record.head)],
          ["Decided", when(why.decided_ms)],
          ...(why.latency_ms === null ? [] : [["Event to decision", `${count(why.latency_ms)} ms`]]),
          ["Decision", `no. ${count(why.sequence)}`],
          ["Classifier", why.classifier_version],
          ["Terms", why.terms_version],
          ...(record.source_uri ? [["Source", record.source_uri]] : []),
        ]),
      ),
      el("div", {}, decision(why), heldApart(why), candidates(why), bridges(why), history(past.decisions)),
    ),
  );
}

function decision(why) {
  return el(
    "section",
    { class: "card" },
    el("h2", {}, why.founded ? "Founded a cluster" : "Joined a cluster", " ", kindBadge(why.kind),
      why.undistinctive && undistinctiveTag()),
    el("p", {}, why.summary),
    !why.founded && el(
      "div",
      { class: "checks" },
      el("span", {}, "Best match"), scoreBar(why.score, why.threshold, "pair score"),
      el("span", {}, "Head check"), scoreBar(why.head_score, why.head_threshold, "score against the head"),
    ),
    why.labels.length > 0 && el("div", {}, el("p", { class: "quiet hint" }, "Labels that the decision carries:"), standing(why.labels, [])),
    why.structures.map((each) => located(why.image_id, each)),
  );
}

function located(id, other) {
  const role = other.match ? (other.head ? "best match and head" : "best match") : "head";
  return el("p", { class: "located-in-words" },
    el("span", { class: "quiet" }, `Its ${role}: `),
    inWords(other.structure, ["This picture", "this picture"], ["The other", "the other"]), " ",
    el("a", { href: pairHash(id, other.image_id) }, "Show the pair"));
}

function heldApart(why) {
  const guard = why.guard;
  return guard && el(
    "section",
    { class: "card" },
    el("h2", {}, "Held apart from ", clusterLink(guard.head)),
    el("p", {}, guard.reason === "quarantined"
      ? `The cluster is in quarantine: no new image joins it by its matches. It had ${counted(guard.size, "member")}.`
      : `Too few of the members compared agree with this image, so a chain is suspected. The cluster had ${counted(guard.size, "member")}.`),
    el("div", { class: "checks" }, el("span", {}, "Members that agree"), shareBar(guard.agreed, guard.compared)),
    el("p", { class: "quiet hint" }, "If the image belongs there, an override moves it."),
  );
}

function candidates(why) {
  const unlisted = why.candidates_found - why.candidates.length;
  return el(
    "section",
    {},
    el("h2", {}, "Compared with"),
    why.candidates.length > 0 && el(
      "ol",
      { class: "candidates" },
      why.candidates.map((candidate) => el(
        "li",
        { class: candidate.match ? "match" : null },
        el("a", { class: "mini", href: imageHash(candidate.image_id), tabindex: "-1", "aria-hidden": "true" },
          picture(candidate.image_id, candidate.picture)),
        el("span", { class: "who" },
          el("a", { href: imageHash(candidate.image_id), title: candidate.image_id }, shortId(candidate.image_id)),
          el("span", { class: "quiet" }, counted(candidate.overlap, "equal term"), " · cluster ", clusterLink(candidate.head),
            " · ", el("a", { href: pairHash(why.image_id, candidate.image_id), "aria-label": `compare with ${candidate.image_id}` }, "compare"),
            " ", kindBadge(candidate.kind))),
        scoreBar(candidate.score, why.threshold, "pair score"),
      )),
    ),
    (unlisted > 0 || !why.candidates.length) && el("p", { class: "quiet" },
      why.candidates_found === 0
        ? "No image shared a term with it."
        : `${counted(unlisted, "other image")} shared terms with it and scored too low to list.`),
  );
}

function bridges(why) {
  return why.bridges.length > 0 && el(
    "section",
    {},
    el("h2", {}, "Bridges"),
    el("p", { class: "quiet" }, "These clusters contain a match, too; the stream records the link and does not act on it."),
    el("ul", { class: "plain" }, why.bridges.map((head) => el("li", {}, clusterLink(head)))),
  );
}

function history(decisions) {
  return decisions.length > 1 && el(
    "section",
    {},
    el("h2", {}, "History"),
    el("ol", { class: "plain" }, decisions.map((past) => el("li", {}, when(past.decided_ms), " · ", clusterLink(past.head)))),
  );
}

export function found(result, url, name) {
  const verdict = !result.seen_before ? "Not seen before" : result.cluster ? "Seen before" : "Seen before, but it would join no cluster";
  return el(
    "section",
    {},
    heading(verdict, result.undistinctive && undistinctiveTag()),
    standing(result.labels, []),
    el(
      "div",
      { class: "columns" },
      el(
        "div",
        {},
        el("div", { class: "poster" }, el("img", { src: url, alt: `your picture ${name}` })),
        facts([
          ["Would join", result.cluster ? clusterLink(result.cluster) : "no cluster: it would found one"],
          ["Matches", count(result.matches.length)],
          ["Compared by score", count(result.candidates_found)],
          ["Images searched", count(result.images_searched)],
          ...Object.entries(result.stage_ms).map(([stage, ms]) => [stage, `${ms.toFixed(1)} ms`]),
        ]),
        el("p", { class: "quiet" }, "Nothing was stored: this picture was only compared."),
      ),
      el("div", {}, heldApart(result), el("div", { class: "grid" }, result.matches.map((match) => el("div", {},
        thumb(match, {
          badge: match.image_id === result.cluster && "head",
          note: el("span", {}, `score ${scoreText(match.score)} · ${counted(match.overlap, "term")} `, kindBadge(match.kind)),
        }),
        el("a", { class: "compare", href: exampleHash(match.image_id), "aria-label": `compare with ${match.image_id}` }, "compare"))))),
    ),
  );
}
