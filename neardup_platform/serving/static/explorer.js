// The explorer: routes by hash, keeps the header live, searches by id and by picture.

import * as api from "./api.js";
import { count, el, imageHash, marked, message, tokenForm } from "./elements.js";
import * as pairs from "./pairs.js";
import { keep, token } from "./token.js";
import * as views from "./views.js";

const FIGURES_MS = 2000;
const NEWEST_MS = 3000;
const main = document.getElementById("main");
const said = document.getElementById("said");
let shown = 0;
let example = null;

function route() {
  const [, kind, rest] = /^#\/([a-z]*)\/?(.*)$/s.exec(location.hash) ?? [];
  let ids = [];
  try {
    // Slashes of an id are encoded, but links made by hand may leave them as they are.
    ids = (kind === "pair" ? rest.split("/") : [rest ?? ""]).map(decodeURIComponent);
  } catch {
    return async () => message("Not a valid link", "The part after # is damaged.");
  }
  const [id, other] = ids;
  if (kind === "image" && id) return () => views.image(id);
  if (kind === "cluster" && id) return () => views.cluster(id);
  if (kind === "pair" && id && other) return () => pairs.ofImages(id, other);
  if (kind === "example" && id) return () => pairs.ofExample(example, id);
  return kind === "largest" ? views.largest : views.newest;
}

async function show(view, { quietly = false } = {}) {
  const turn = ++shown;
  let content;
  try {
    content = await view();
  } catch (problem) {
    if (!(problem instanceof api.Problem)) console.error(problem);
    if (quietly) return;
    content = failure(problem);
  }
  if (turn !== shown) return;
  if (quietly && (sameContent(content) || main.contains(document.activeElement))) return;
  main.replaceChildren(content);
  if (quietly) return;
  const title = [...(content.querySelector("h1")?.childNodes ?? [])].map((part) => part.textContent).join(" ");
  document.title = `${title} – neardup`;
  said.textContent = title;
  window.scrollTo(0, 0);
}

function failure(problem) {
  if (problem.status === 404) return message("Not found", problem.message);
  if (![401, 403].includes(problem.status)) return message("The call failed", problem.message);
  const title = problem.status === 403 ? "This token lacks a scope" : token() ? "The token is not known" : "This server requires a token";
  return message(
    title,
    "Its operator creates one with `neardup token create NAME --scope read --scope search`. It stays in this browser tab.",
    tokenForm(keep),
    token() && el("p", { class: "quiet" }, marked(problem.message)),
  );
}

// Times of day move on by themselves; only other changes are worth a repaint.
function sameContent(content) {
  const links = (root) => [...root.querySelectorAll("a")].map((a) => a.href + a.textContent).join("\n");
  return links(main) === links(content);
}

async function searchFor(file) {
  if (!file) return;
  if (example) URL.revokeObjectURL(example.url);
  example = { file, url: URL.createObjectURL(file) };
  history.replaceState(null, "", "#/search");
  main.replaceChildren(message("Searching…", file.name));
  await show(async () => views.found(await api.search(file), example.url, file.name));
}

function figure(name, value, state) {
  return el("div", { class: state }, el("dt", {}, name), el("dd", {}, value));
}

async function figures() {
  const list = document.getElementById("figures");
  try {
    const status = await api.status();
    const worker = status.worker?.figures ?? {};
    const known = (value, digits = 0) => (value === undefined ? "–" : value.toLocaleString("en", { maximumFractionDigits: digits }));
    const paused = status.worker?.phase === "paused";
    const phase = status.worker ? (status.worker.alive || paused ? status.worker.phase : "silent") : "none";
    list.replaceChildren(
      figure("images", count(status.images)),
      figure("clusters", count(status.clusters)),
      figure("images/s", known(worker.images_per_s, 1)),
      figure("lag", known(worker.lag)),
      figure("worker", phase, status.ready ? "good" : paused ? "" : "bad"),
      ...(status.in_shadow ? [figure("shadow", `${count(status.shadows.at(-1).withheld)} not published`, "bad")] : []),
      figure("fresh", `${count(status.refresh_age_ms)} ms`, status.refresh_age_ms <= 1000 ? "good" : "bad"),
    );
  } catch (problem) {
    list.replaceChildren(figure("platform", [401, 403].includes(problem.status) ? "asks for a token" : problem.message, "bad"));
  }
}

document.getElementById("lookup").addEventListener("submit", (event) => {
  event.preventDefault();
  const id = document.getElementById("wanted").value.trim();
  if (!id) return;
  if (location.hash === imageHash(id)) show(route());
  else location.hash = imageHash(id);
});

const chosen = document.getElementById("example");
chosen.addEventListener("change", () => {
  searchFor(chosen.files[0]);
  chosen.value = "";
});

const drop = document.getElementById("drop");
const carriesFile = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
window.addEventListener("dragover", (event) => {
  if (!carriesFile(event)) return;
  event.preventDefault();
  drop.hidden = false;
});
window.addEventListener("dragleave", (event) => {
  if (event.relatedTarget === null) drop.hidden = true;
});
window.addEventListener("drop", (event) => {
  drop.hidden = true;
  if (!carriesFile(event)) return;
  event.preventDefault();
  searchFor(event.dataTransfer.files[0]);
});

window.addEventListener("keydown", (event) => {
  const typing = event.target.closest?.("input, textarea");
  if (event.key !== "/" || typing || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  document.getElementById("wanted").focus();
});

window.addEventListener("hashchange", () => {
  if (location.hash === "#main") main.focus();
  else show(route()).then(() => main.querySelector("h1")?.focus({ preventScroll: true }));
});

function every(ms, work) {
  const again = async () => {
    if (!document.hidden) await work();
    setTimeout(again, ms);
  };
  setTimeout(again, ms);
}

const forget = document.getElementById("forget");
forget.addEventListener("click", () => keep(""));
function tokenChanged() {
  forget.hidden = !token();
  figures();
  if (location.hash === "#/search") history.replaceState(null, "", "#/");
  show(route());
}
window.addEventListener("neardup:token", tokenChanged);

every(FIGURES_MS, figures);
every(NEWEST_MS, async () => {
  if (["", "#", "#/", "#/largest"].includes(location.hash)) await show(route(), { quietly: true });
});
tokenChanged();
