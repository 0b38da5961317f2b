// Boxes and regions over an image: the verdict by colour and by word. Coordinates are those of the camera's frame.

const COLOURS = { reject: "--bad", warn: "--part", accept: "--good" };

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// `scale` is canvas pixels to a pixel of the frame; `ageS` is null where the boxes are of this very frame.
export function drawBoxes(context, boxes, scale, ageS = null) {
  const ratio = devicePixelRatio || 1;
  const small = context.canvas.width < 400 * ratio;
  context.save();
  context.lineWidth = (small ? 1.5 : 2.5) * ratio;
  context.font = `600 ${(small ? 10 : 13) * ratio}px system-ui, "DejaVu Sans", sans-serif`;
  context.textBaseline = "bottom";
  if (ageS !== null) context.setLineDash([5 * ratio, 4 * ratio]);
  for (const found of boxes) {
    const [x1, y1, x2, y2] = found.box.map((value) => value * scale);
    context.strokeStyle = colour(COLOURS[found.verdict] || "--focus");
    context.strokeRect(x1, y1, x2 - x1, y2 - y1);
    const seen = ageS === null ? found.score.toFixed(2) : `${ageS.toFixed(1)} s ago`;
    label(context, [found.class, seen, found.verdict].filter(Boolean).join(" "), x1, y1, ratio);
  }
  context.restore();
}

function label(context, words, x, y, ratio) {
  const width = context.measureText(words).width + 6 * ratio;
  const height = parseFloat(context.font.match(/(\d+(\.\d+)?)px/)[1]) * 1.35;
  const left = Math.max(0, Math.min(x, context.canvas.width - width));
  const bottom = y - height < 0 ? y + height : y;
  context.fillStyle = context.strokeStyle;
  context.fillRect(left, bottom - height, width, height);
  context.fillStyle = "#fff";
  context.strokeStyle = "#000a";
  context.fillText(words, left + 3 * ratio, bottom - height * 0.12);
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
