// Boxes and regions over an image: the verdict by a sign, by the line's width and by colour. Coordinates are those of the
// camera's frame.

// The mildest first, which the others are drawn over. A box of which nothing is decided yet has the verdict null.
const MARKS = {
  null: { sign: "?", word: "undecided", colour: "--focus", width: 1.5 },
  accept: { sign: "○", word: "accept", colour: "--good", width: 2 },
  warn: { sign: "▲", word: "warn", colour: "--part", width: 3 },
  reject: { sign: "■", word: "reject", colour: "--bad", width: 4 },
};
const RANKS = Object.keys(MARKS);
// An image that is narrower than this, in CSS pixels, has room for signs alone, or for no verdicts in words.
const SIGNS_PX = 230;
const WORDS_PX = 420;

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const rank = (found) => RANKS.indexOf(String(found.verdict));

// `scale` is canvas pixels to a pixel of the frame; `ageS` is null where the boxes are of this very frame.
export function drawBoxes(context, boxes, scale, ageS = null) {
  const ratio = devicePixelRatio || 1;
  const wide = context.canvas.width / ratio;
  const thin = wide < WORDS_PX ? 0.6 : 1;
  context.save();
  context.font = `600 ${(wide < WORDS_PX ? 11 : 13) * ratio}px system-ui, "DejaVu Sans", sans-serif`;
  context.textBaseline = "bottom";
  if (ageS !== null) context.setLineDash([5 * ratio, 4 * ratio]);
  for (const found of [...boxes].sort((one, other) => rank(one) - rank(other))) {
    const [x1, y1, x2, y2] = found.box.map((value) => value * scale);
    const mark = MARKS[found.verdict];
    context.lineWidth = mark.width * thin * ratio;
    context.strokeStyle = colour(mark.colour);
    if (found.outline) strokeOutline(context, found.outline, scale);
    else context.strokeRect(x1, y1, x2 - x1, y2 - y1);
    const seen = ageS === null ? found.score.toFixed(2) : `${ageS.toFixed(1)} s ago`;
    const words = wide < SIGNS_PX ? [mark.sign] : [mark.sign, wide < WORDS_PX ? "" : mark.word, found.class, seen];
    label(context, words.filter(Boolean).join(" "), x1, y1, ratio);
  }
  context.restore();
}

// `outline` is x, y, x, y ... of a rotated box's corners.
function strokeOutline(context, outline, scale) {
  context.beginPath();
  for (let at = 0; at < outline.length; at += 2) context.lineTo(outline[at] * scale, outline[at + 1] * scale);
  context.closePath();
  context.stroke();
}

function label(context, words, x, y, ratio) {
  const width = context.measureText(words).width + 6 * ratio;
  const height = parseFloat(context.font.match(/(\d+(\.\d+)?)px/)[1]) * 1.35;
  const left = Math.max(0, Math.min(x, context.canvas.width - width));
  const bottom = y - height < 0 ? y + height : y;
  context.fillStyle = context.strokeStyle;
  context.fillRect(left, bottom - height, width, height);
  context.fillStyle = isLight(context.strokeStyle) ? "#111" : "#fff";
  context.fillText(words, left + 3 * ratio, bottom - height * 0.12);
}

// A canvas says its colours as #rrggbb. Black is read better than white where the luminance is above this.
function isLight(hex) {
  const [red, green, blue] = [1, 3, 5].map((at) => (parseInt(hex.slice(at, at + 2), 16) / 255) ** 2.2);
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.18;
}

// What a frame's boxes come to, in the element `chip`: the worst verdict, and how many have it. Null: nobody inspected the frame.
export function sayVerdict(chip, boxes) {
  const ranks = boxes?.map(rank) ?? [];
  const worst = Math.max(-1, ...ranks);
  const mark = MARKS[RANKS[worst]];
  chip.hidden = boxes === null;
  chip.dataset.verdict = mark ? mark.word : "";
  chip.textContent = mark ? `${mark.sign} ${ranks.filter((one) => one === worst).length} ${mark.word}` : "nothing found";
}

// Regions of interest are polygons of shares of the frame.
export function drawRegions(context, regions) {
  const { width, height } = context.canvas;
  context.save();
  context.lineWidth = 1.5 * (devicePixelRatio || 1);
  context.strokeStyle = colour("--focus");
  context.setLineDash([2 * context.lineWidth, 3 * context.lineWidth]);
  for (const region of regions) {
    context.beginPath();
    for (const [x, y] of region) context.lineTo(x * width, y * height);
    context.closePath();
    context.stroke();
  }
  context.restore();
}
