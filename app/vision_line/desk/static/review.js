// Reviewing by keys: nothing goes on by itself, and an answer counts once the desk has kept it.

import { BoxEditor } from "./review_boxes.js";

const byId = (id) => document.getElementById(id);
const root = byId("review");

const QUEUE = "/api/v1/review/queue";
const ANSWERS = "/api/v1/review/answers";
const AHEAD = 3; // images that are loaded before they are asked for
const mayAnswer = "mayAnswer" in root.dataset;
const DONE = { confirmed: "Confirmed", overruled: "Overruled", unsure: "Unsure" };
const WORDS = {
  event: (item) => [`${item.class_name}, ${item.verdict}: is it a defect?`, "Defect", "No defect"],
  near_miss: (item) => [`Perhaps ${item.class_name}, no event: is it a defect?`, "Defect", "No defect"],
  audit: () => ["Drawn at random: mark every defect", "The line is right", "It is not"],
};

const state = { items: [], at: -1, passed: 0, given: [], newest: null, saving: null, progress: null, current: null };
const editor = new BoxEditor(byId("boxes"), () => refresh(), () => state.current.drawing);
editor.mayDraw = mayAnswer;

async function ask(address, body) {
  const options = body === undefined ? {} : { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  let answer;
  try {
    answer = await fetch(address, options);
  } catch {
    throw new Error("the desk does not answer");
  }
  const said = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(answer.status === 401 ? "you are no longer signed in: load the page again" : (said.error ?? answer.statusText));
  return said;
}

/** Without an item before the person there is no place beside it: the sentence stands where the item would. */
function say(text, kind = "") {
  if (root.hidden) return notice(kind === "bad" ? "That did not work" : "", text, "Try again");
  byId("saying").textContent = text;
  byId("saying").className = `saying ${kind}`;
}

function notice(title, text, button) {
  const box = byId("nothing");
  box.hidden = false;
  if (title) box.querySelector("h2").textContent = title;
  box.querySelector("p").textContent = text;
  byId("again").textContent = button;
  byId("again").hidden = button === "";
}

/** Ask for what comes behind `behind`, "" from the front, and load its images. */
async function fetchMore(behind) {
  const asked = new URLSearchParams({ since: root.dataset.since, until: root.dataset.until, behind, most: 8 });
  const turn = await ask(`${QUEUE}?${asked}`);
  const known = new Set(state.items.slice(Math.max(0, state.at)).map((item) => item.key));
  state.items.push(...turn.items.filter((item) => !known.has(item.key)));
  state.progress = turn.progress;
  if (state.newest === null && state.given.length === 0) state.newest = turn.newest_answer;
  showProgress();
}

function preload() {
  for (const item of state.items.slice(state.at + 1, state.at + 1 + AHEAD)) {
    item.loaded ??= Object.assign(new Image(), { src: item.image });
  }
}

/** Whether the image that is asked about is before the person: nothing can be said of one that is not. */
const isBefore = () => state.current !== null && byId("stage").dataset.item === state.current.item.key;

async function show(index) {
  state.at = index;
  const item = state.items[index];
  state.current = { item, class: null, drawing: item.class_name || item.classes[0] || "", answer: null, number: null, from: performance.now(), wasAsked: false };
  delete byId("stage").dataset.item;
  const frame = byId("frame");
  frame.width = item.width;
  frame.height = item.height;
  byId("stage").style.maxWidth = `min(100%, calc(78vh * ${item.width / item.height}))`;
  frame.src = item.image;
  editor.load(item);
  byId("note").value = "";
  byId("whole").href = item.image;
  byId("where").textContent = [item.camera, item.station, item.seen].filter(Boolean).join(" · ");
  const [question, confirm, overrule] = WORDS[item.kind](item);
  byId("question").textContent = question;
  byId("confirm-words").textContent = confirm;
  byId("overrule-words").textContent = overrule;
  byId("classes").replaceChildren(...item.classes.map(classButton));
  root.hidden = false;
  byId("nothing").hidden = true;
  say("");
  refresh();
  const now = state.current;
  const isLoaded = await frame.decode().then(() => true, () => false);
  if (state.current !== now) return; // another item was asked for meanwhile
  if (isLoaded) byId("stage").dataset.item = item.key;
  else say("the image cannot be shown: pass it over", "bad");
  now.from = performance.now();
  refresh();
  preload();
}

function classButton(name, index) {
  const button = document.createElement("button");
  button.textContent = index < 9 ? `${index + 1} ${name}` : name;
  button.dataset.class = name;
  button.disabled = !mayAnswer;
  button.addEventListener("click", () => choose(name));
  return button;
}

/** A class is the chosen box's, of a box that is drawn next, and of an event or near miss itself. */
function choose(name) {
  const now = state.current;
  const isOfBox = editor.classify(name);
  now.drawing = name;
  if (!isOfBox && now.item.kind !== "audit") now.class = now.class === name || name === now.item.class_name ? null : name;
  refresh();
}

function refresh() {
  const now = state.current;
  if (now === null) return;
  byId("show").setAttribute("aria-pressed", editor.isShown);
  byId("draw").setAttribute("aria-pressed", editor.isDrawing);
  byId("drop").disabled = editor.chosen === null || !mayAnswer;
  byId("draw").disabled = !mayAnswer || !isBefore();
  byId("undo").disabled = !mayAnswer || (state.given.length === 0 && state.newest === null);
  const shown = editor.chosen?.class ?? now.class ?? (now.item.kind === "audit" ? now.drawing : now.item.class_name);
  for (const button of byId("classes").children) button.setAttribute("aria-pressed", button.dataset.class === shown);
  for (const button of document.querySelectorAll("[data-verdict]")) {
    button.disabled = !mayAnswer || !isBefore();
    button.setAttribute("aria-pressed", button.dataset.verdict === now.answer?.verdict);
  }
  if (now.answer !== null && !isSaved()) say("changed since you answered: answer again", "bad");
}

function isSaved() {
  const now = state.current;
  return JSON.stringify(content(now.answer.verdict)) === JSON.stringify(now.answer);
}

/** What is answered, without the time it took. A false alarm's own box is no defect. */
function content(verdict) {
  const { item } = state.current;
  const withLine = item.kind === "audit" || verdict === "confirmed";
  return { item: item.key, verdict, class: verdict === "confirmed" ? state.current.class : null, boxes: editor.sent(withLine), note: byId("note").value.trim() };
}

/** Why this cannot be answered yet, "" where it can. */
function objection(verdict) {
  if (state.current.item.kind !== "audit") {
    return verdict === "confirmed" && editor.sent(true)?.length === 0 ? "mark where the defect is first" : "";
  }
  const hidden = editor.line.length > 0 && !editor.isShown;
  if (verdict === "confirmed" && hidden) {
    editor.show(true);
    return `the line found ${editor.line.length}: these. Press again if they are all that there is`;
  }
  if (verdict === "confirmed" && editor.isTouched) return "you changed the boxes: so the line is not right";
  if (verdict === "overruled" && !editor.isTouched) {
    editor.show(true);
    return editor.line.length > 0 ? "drop what is no defect, or mark what was missed, first" : "mark what was missed first";
  }
  return "";
}

async function answer(verdict) {
  if (!mayAnswer || state.current === null || state.saving !== null) return;
  if (!isBefore()) return say("its image is not shown: nothing can be said of it", "bad");
  const why = objection(verdict);
  refresh();
  if (why) return say(why);
  const now = state.current;
  const given = content(verdict);
  if (now.answer !== null && isSaved() && now.answer.verdict === verdict) return;
  const key = JSON.stringify(given);
  if (now.tried?.key !== key) now.tried = { key, submission: newSubmission(), took_s: (performance.now() - now.from) / 1000 };
  const { submission, took_s } = now.tried;
  say("keeping …");
  state.saving = ask(ANSWERS, { ...given, took_s: Math.min(took_s, 86_400), submission });
  try {
    const { number } = await state.saving;
    if (now.answer === null) count(1, now.item);
    now.answer = given;
    state.given.push(number);
    say(`${DONE[verdict]}. Space goes on.`, "good");
    now.tried = null;
  } catch (error) {
    say(`not kept: ${error.message}`, "bad");
  } finally {
    state.saving = null;
  }
  refresh();
}

function count(step, item) {
  const stratum = state.progress.strata.find((one) => one.stratum === item?.stratum);
  if (stratum !== undefined) stratum.done += step;
  state.progress.done += step;
  state.progress.own += step;
  showProgress();
}

function newSubmission() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

async function next() {
  if (state.saving !== null) await state.saving.catch(() => {});
  if (state.at >= 0 && state.current !== null && state.current.answer === null) state.passed += 1;
  const last = state.items[state.at]?.key ?? "";
  try {
    if (state.at + 1 >= state.items.length) await fetchMore(last);
  } catch (error) {
    return say(error.message, "bad");
  }
  if (state.at + 1 >= state.items.length) return showEnd();
  await show(state.at + 1);
  if (state.items.length - state.at <= AHEAD) await fetchMore(state.items.at(-1).key).then(preload, () => {});
}

/** Take the newest answer back, and show its item again. */
async function undo() {
  const number = state.given.at(-1) ?? state.newest;
  if (!mayAnswer || number === null || number === undefined || state.saving !== null) return;
  state.saving = ask(`${ANSWERS}/${number}/withdraw`, {});
  try {
    const { item, counted } = await state.saving;
    if (state.given.length) state.given.pop();
    else state.newest = null;
    if (counted && state.progress !== null) count(-1, item);
    if (item === null) return say("taken back; its image is gone");
    if (state.current?.item.key === item.key && !root.hidden) {
      state.current.answer = null;
    } else {
      state.items.splice(Math.max(0, state.at), 0, item);
      await show(Math.max(0, state.at));
    }
    say("taken back", "good");
  } catch (error) {
    say(`not taken back: ${error.message}`, "bad");
  } finally {
    state.saving = null;
    refresh();
  }
}

function showEnd() {
  state.current = null;
  delete byId("stage").dataset.item;
  root.hidden = true;
  const { done, of, second } = state.progress;
  const text = of === 0
    ? "In this time nothing with an image came to review."
    : `${done} of ${of} are reviewed${second ? `, ${second} wait for a second person` : ""}${state.passed ? `; you passed over ${state.passed}` : ""}. What others have before them is not offered to you.`;
  notice(of === 0 ? "Nothing is up for review" : "That is all", text, state.passed === 0 ? "" : "Those that were passed over");
}

function showProgress() {
  const { strata, done, of, own, second, skipped } = state.progress;
  byId("progress").textContent = `${done} of ${of} reviewed, ${own} by you${second ? `, ${second} wait for a second person` : ""}`;
  byId("strata").querySelector("tbody").replaceChildren(
    ...strata.map((one) => {
      const row = document.createElement("tr");
      const of_all = one.is_borderline ? "all of them, first" : `${one.items}`;
      for (const [index, text] of [one.stratum, one.done, one.of, of_all].entries()) {
        row.insertCell().textContent = text;
        if (index) row.cells[index].className = "right";
      }
      return row;
    }),
  );
  const why = Object.entries(skipped).map(([reason, number]) => `${number} (${reason})`);
  byId("skipped").textContent = why.length ? `Left out: ${why.join(", ")}.` : "";
}

const keys = {
  c: () => answer("confirmed"),
  o: () => answer("overruled"),
  u: () => answer("unsure"),
  z: undo,
  " ": next,
  b: () => { editor.show(!editor.isShown); refresh(); },
  n: () => { if (mayAnswer && isBefore()) editor.add(); },
  s: () => { editor.chooseNext(); refresh(); },
  x: () => { if (mayAnswer) editor.drop(); },
  Delete: () => { if (mayAnswer) editor.drop(); },
  Escape: () => { editor.release(); refresh(); },
  w: () => byId("note").focus(),
};
const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function press(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest("input, select, textarea")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  const name = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (state.current === null) {
    if (name !== "z" || root.hidden === false) return;
    take(event, undo);
  } else if (name in arrows) {
    if (mayAnswer && editor.chosen !== null) take(event, () => editor.nudge(...arrows[name], event.shiftKey));
  } else if (name in keys) {
    take(event, keys[name]);
  } else if (name >= "1" && name <= "9" && state.current.item.classes[name - 1] && mayAnswer) {
    take(event, () => choose(state.current.item.classes[name - 1]));
  }
}

function take(event, action) {
  event.preventDefault();
  event.stopImmediatePropagation(); // the same keys open pages elsewhere
  if (event.repeat && !(event.key in arrows)) return;
  action();
}

document.addEventListener("keydown", press, true);
// A button that was clicked must not answer the space bar.
const onClick = (id, action) => byId(id).addEventListener("click", (event) => { event.currentTarget.blur(); action(); });
for (const button of document.querySelectorAll("[data-verdict]")) {
  button.addEventListener("click", () => { button.blur(); answer(button.dataset.verdict); });
}
onClick("show", keys.b);
onClick("draw", () => { editor.setDrawing(!editor.isDrawing); refresh(); });
onClick("drop", keys.x);
onClick("undo", undo);
onClick("next", next);
onClick("again", async () => {
  Object.assign(state, { items: [], at: -1, passed: 0 });
  await next();
});
byId("note").addEventListener("change", refresh);
byId("strata").open = false;

await next();
