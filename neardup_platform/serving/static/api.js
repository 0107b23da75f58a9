// Calls of the API; an error carries the text of the problem document.

import { withToken } from "./token.js";

export class Problem extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

async function answer(response) {
  const type = response.headers.get("content-type") ?? "";
  const body = type.includes("json") ? await response.json() : {};
  if (!response.ok) throw new Problem(response.status, body.detail ?? `the server answered ${response.status}`);
  return body;
}

async function ask(path, options) {
  let response;
  try {
    response = await fetch(path, withToken(options));
  } catch {
    throw new Problem(0, "The API does not answer. Is the platform running? See `neardup status`.");
  }
  return answer(response);
}

// An address for <img>, which cannot send a token: the path itself where none is needed.
export async function pictureUrl(path) {
  const response = await fetch(path, withToken());
  if (!response.ok) throw new Problem(response.status, `the request for the picture answered ${response.status}`);
  return URL.createObjectURL(await response.blob());
}

const piece = encodeURIComponent;

export const status = () => ask("/v1/status");
export const recentClusters = (limit) => ask(`/v1/recent-clusters?limit=${limit}`);
export const largestClusters = (limit) => ask(`/v1/clusters?sort=size&members=8&limit=${limit}`);
export const image = (id) => ask(`/v1/images/${piece(id)}`);
export const explanation = (id) => ask(`/v1/images/${piece(id)}/explanation`);
export const history = (id) => ask(`/v1/images/${piece(id)}/history`);
export const cluster = (head) => ask(`/v1/clusters/${piece(head)}`);

export function members(head, limit, cursor) {
  const after = cursor ? `&cursor=${piece(cursor)}` : "";
  return ask(`/v1/clusters/${piece(head)}/members?limit=${limit}${after}`);
}

// Each side is an image id or a picture file.
export function pair(a, b) {
  const body = new FormData();
  body.append("a", a);
  body.append("b", b);
  return ask("/v1/pairs", { method: "POST", body });
}

export function search(file) {
  const body = new FormData();
  body.append("picture", file);
  return ask("/v1/search", { method: "POST", body });
}
