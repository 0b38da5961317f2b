// One camera: its own video, with the boxes of exactly the frame that is painted. Where that cannot be: tiles.
import { LiveSocket, ageWords, nowS } from "./live_socket.js";
import { drawBoxes, drawRegions, sayVerdict } from "./live_boxes.js";
import { Player, plays } from "./live_player.js";

// Boxes of an earlier frame are shown as outlines, with their age, for so long.
const EARLIER_S = 0.5;
const REMEMBERED_S = 15;
// A painted frame that is older is no live image.
const OLD_S = 2;

const stage = document.getElementById("live-stage");
const camera = stage.dataset.camera;
const regions = JSON.parse(stage.dataset.regions);
const video = stage.querySelector("video");
const still = stage.querySelector(".live-still");
const overlay = stage.querySelector(".live-overlay");
const age = stage.querySelector(".live-age");
const verdict = stage.querySelector(".live-verdict");
const note = document.getElementById("live-note");
const state = document.getElementById("live-state");
const words = document.getElementById("live-words");

let player = null;
let frames = []; // {frame, at, mediaS, arrivedS}, in their order
let found = new Map(); // boxes by the frame's name
let painted = null; // the frame on the screen
let tilesReceived = 0;
let tileShown = 0;
let isReached = false;
let isInspected = false;

// The frame of a media time: the browser rounds it to microseconds.
function frameAt(mediaS) {
  let best = null;
  for (const frame of frames) {
    if (best === null || Math.abs(frame.mediaS - mediaS) < Math.abs(best.mediaS - mediaS)) best = frame;
  }
  return best !== null && Math.abs(best.mediaS - mediaS) < 0.002 ? best : null;
}

function earlier(at) {
  let newest = null;
  for (const boxes of found.values()) {
    if (boxes.at < at && at - boxes.at <= EARLIER_S && (newest === null || boxes.at > newest.at)) newest = boxes;
  }
  return newest;
}

function draw() {
  const ratio = devicePixelRatio || 1;
  const [width, height] = [Math.round(stage.clientWidth * ratio), Math.round(stage.clientHeight * ratio)];
  if (overlay.width !== width || overlay.height !== height) [overlay.width, overlay.height] = [width, height];
  const context = overlay.getContext("2d");
  context.clearRect(0, 0, width, height);
  drawRegions(context, regions);
  if (painted === null) {
    delete overlay.dataset.frame;
    sayVerdict(verdict, null);
    return;
  }
  const own = found.get(painted.frame);
  const shown = own || earlier(painted.at);
  if (shown) drawBoxes(context, shown.boxes, width / shown.size[0], own ? null : painted.at - shown.at);
  sayVerdict(verdict, shown && shown.boxes);
  Object.assign(overlay.dataset, { frame: painted.frame, boxes: shown ? shown.frame : "", count: shown ? shown.boxes.length : 0 });
}

function paint(frame) {
  painted = frame;
  draw();
  tick();
}

function takeBoxes(boxes) {
  found.set(boxes.frame, boxes);
  for (const [frame, old] of found) if (old.at < boxes.at - REMEMBERED_S) found.delete(frame);
  if (painted?.frame === boxes.frame) draw();
}

function takeStart(codec, segment) {
  player?.close();
  player = null;
  frames = [];
  if (!segment.length || !plays(codec)) {
    showTiles(`this browser does not play ${codec}`);
    return;
  }
  player = new Player(video, codec, segment, (reason) => showTiles(reason), paintVideo);
}

// When a browser says which frame it painted, it may be about to paint the next one: boxes above the video would be of the
// frame before for a moment. So the frame itself goes into a canvas, by its own time, together with its boxes.
function paintVideo(mediaS) {
  if (!("VideoFrame" in window)) {
    paint(frameAt(mediaS));
    return;
  }
  const shot = new VideoFrame(video);
  const [width, height] = [shot.displayWidth, shot.displayHeight];
  if (still.width !== width || still.height !== height) [still.width, still.height] = [width, height];
  still.getContext("2d", { alpha: false }).drawImage(shot, 0, 0, width, height);
  stage.classList.add("drawn");
  const frame = frameAt(shot.timestamp / 1e6);
  shot.close();
  paint(frame);
}

function takeFrame(header, segment) {
  if (player === null) return;
  frames.push({ frame: header.frame, at: header.at, mediaS: header.media_s, arrivedS: nowS() - header.age_s });
  while (frames.length > 1 && frames[0].at < header.at - REMEMBERED_S) frames.shift();
  player.append(segment, header.media_s);
}

function takeStatus(status) {
  const own = status.cameras[0];
  isInspected = status.runs && Boolean(own?.inspected);
  state.className = `chip ${own?.kind || "quiet"}`;
  state.textContent = own?.state || (status.runs ? "○ not in this run" : "○ no live feed");
  words.textContent = own?.words || (status.runs ? "" : "this page waits for one");
  tick();
}

const socket = new LiveSocket(`/api/v1/live/video/${encodeURIComponent(camera)}`, (header, payload) => {
  if (header.kind === "frame") takeFrame(header, payload);
  else if (header.kind === "boxes") takeBoxes(header);
  else if (header.kind === "start") takeStart(header.codec, payload);
  else takeStatus(header);
}, reached);

function reached(isOpen) {
  isReached = isOpen;
  if (!isOpen) words.textContent = "the desk is not reached; it is tried again";
  tick();
}

// The newest keyframe, as in the grid: any codec, any browser.
function showTiles(reason) {
  socket.close();
  player?.close();
  player = null;
  stage.classList.remove("drawn");
  stage.classList.add("tiles");
  note.hidden = false;
  note.textContent = `Keyframes only: ${reason}.`;
  new LiveSocket(`/api/v1/live/tiles?camera=${encodeURIComponent(camera)}`, async (header, payload) => {
    if (header.kind === "boxes") takeBoxes(header);
    else if (header.kind === "status") takeStatus(header);
    else await showTile(header, payload);
  }, reached);
}

async function showTile(header, jpeg) {
  const frame = { frame: header.frame, at: header.at, arrivedS: nowS() - header.age_s };
  const number = ++tilesReceived;
  const image = await createImageBitmap(new Blob([jpeg], { type: "image/jpeg" }));
  if (number < tileShown) return; // a newer one was decoded first
  tileShown = number;
  [still.width, still.height] = [image.width, image.height];
  still.getContext("2d").drawImage(image, 0, 0);
  image.close();
  fit(header.size);
  paint(frame);
}

function fit([width, height]) {
  stage.style.aspectRatio = `${width} / ${height}`;
  stage.style.maxWidth = `min(100%, calc(82vh * ${width / height}))`;
}

function tick() {
  const ageS = painted === null ? null : nowS() - painted.arrivedS;
  const isOld = ageS === null || ageS > (stage.classList.contains("tiles") ? 2 * OLD_S : OLD_S);
  age.textContent = ageS === null ? "waiting for a keyframe" : `${ageWords(ageS)} old`;
  age.classList.toggle("old", isOld);
  stage.classList.toggle("dead", !isReached || !isInspected || (isOld && !stage.classList.contains("tiles")));
}

video.addEventListener("loadedmetadata", () => { fit([video.videoWidth, video.videoHeight]); draw(); });
addEventListener("resize", draw);
setInterval(tick, 250);
draw();
