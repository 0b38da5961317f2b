// Pages work without this: it adds keys and keeps what is shown up to date.

import "./renewal.js";

const isTyping = (target) => target.closest("input, select, textarea, [contenteditable]") !== null;

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
  // What the page itself offers comes before where the menu leads.
  const own = document.querySelectorAll("main [data-key]");
  const link = [...own, ...document.querySelectorAll("[data-key]")].find((one) => one.dataset.key === event.key);
  if (link === undefined) return;
  event.preventDefault();
  if (link.matches("input")) link.focus();
  else link.click();
});

// At the document, since what a page shows may be replaced.
document.addEventListener("change", (event) => {
  if (event.target.matches("[data-submits]")) event.target.form.requestSubmit();
});

document.addEventListener("click", async (event) => {
  const link = event.target.closest("[data-copies]");
  if (link === null || navigator.clipboard === undefined) return; // without https the browser follows it, and shows its address
  event.preventDefault();
  await navigator.clipboard.writeText(new URL(link.dataset.copies, location.href).href);
  link.textContent = "Copied";
});

// What takes the desk a second or two says that it was asked; coming back to the page finds it as it was.
const waiting = (form, isWaiting) => {
  form.querySelector("[role=status]").textContent = isWaiting ? form.dataset.waits : "";
  for (const button of form.querySelectorAll("button")) button.disabled = isWaiting;
};
for (const form of document.querySelectorAll("[data-waits]")) {
  form.addEventListener("submit", () => waiting(form, true));
  addEventListener("pageshow", () => waiting(form, false));
}
