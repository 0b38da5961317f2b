// Draws regions of interest on an image of the camera, and says them as TOML. Nothing is written.

const SVG = "http://www.w3.org/2000/svg";
const stage = document.getElementById("live-stage");
const image = stage.querySelector("img");
const svg = stage.querySelector("svg");
const toml = document.getElementById("toml");
const hint = document.getElementById("hint");
const from = document.getElementById("taken");

let regions = JSON.parse(stage.dataset.regions);
let chosen = { region: Math.max(0, regions.length - 1), point: -1 };
let dragged = null;

const limited = (value) => Math.min(1, Math.max(0, value));
const rounded = (value) => Math.round(value * 1e4) / 1e4;
const whole = () => regions.filter((region) => region.length >= 3);

export function tomlOf(polygons) {
  const numbers = polygons.map((points) => `[${points.map(([x, y]) => `[${rounded(x)}, ${rounded(y)}]`).join(", ")}]`);
  return `roi = [${numbers.join(", ")}]`;
}

function element(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function draw() {
  const focused = document.activeElement?.dataset?.place;
  const [width, height] = [stage.clientWidth, stage.clientHeight];
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.replaceChildren();
  regions.forEach((points, region) => {
    const at = points.map(([x, y]) => [x * width, y * height]);
    const isChosen = region === chosen.region;
    svg.append(element(points.length < 3 ? "polyline" : "polygon", { points: at.map((one) => one.join(",")).join(" "), class: isChosen ? "chosen" : "" }));
    at.forEach(([cx, cy], point) => {
      const circle = element("circle", {
        cx, cy, r: 8, tabindex: 0, role: "button", class: isChosen && point === chosen.point ? "chosen" : "",
        "aria-label": `region ${region + 1}, point ${point + 1}: ${rounded(points[point][0])}, ${rounded(points[point][1])}`,
      });
      circle.dataset.place = `${region}.${point}`;
      svg.append(circle);
    });
  });
  svg.querySelector(`[data-place="${focused}"]`)?.focus();
  toml.value = tomlOf(whole());
  const short = regions.length - whole().length;
  hint.textContent = short ? "A region needs three points: the unfinished one is not in the text."
    : regions.length ? "" : "Without a region the whole frame counts.";
}

function place(event) {
  const box = svg.getBoundingClientRect();
  return [limited((event.clientX - box.left) / box.width), limited((event.clientY - box.top) / box.height)];
}

const placeOf = (target) => target.dataset?.place?.split(".").map(Number);

function add(point) {
  if (!regions.length) regions = [[]];
  chosen.region = Math.min(chosen.region, regions.length - 1);
  const points = regions[chosen.region];
  const after = chosen.point >= 0 ? chosen.point : points.length - 1;
  points.splice(after + 1, 0, point);
  chosen.point = after + 1;
  draw();
}

function remove(region, point) {
  regions[region].splice(point, 1);
  if (!regions[region].length) regions.splice(region, 1);
  chosen = { region: Math.max(0, Math.min(region, regions.length - 1)), point: -1 };
  draw();
}

svg.addEventListener("pointerdown", (event) => {
  const found = placeOf(event.target);
  if (found) chosen = { region: found[0], point: found[1] };
  else add(place(event));
  dragged = { ...chosen };
  svg.setPointerCapture(event.pointerId);
  draw();
  svg.querySelector(`[data-place="${chosen.region}.${chosen.point}"]`)?.focus();
  event.preventDefault();
});
svg.addEventListener("pointermove", (event) => {
  if (dragged === null) return;
  regions[dragged.region][dragged.point] = place(event);
  draw();
});
for (const end of ["pointerup", "pointercancel"]) svg.addEventListener(end, () => { dragged = null; });
svg.addEventListener("dblclick", (event) => {
  const found = placeOf(event.target);
  if (found) remove(...found);
});

const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

svg.addEventListener("keydown", (event) => {
  const found = placeOf(event.target);
  if (!found || event.ctrlKey || event.metaKey || event.altKey) return;
  const [region, point] = found;
  const step = STEPS[event.key];
  if (step) {
    const [x, y] = regions[region][point];
    const size = event.shiftKey ? 0.02 : 0.002;
    regions[region][point] = [limited(x + step[0] * size), limited(y + step[1] * size)];
    chosen = { region, point };
    draw();
  } else if (event.key === "Delete" || event.key === "Backspace") remove(region, point);
  else return;
  event.preventDefault();
  event.stopPropagation();
});

// For keys alone: a point in the middle of the longest side, or a first region in the middle of the image.
function addByKey() {
  const points = regions[chosen.region] || [];
  if (points.length < 3) {
    regions[chosen.region] = [[0.25, 0.25], [0.75, 0.25], [0.75, 0.75], [0.25, 0.75]];
    chosen.point = 0;
  } else {
    const sides = points.map(([x, y], index) => {
      const [toX, toY] = points[(index + 1) % points.length];
      return { index, length: Math.hypot(toX - x, toY - y), middle: [(x + toX) / 2, (y + toY) / 2] };
    });
    const longest = sides.reduce((best, side) => (side.length > best.length ? side : best));
    points.splice(longest.index + 1, 0, longest.middle);
    chosen.point = longest.index + 1;
  }
  draw();
  svg.querySelector(`[data-place="${chosen.region}.${chosen.point}"]`)?.focus();
}

const ACTS = {
  point: addByKey,
  region: () => { chosen = { region: regions.length, point: -1 }; regions.push([]); draw(); },
  drop: () => { regions.splice(chosen.region, 1); chosen = { region: Math.max(0, regions.length - 1), point: -1 }; draw(); },
  none: () => { regions = []; chosen = { region: 0, point: -1 }; draw(); },
  copy: async () => {
    toml.select();
    // The clipboard is there over TLS and on this machine alone; the text is selected for all others.
    await navigator.clipboard?.writeText(toml.value).catch(() => undefined);
    hint.textContent = navigator.clipboard ? "Copied. Put it below the camera's name in streams.toml." : "Selected: copy it with Ctrl-C.";
  },
};
for (const button of document.querySelectorAll("[data-act]")) button.addEventListener("click", () => ACTS[button.dataset.act]());

async function load() {
  const answer = await fetch(stage.dataset.snapshot);
  if (!answer.ok) {
    from.textContent = `There is no image of this camera: ${(await answer.json()).error || answer.status}. Regions can be drawn without one.`;
    return;
  }
  from.textContent = decodeURIComponent(answer.headers.get("X-Taken"));
  image.src = URL.createObjectURL(await answer.blob());
  await image.decode();
  stage.style.aspectRatio = `${image.naturalWidth} / ${image.naturalHeight}`;
  stage.style.maxWidth = `calc(82vh * ${image.naturalWidth / image.naturalHeight})`;
  image.hidden = false;
  draw();
}

addEventListener("resize", draw);
draw();
load();
