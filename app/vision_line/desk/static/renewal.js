// Keeps a page that says how it is now up to date. It does not count as use: who leaves it open is signed out as elsewhere.

const OLD_MS = 120_000; // from then on what is shown is grey
const RETRY_MS = 10_000;
const ANSWER_MS = 20_000;
const FIELDS = "input, select, textarea, [contenteditable]";

const moment = () => ({ steady: performance.now(), wall: Date.now() });
/** How long ago that was, in ms; a machine that slept, or whose clock was set, never makes it less. */
const age = (since) => Math.max(performance.now() - since.steady, Date.now() - since.wall);

let renewed = moment(); // the section that says how it is now
let renewedRest = renewed;
let tried = renewed;
let why = "it was in the background";
let isAsking = false;
let wasUsed = false;

const section = () => document.querySelector("[data-refresh]");

/** Whether somebody is about to ask for something else: fields that were touched are left as they are. */
function isFilled(main) {
  const active = document.activeElement;
  if (main.contains(active) && active.matches(FIELDS)) return true;
  const isChanged = (field) => {
    if (field.matches("select")) {
      return field.selectedIndex !== Math.max(0, [...field.options].findIndex((one) => one.defaultSelected));
    }
    if (field.matches("[type=checkbox], [type=radio]")) return field.checked !== field.defaultChecked;
    const untouched = field.cloneNode(); // browsers write times their own way, without seconds that are zero
    untouched.value = field.defaultValue;
    return field.value !== untouched.value;
  };
  return [...main.querySelectorAll("input, select, textarea")].some(isChanged);
}

/** Show what came; what is open stays open, and what is focused stays so. */
function replaceAll(main, fresh) {
  const open = [...main.querySelectorAll("details")].map((one) => one.open);
  const places = "a, summary, button, [tabindex]";
  const place = [...main.querySelectorAll(places)].indexOf(document.activeElement);
  main.replaceChildren(...fresh.childNodes);
  [...main.querySelectorAll("details")].forEach((one, index) => { one.open = open[index] ?? one.open; });
  if (place >= 0) main.querySelectorAll(places)[place]?.focus({ preventScroll: true });
}

/** Ask for this page again. Returns why that was in vain, "" where it was not. */
async function renew() {
  const headers = wasUsed ? {} : { "X-Desk-Renewal": "1" };
  wasUsed = false;
  let answer, text;
  try {
    answer = await fetch(location.href, { headers, cache: "no-store", signal: AbortSignal.timeout(ANSWER_MS) });
    text = await answer.text();
  } catch {
    return "the desk does not answer";
  }
  if (answer.status === 401 || answer.status === 403) {
    location.reload(); // to the page that says how to sign in
    return "you are no longer signed in";
  }
  const fresh = new DOMParser().parseFromString(text, "text/html");
  if (!answer.ok) return fresh.querySelector("main p")?.textContent ?? answer.statusText;
  const next = fresh.querySelector("[data-refresh]");
  if (next === null) {
    location.reload(); // what was waited for is there: a page that may have scripts of its own
    return "";
  }
  const main = document.querySelector("main");
  document.title = fresh.title;
  renewed = moment();
  if (isFilled(main)) {
    section().replaceWith(next);
  } else {
    replaceAll(main, fresh.querySelector("main"));
    document.querySelector("footer").replaceWith(fresh.querySelector("footer"));
    renewedRest = renewed;
  }
  return "";
}

/** Say of what is too old that it is. */
function showAge() {
  const now = document.querySelector(".now[data-refresh]");
  if (now === null) return;
  const isOld = age(renewed) > OLD_MS;
  now.classList.toggle("old", isOld);
  document.querySelector("main").classList.toggle("old-rest", age(renewedRest) > OLD_MS);
  if (!isOld) return document.querySelector("[data-old]")?.remove();
  const line = document.querySelector("[data-old]") ?? Object.assign(document.createElement("p"), { className: "alarm-line" });
  const at = new Date(renewed.wall).toLocaleTimeString([], { hour12: false });
  const text = `■ This page was not renewed since ${at} on this browser's clock: ${why}. What it says may be over.`;
  if (line.textContent !== text) line.textContent = text;
  if (line.isConnected) return;
  line.dataset.old = "";
  line.setAttribute("role", "alert");
  now.before(line);
}

async function tick() {
  const every = Number(section()?.dataset.refresh) * 1000;
  if (document.hidden || !every) return;
  showAge();
  if (isAsking || age(renewed) < every || age(tried) < Math.min(every, RETRY_MS)) return;
  isAsking = true;
  tried = moment();
  try {
    why = await renew();
  } finally {
    isAsking = false;
  }
  showAge();
  if (!why) why = "it was in the background";
}

if (section() !== null) {
  for (const kind of ["keydown", "pointerdown"]) addEventListener(kind, () => { wasUsed = true; }, { capture: true });
  document.addEventListener("visibilitychange", tick);
  setInterval(tick, 1000);
}
