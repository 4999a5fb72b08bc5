// Puts the page together and keeps its own time.

import { App } from "./app.js";
import { card } from "./card.js";
import { draw } from "./draw.js";
import { manifold } from "./manifold.js";
import { plane } from "./plane.js";
import { sample } from "./sample.js";
import { Tabs } from "./tabs.js";
import { switching } from "./theme.js";
import { timing } from "./timing.js";
import { walk } from "./walk.js";

const know = JSON.parse(document.getElementById("know").textContent);

function head({ facts, attribution, latent }) {
  document.getElementById("title").textContent = facts.title;
  const { rows } = facts.data, test = rows.test ? `${rows.test.toLocaleString("en")} test examples` : "";
  const { shape, size } = latent, dimensions = shape.length > 1 ? `latent values of ${shape.join(" × ")}` : `${size} latent dimension${size === 1 ? "" : "s"}`;
  const sizes = [dimensions, `${facts.model.parameters.toLocaleString("en")} parameters`, test];
  document.getElementById("subtitle").textContent = sizes.filter(Boolean).join(" · ");
  const whose = latent.pictures || latent.points
    ? `The examples shown are from ${facts.data.name}${attribution ? `: ${attribution}` : ", whose licence this page does not know"}.`
    : "This page carries no examples of the data.";
  document.getElementById("whose").textContent = whose;
}

async function begin() {
  head(know);
  switching(document.getElementById("theme"));
  const app = new App(know, timing);
  window.unveil = app;
  await app.open();
  new Tabs([plane, manifold, draw, walk, sample, card], document.getElementById("tabs"), document.getElementById("stage"), app);
  await app.model.ready;
  timing.interactive = performance.now();
  document.documentElement.dataset.ready = "";
}

begin().catch((error) => {
  document.documentElement.dataset.failed = "";
  document.getElementById("say").textContent = `This page could not start: ${error.message}`;
  document.getElementById("whose").textContent = `This page could not start: ${error.message}`;
});
