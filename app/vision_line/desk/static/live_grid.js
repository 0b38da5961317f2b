// All cameras as tiles made from their keyframes. Each says how old it is; one that is not inspected is grey.
import { LiveSocket, ageWords, nowS } from "./live_socket.js";
import { drawBoxes, sayVerdict } from "./live_boxes.js";

// Older than this a tile is no longer called new: most cameras send a keyframe every 1 or 2 seconds.
const OLD_S = 4;

const grid = document.getElementById("live-grid");
const headline = document.getElementById("live-headline");
const waits = document.getElementById("live-waits");
const template = document.getElementById("live-tile");
const tiles = new Map();
let isReached = false;
let runs = false;

class GridTile {
  constructor(name) {
    this.name = name;
    this.element = template.content.firstElementChild.cloneNode(true);
    this.link = this.element.querySelector("a");
    this.link.href = `/live/${encodeURIComponent(name)}`;
    this.canvas = this.element.querySelector("canvas");
    this.canvas.setAttribute("aria-label", `newest keyframe of ${name}`);
    this.element.querySelector("b").textContent = name;
    this.chip = this.element.querySelector(".chip");
    this.words = this.element.querySelector(".live-words");
    this.age = this.element.querySelector(".live-age");
    this.verdict = this.element.querySelector(".live-verdict");
    this.isInspected = false;
    this.received = 0;
    this.shown = 0;
  }

  async show(header, jpeg) {
    const number = ++this.received;
    const image = await createImageBitmap(new Blob([jpeg], { type: "image/jpeg" }));
    if (number < this.shown) return; // a newer one was decoded first; clocks do not tell: the line may have booted
    this.shown = number;
    this.image?.close();
    this.image = image;
    this.header = header;
    this.arrivedS = nowS() - header.age_s;
    this.element.dataset.frame = header.frame;
    this.draw();
    this.tick();
  }

  // In the screen's own pixels, so that the boxes' labels are as large on a phone.
  draw() {
    const { image, canvas } = this;
    const screen = canvas.parentElement;
    const scale = Math.min(screen.clientWidth / image.width, screen.clientHeight / image.height) * (devicePixelRatio || 1) || 1;
    [canvas.width, canvas.height] = [Math.round(image.width * scale), Math.round(image.height * scale)];
    const context = canvas.getContext("2d");
    context.drawImage(image, 0, 0, canvas.width, canvas.height);
    const found = this.found?.frame === this.header.frame ? this.found : null;
    if (found) drawBoxes(context, found.boxes, canvas.width / found.size[0]);
    sayVerdict(this.verdict, found && found.boxes);
  }

  take(found) {
    this.found = found;
    if (this.header?.frame === found.frame) this.draw();
  }

  state(camera) {
    this.isInspected = camera.inspected;
    this.chip.className = `chip ${camera.inspected || camera.kind !== "good" ? camera.kind : "part"}`; // it runs, and no result comes
    this.chip.textContent = camera.state;
    this.words.textContent = camera.words;
    this.tick();
  }

  tick() {
    const isLive = isReached && runs && this.isInspected;
    this.element.classList.toggle("dead", !isLive);
    const ageS = this.header ? nowS() - this.arrivedS : null;
    this.age.textContent = ageS === null ? "no image yet" : `${ageWords(ageS)} old`;
    this.age.classList.toggle("old", ageS === null || ageS > OLD_S);
  }
}

function tileOf(name) {
  if (!tiles.has(name)) {
    const tile = new GridTile(name);
    tiles.set(name, tile);
    grid.append(tile.element);
  }
  return tiles.get(name);
}

function takeStatus(status) {
  runs = status.runs;
  for (const camera of status.cameras) tileOf(camera.name).state(camera);
  if (runs) {
    const names = new Set(status.cameras.map((camera) => camera.name));
    for (const [name, tile] of tiles) {
      if (names.has(name)) continue;
      tile.element.remove();
      tiles.delete(name);
    }
    status.cameras.slice(0, 9).forEach((camera, index) => (tileOf(camera.name).link.dataset.key = String(index + 1)));
  }
  sayHeadline(status.runs ? status.headline : "", status.alarms);
  tellState(status.headline);
}

// One short line by its first sign, the alarms below it: all of them where there is one, else behind their number.
function sayHeadline(words, alarms) {
  const text = [words, ...alarms].join("\n");
  if (headline.dataset.text === text) return;
  headline.dataset.text = text;
  const line = (name, said) => Object.assign(document.createElement("p"), { className: name, textContent: said });
  const kinds = { "■": "alarm-line", "▲": "warn-line" };
  const list = alarms.map((alarm) => line("warn-line", `▲ ${alarm}`));
  const more = document.createElement("details");
  more.append(Object.assign(document.createElement("summary"), { textContent: `${alarms.length} alarms` }), ...list);
  headline.replaceChildren(...(words ? [line(kinds[words[0]] ?? "fine-line", words)] : []), ...(alarms.length > 1 ? [more] : list));
}

function tellState(reason = "") {
  waits.hidden = isReached && runs;
  waits.querySelector("h2").textContent = isReached ? "No live feed" : "The desk is not reached";
  const old = tiles.size ? " What is shown below is old." : "";
  waits.querySelector("p").textContent = (isReached ? "This page waits for one." : "It is tried again.") + old;
  waits.querySelector("code").textContent = isReached ? reason : "";
  for (const tile of tiles.values()) tile.tick();
}

function take(header, payload) {
  if (header.kind === "status") takeStatus(header);
  else if (header.kind === "tile") tileOf(header.camera).show(header, payload);
  else if (header.kind === "boxes") tileOf(header.camera).take(header);
}

new LiveSocket("/api/v1/live/tiles", take, (isOpen) => {
  isReached = isOpen;
  tellState("");
});
setInterval(() => { for (const tile of tiles.values()) tile.tick(); }, 250);
addEventListener("resize", () => { for (const tile of tiles.values()) if (tile.image) tile.draw(); });
