// Charts work without this: it moves along the points by keys, says which one is focused, and picks one to exclude.

const another = document.querySelector("#another");

const exclude = (point) => {
  const since = point.dataset.since;
  if (another === null || ![...another.options].some((one) => one.value === since)) return;
  another.value = since;
  another.parentElement.querySelector("input").focus();
};

for (const chart of document.querySelectorAll(".rate-chart[role=group]")) {
  const points = [...chart.querySelectorAll("a.point")];
  const readout = chart.closest(".chart-card").querySelector(".readout");
  const box = chart.closest(".scroll");
  box.scrollLeft = box.scrollWidth; // the newest first

  const go = (place) => {
    const next = points[Math.min(Math.max(place, 0), points.length - 1)];
    for (const one of points) one.tabIndex = one === next ? 0 : -1;
    next.focus();
  };
  const say = (event) => {
    const point = event.target.closest("a.point");
    if (point !== null) readout.textContent = point.querySelector("title").textContent;
  };

  chart.addEventListener("focusin", say);
  chart.addEventListener("pointerover", say);
  chart.addEventListener("keydown", (event) => {
    const place = points.indexOf(event.target.closest("a.point"));
    if (place < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
    const moves = { ArrowLeft: place - 1, ArrowRight: place + 1, PageUp: place - 10, PageDown: place + 10, Home: 0, End: points.length };
    if (event.key in moves) go(moves[event.key]);
    else if (event.key === "x" && another !== null) exclude(points[place]);
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
}
