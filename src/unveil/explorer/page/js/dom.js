// Elements from names, attributes and children. Text is always text: nothing here reads markup.

/** An element: h("p", { class: "quiet", onclick: act }, ["text", element, null]). Attributes that are false or null are left out. */
export function h(name, attributes = {}, children = []) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value === true) made.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(key, value);
  }
  made.append(...[children].flat(2).filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

let names = 0;

/** A control with its label: a <label> that names the control also where the two stand apart. */
export function labelled(text, control, attributes = {}) {
  if (!control.id) control.id = `control-${++names}`;
  return h("div", { class: "field", ...attributes }, [h("label", { for: control.id }, text), control]);
}

/** A <select> of [value, text] pairs; `chosen(value)` is called after each change. */
export function choice(options, chosen, attributes = {}) {
  const made = h("select", attributes, options.map(([value, text]) => h("option", { value }, text)));
  made.addEventListener("change", () => chosen(made.value));
  return made;
}

/** A button that is pressed or not; `changed(pressed)` is called after each change. */
export function toggle(text, pressed, changed, attributes = {}) {
  const made = h("button", { type: "button", class: "toggle", "aria-pressed": String(pressed), ...attributes }, text);
  made.addEventListener("click", () => {
    const now = made.getAttribute("aria-pressed") !== "true";
    made.setAttribute("aria-pressed", String(now));
    changed(now);
  });
  return made;
}

/** A function that runs `act` for the last of the calls that come while it is busy, and for no other of them. */
export function latest(act) {
  let busy = false, next = null;
  return async function run(...given) {
    if (busy) {
      next = given;
      return;
    }
    busy = true;
    try {
      await act(...given);
    } finally {
      busy = false;
    }
    if (next) {
      const again = next;
      next = null;
      await run(...again);
    }
  };
}
