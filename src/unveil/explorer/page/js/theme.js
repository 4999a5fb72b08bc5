// Light or dark: as the system has it, until the person says otherwise.

const DARK = window.matchMedia("(prefers-color-scheme: dark)");
const CATEGORIES = {
  // Paul Tol's 'muted' scheme, told apart by colour-blind readers; on dark ground its darkest are lightened
  light: ["#332288", "#3f9fc9", "#2f9687", "#117733", "#85852a", "#b8932e", "#c44f60", "#882255", "#aa4499", "#6b6b6b"],
  dark: ["#9b8ff0", "#88ccee", "#55c9b6", "#5cbf77", "#c2c25a", "#ecd98b", "#ee8d9b", "#d9639f", "#d58cd8", "#b4b9c2"],
};

const listeners = [];

let printing = false;

/** 'light' or 'dark'; on paper it is light. */
export function theme() {
  return printing ? "light" : document.documentElement.dataset.theme || (DARK.matches ? "dark" : "light");
}

/** Calls `act` after each change. */
export function onTheme(act) {
  listeners.push(act);
}

const told = () => listeners.forEach((act) => act());

/** Makes a button switch between the two. */
export function switching(button) {
  const say = () => {
    const other = theme() === "dark" ? "Light" : "Dark";
    button.textContent = other;
    button.setAttribute("aria-label", `${other} colours`);
  };
  button.addEventListener("click", () => {
    document.documentElement.dataset.theme = theme() === "dark" ? "light" : "dark";
    told();
  });
  DARK.addEventListener("change", told);
  for (const [name, now] of [["beforeprint", true], ["afterprint", false]]) {
    window.addEventListener(name, () => {
      printing = now;
      told();
    });
  }
  onTheme(say);
  say();
}

/** The colour of a label; of labels beyond the scheme, one by the golden angle. */
export function colour(label) {
  if (label === null || label === undefined) return value("--point");
  const scheme = CATEGORIES[theme()];
  if (label < scheme.length) return scheme[label];
  return `hsl(${(label * 137.5) % 360} 55% ${theme() === "dark" ? 68 : 42}%)`;
}

const known = new Map(), probe = document.createElement("span");

/** A colour of the style sheet, by the name of its variable, as rgb(). */
export function value(name) {
  const key = `${theme()} ${name}`;
  if (!known.has(key)) {
    document.body.append(probe); // what light or dark comes to, only an element knows
    probe.style.color = `var(${name})`;
    probe.style.colorScheme = theme();
    known.set(key, getComputedStyle(probe).color);
    probe.remove();
  }
  return known.get(key);
}
