// Views as tabs. A view is { id, title, about, missing(app), mount(root, app), show(), hide() }:
//
//   about         one sentence that explains it to somebody who never heard of any of this
//   missing(app)  why it has nothing to show, in one sentence, or "" (optional)
//   mount         called once, when it is first shown, with an empty element (a promise is waited for)
//   show, hide    called whenever it comes into sight or leaves it (optional)
//
// The address says which view is open: page.html#draw.

import { h } from "./dom.js";

export class Tabs {
  constructor(views, list, stage, app) {
    Object.assign(this, { views, list, stage, app, open: null, panels: new Map() });
    this.tabs = views.map((view) => h("button", {
      type: "button", role: "tab", id: `tab-${view.id}`, "aria-controls": `panel-${view.id}`, "aria-selected": "false", tabindex: "-1",
      onclick: () => this.go(view.id),
    }, view.title));
    list.append(...this.tabs);
    list.addEventListener("keydown", (event) => this.key(event));
    for (const view of views) stage.append(this.panel(view));
    window.addEventListener("hashchange", () => this.go(location.hash.slice(1)));
    this.go(location.hash.slice(1));
  }

  panel(view) {
    const body = h("div", { class: "body" });
    const panel = h("section", { role: "tabpanel", id: `panel-${view.id}`, "aria-labelledby": `tab-${view.id}`, hidden: true, class: "panel" }, [
      h("h2", { class: "unseen" }, view.title), h("p", { class: "about" }, view.about), body,
    ]);
    this.panels.set(view.id, { panel, body, mounted: false });
    return panel;
  }

  key(event) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    const at = this.views.indexOf(this.open), last = this.views.length - 1;
    const to = step ? (at + step + last + 1) % (last + 1) : { Home: 0, End: last }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    this.go(this.views[to].id);
    this.tabs[to].focus();
  }

  async go(id) {
    const view = this.views.find((one) => one.id === id) || this.open || this.views[0];
    if (view === this.open) return;
    if (this.open && this.open.hide) this.open.hide();
    this.open = view;
    this.tabs.forEach((tab, at) => {
      const here = this.views[at] === view;
      tab.setAttribute("aria-selected", String(here));
      tab.tabIndex = here ? 0 : -1;
      if (here) tab.scrollIntoView({ block: "nearest", inline: "nearest" });
    });
    for (const [name, { panel }] of this.panels) panel.hidden = name !== view.id;
    if (location.hash.slice(1) !== view.id) history.replaceState(null, "", `#${view.id}`);
    await this.mounted(view);
    if (view.show && this.open === view) view.show();
  }

  async mounted(view) {
    const panel = this.panels.get(view.id);
    if (panel.mounted) return;
    panel.mounted = true;
    const missing = view.missing ? view.missing(this.app) : "";
    if (missing) panel.body.append(h("p", { class: "missing" }, missing));
    else await view.mount(panel.body, this.app);
    if (missing) view.show = view.hide = null;
  }
}
