// Shows /openapi.json as a page, so that the documentation needs no other host.

import { el } from "./elements.js";

const name = (schema) => schema?.$ref?.split("/").pop();

function typeOf(schema) {
  if (!schema) return "";
  if (schema.$ref) return el("a", { href: `#${name(schema)}` }, name(schema));
  if (schema.anyOf) return el("span", {}, schema.anyOf.flatMap((one, i) => (i ? [" or ", typeOf(one)] : [typeOf(one)])));
  if (schema.type === "array") return el("span", {}, "list of ", typeOf(schema.items));
  if (schema.additionalProperties) return el("span", {}, "object of ", typeOf(schema.additionalProperties));
  const range = [["minimum", "≥"], ["maximum", "≤"], ["maxLength", "at most"]]
    .filter(([key]) => schema[key] !== undefined).map(([key, sign]) => ` ${sign} ${schema[key]}`).join("");
  const fallback = schema.default === undefined ? "" : `, default ${JSON.stringify(schema.default)}`;
  return (schema.const !== undefined ? JSON.stringify(schema.const) : schema.format ?? schema.type ?? "any") + range + fallback;
}

function table(rows) {
  return rows.length > 0 && el("table", {}, el("tbody", {}, rows.map(([key, type, text]) =>
    el("tr", {}, el("th", { scope: "row" }, key), el("td", {}, type), el("td", {}, text ?? "")))));
}

function needs(call) {
  const scopes = (call.security ?? []).flatMap((way) => Object.values(way).flat());
  return scopes.length ? `If a token is needed, it must have the scope ${scopes.join(" or ")}.` : "Needs no token.";
}

function operation(path, method, call) {
  const parameters = (call.parameters ?? []).map((p) => [p.name, el("span", {}, p.in, ", ", typeOf(p.schema)), p.description]);
  const bodies = Object.entries(call.requestBody?.content ?? {}).flatMap(([type, { schema }]) =>
    Object.entries(schema.properties ?? {}).map(([key, property]) => [key, el("span", {}, type, ", ", typeOf(property)), property.description]));
  const answers = Object.entries(call.responses).map(([status, response]) => {
    const [type, content] = Object.entries(response.content ?? {})[0] ?? [];
    return [status === "default" ? "other" : status, typeOf(content?.schema) || type || "", response.description];
  });
  return el(
    "article",
    { class: "card" },
    el("h2", {}, el("code", { class: `method ${method}` }, method.toUpperCase()), " ", el("code", {}, path)),
    el("p", {}, call.description ?? call.summary),
    el("p", { class: "quiet" }, needs(call)),
    table([...parameters, ...bodies]),
    el("h3", {}, "Answers"),
    table(answers),
  );
}

function schema([title, { description, properties = {} }]) {
  const rows = Object.entries(properties).map(([key, property]) => [key, typeOf(property), property.description]);
  return el("article", { class: "card", id: title }, el("h2", {}, title), description && el("p", {}, description), table(rows));
}

const document_ = await (await fetch("/openapi.json")).json();
document.getElementById("main").replaceChildren(
  el("h1", {}, `${document_.info.title} API `, el("small", {}, document_.info.version)),
  el("p", {}, document_.info.description),
  ...Object.entries(document_.paths).flatMap(([path, calls]) =>
    Object.entries(calls).map(([method, call]) => operation(path, method, call))),
  el("h1", {}, "Answers"),
  ...Object.entries(document_.components.schemas).map(schema),
);
document.getElementById(location.hash.slice(1))?.scrollIntoView();
