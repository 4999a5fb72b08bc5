// The card: what was measured of the model, how its training went, and what it is made of.

import { chart } from "./chart.js";
import { h } from "./dom.js";

const SHOWN = 12; // digits of a hash that stand in the open; all of it is a click away

const count = (value) => value.toLocaleString("en");

/** A number, a text or a list as a person reads it. */
function said(value) {
  if (value === null || value === undefined) return "none";
  if (typeof value === "number") return count(value);
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (Array.isArray(value)) return value.map(said).join(" × ") || "none";
  if (typeof value === "object") return Object.entries(value).map(([key, one]) => `${key} ${said(one)}`).join(", ") || "none";
  return String(value);
}

/** Names and what they stand for; values may be elements. */
function pairs(entries) {
  return h("dl", { class: "pairs" }, entries.flatMap(([name, value]) => [
    h("dt", {}, name.replaceAll("_", " ")),
    h("dd", {}, value instanceof Node ? value : said(value)),
  ]));
}

function table(sheet) {
  const rows = sheet.rows.map((row) => h("tr", {}, [
    h("th", { scope: "row", class: row.depth ? "deeper" : "" }, row.name),
    h("td", {}, row.text),
  ]));
  return h("table", { class: "figures" }, [h("tbody", {}, rows)]);
}

/** A section of the report card; all but the first are folded away. */
function section(sheet, open) {
  return h("details", { open }, [
    h("summary", {}, sheet.title),
    sheet.about ? h("p", { class: "quiet" }, sheet.about) : null,
    h("div", { class: "scrolls", tabindex: "0", role: "region", "aria-label": sheet.title }, [table(sheet)]),
    ...sheet.advice.map((line) => h("p", { class: "advice" }, line)),
  ]);
}

const HEADLINES = [/^-log p\(x.*\), K = /, /^-ELBO/, /^distortion$/, /^rate$/, /^bits per dimension/];
const MEANING = [
  "Nats to write down one example: less is better.", "An upper bound on it.", "What is lost on the way through the latent space.",
  "What the latent space carries.", "The same per pixel, in bits.",
];

/** The few figures that say most, large: of several estimates the one with most draws. */
function headlines(sheet) {
  const found = HEADLINES.map((pattern, at) => [sheet.rows.filter((row) => row.value !== null && pattern.test(row.name)).pop(), MEANING[at]]);
  return h("div", { class: "headlines" }, found.filter(([row]) => row).map(([row, meaning]) => h("div", { class: "headline" }, [
    h("span", { class: "headline-name" }, row.name),
    h("span", { class: "headline-value" }, row.text.split(" (n =")[0]),
    h("span", { class: "quiet" }, `n = ${count(row.n)}. ${meaning}`),
  ])));
}

function reportCard(facts) {
  if (!facts.sheets.length) {
    return [
      h("p", {}, "This model was not evaluated yet. In a terminal, this measures it on data that it was not trained on:"),
      h("pre", {}, h("code", {}, "unveil evaluate RUN")),
    ];
  }
  return [headlines(facts.sheets[0]), ...facts.sheets.map((sheet, at) => section(sheet, at === 0))];
}

/** The points of a curve where there is a number. */
function points(curve, values) {
  return curve.epochs.map((epoch, at) => [epoch, values[at]]).filter((point) => Number.isFinite(point[1]));
}

function curves(facts) {
  const drawn = facts.curves.map((curve) => {
    const lines = [
      { name: "training", kind: "training", points: points(curve, curve.training) },
      { name: "validation", kind: "validation", points: points(curve, curve.validation) },
    ].filter((line) => line.points.length);
    const figure = chart(lines, { title: curve.name, x: "epoch", y: curve.unit });
    return h("figure", {}, [h("figcaption", {}, curve.name), figure]);
  });
  return drawn.length ? h("div", { class: "charts" }, drawn) : h("p", {}, "This run kept no record of its training.");
}

function hash(value) {
  return h("details", { class: "hash" }, [h("summary", {}, `${value.slice(0, SHOWN)}…`), h("code", {}, value)]);
}

function making({ recipe, outcome, seconds, machine, commands }) {
  const own = Object.entries(recipe.settings), training = Object.entries(recipe.training);
  return [
    h("p", {}, [h("strong", {}, recipe.name), recipe.summary ? `: ${recipe.summary}.` : "", recipe.source ? ` Source: ${recipe.source}.` : ""]),
    own.length ? pairs(own) : null,
    h("details", {}, [h("summary", {}, "How it was trained"), pairs([
      ...training, ...Object.entries(outcome), ["seconds", seconds], ...Object.entries(machine),
    ])]),
    ...commands.map(({ line, purpose }) => h("figure", { class: "command" }, [h("figcaption", {}, `This ${purpose}:`), h("pre", {}, h("code", {}, line))])),
  ];
}

function parts({ model }) {
  const rows = model.pieces.map((piece) => [piece.name, h("details", {}, [
    h("summary", {}, `${piece.kind}, ${count(piece.parameters)} parameters`), h("code", {}, piece.text),
  ])]);
  return pairs([["model", `${model.kind}, ${count(model.parameters)} parameters`], ["latent", model.latent], ...rows, ["objective", h("code", {}, model.objective)]]);
}

function source({ data }) {
  return pairs([
    ["name", data.name], ["shape", data.shape], ["read as", data.measure],
    ...Object.entries(data.rows).map(([split, rows]) => [`${split} examples`, rows]),
    ["fingerprint", hash(data.fingerprint)], ["whose they are", data.attribution || "not known"],
  ]);
}

function mount(root, { know: { facts } }) {
  const block = (title, children) => h("section", { class: "block" }, [h("h3", {}, title), ...[children].flat()]);
  root.append(
    block("Report card", reportCard(facts)), block("How training went", curves(facts)), block("Recipe", making(facts)),
    block("Data", source(facts)), block("Model", parts(facts)),
  );
}

export const card = {
  id: "card",
  title: "Card",
  about: "How good this model is, in numbers that say how sure they are, and everything that it was made from.",
  mount,
};
