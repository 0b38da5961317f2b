// Events are selected without this by their boxes: it adds keys (j, k, x), and says how many are selected.

const tiles = () => [...document.querySelectorAll(".tiles > .tile")];
const boxes = () => [...document.querySelectorAll(".pick input")];
const isTyping = (target) => target.closest("input:not([type=checkbox]), select, textarea") !== null;

const step = (by) => {
  const all = tiles();
  const at = all.indexOf(document.activeElement.closest(".tile"));
  const next = all[at < 0 ? 0 : Math.min(Math.max(at + by, 0), all.length - 1)];
  (next?.querySelector("a") ?? next?.querySelector("input"))?.focus();
};

const said = () => {
  const picked = boxes().filter((box) => box.checked).length;
  for (const output of document.querySelectorAll("[data-picked]")) output.value = `${picked} selected`;
};

const keys = {
  j: () => step(1),
  k: () => step(-1),
  x: () => document.activeElement.closest(".tile")?.querySelector(".pick input")?.click(),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target) || !(event.key in keys)) return;
  event.preventDefault();
  keys[event.key]();
});
document.addEventListener("change", said);
addEventListener("pageshow", said);
