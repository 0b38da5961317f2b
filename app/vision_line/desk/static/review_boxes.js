// Boxes over a frame: what the line found, and what a person drew or kept. Pixels are those of the stored image.

const SVG = "http://www.w3.org/2000/svg";
const SMALLEST = 3;
const names = ["x1", "y1", "x2", "y2"];

/** Whether two boxes are the same one of the same class. */
const isSame = (one, other) => one.class === other.class && names.every((name) => one[name] === other[name]);

export class BoxEditor {
  /** `changed` is called after each change by a person; `className` says which class a new box has. */
  constructor(svg, changed, className) {
    this.svg = svg;
    this.changed = changed;
    this.className = className;
    this.mayDraw = true;
    this.load({ boxes: [], width: 1, height: 1 });
    svg.addEventListener("pointerdown", (event) => this.#press(event));
    svg.addEventListener("pointermove", (event) => this.#drag(event));
    for (const kind of ["pointerup", "pointercancel"]) svg.addEventListener(kind, (event) => this.#release(event));
  }

  /** Show an item untouched: no box is visible. */
  load(item) {
    this.width = item.width;
    this.height = item.height;
    this.line = item.boxes.map((box) => ({ class: box.class_name, score: box.score, outline: box.outline, ...pick(box) }));
    this.own = null; // what a person says is true; null: not touched
    this.isShown = false;
    this.chosen = null;
    this.setDrawing(false);
    this.svg.setAttribute("viewBox", `0 0 ${this.width} ${this.height}`);
    this.render();
  }

  /** Whether a person changed what the line found. */
  get isTouched() {
    return this.own !== null && !(this.own.length === this.line.length && this.own.every((box, i) => isSame(box, this.line[i])));
  }

  /** The true boxes as they are sent; `withLine` false: without those that the line found. */
  sent(withLine) {
    if (!this.isTouched) return null;
    return this.own.filter((box) => withLine || !box.isLine).map((box) => ({ class: box.class, ...pick(box) }));
  }

  show(isShown) {
    this.isShown = isShown;
    if (!isShown && this.chosen?.isLine) this.chosen = null;
    this.render();
  }

  setDrawing(isDrawing) {
    this.isDrawing = isDrawing;
    this.svg.classList.toggle("drawing", isDrawing);
  }

  /** Draw a box by keys: in the middle, to be moved by arrows. */
  add() {
    const [w, h] = [this.width / 8, this.height / 8];
    this.#draw({ x1: this.width / 2 - w, y1: this.height / 2 - h, x2: this.width / 2 + w, y2: this.height / 2 + h });
    this.#done();
  }

  /** Choose the next box that is visible. */
  chooseNext() {
    const visible = this.#visible();
    this.chosen = visible.length ? visible[(visible.indexOf(this.chosen) + 1) % visible.length] : null;
    this.render();
  }

  drop() {
    if (this.chosen === null) return;
    const at = this.#visible().indexOf(this.chosen);
    const index = this.#touch().findIndex((box) => box === this.chosen || (box.isLine && isSame(box, this.chosen)));
    this.own.splice(index, 1);
    this.chosen = this.#visible()[Math.max(0, at - 1)] ?? null;
    this.#done();
  }

  /** Move the chosen box by a hundredth of the frame, or its lower right corner. */
  nudge(dx, dy, isCorner) {
    const box = this.#chosenOwn();
    if (box === null) return;
    box.outline = null; // a person says where it is: upright
    const step = Math.max(1, this.width / 100);
    const [mx, my] = [dx * step, dy * step];
    if (isCorner) {
      box.x2 = clamp(box.x2 + mx, box.x1 + SMALLEST, this.width);
      box.y2 = clamp(box.y2 + my, box.y1 + SMALLEST, this.height);
    } else {
      const [x, y] = [clamp(mx, -box.x1, this.width - box.x2), clamp(my, -box.y1, this.height - box.y2)];
      Object.assign(box, { x1: box.x1 + x, x2: box.x2 + x, y1: box.y1 + y, y2: box.y2 + y });
    }
    this.#done();
  }

  /** Give the chosen box a class; false: none is chosen. */
  classify(name) {
    const box = this.#chosenOwn();
    if (box === null) return false;
    box.class = name;
    this.#done();
    return true;
  }

  release() {
    this.chosen = null;
    this.render();
  }

  render() {
    const size = Math.max(this.width, this.height) / 45;
    this.svg.replaceChildren(...this.#visible().flatMap((box) => this.#drawn(box, size)));
  }

  #visible() {
    const boxes = this.own ?? this.line.map((box) => Object.assign(box, { isLine: true }));
    return boxes.filter((box) => this.isShown || !box.isLine);
  }

  /** Take over what the line found: from now on a person says what is true. */
  #touch() {
    this.own ??= this.line.map((box) => ({ ...box, isLine: true }));
    return this.own;
  }

  #chosenOwn() {
    if (this.chosen === null) return null;
    const own = this.#touch().find((box) => box === this.chosen || (box.isLine && isSame(box, this.chosen)));
    if (own === undefined) return null;
    own.isLine = false;
    this.chosen = own;
    return own;
  }

  #draw(edges) {
    const box = { class: this.className(), ...edges, isLine: false };
    this.#touch().push(box);
    this.chosen = box;
  }

  #done() {
    this.render();
    this.changed();
  }

  #drawn(box, size) {
    const shape = (kind) => {
      const one = document.createElementNS(SVG, box.outline ? "polygon" : "rect");
      const upright = { x: box.x1, y: box.y1, width: box.x2 - box.x1, height: box.y2 - box.y1 };
      const lies = box.outline ? { points: box.outline.join(" ") } : upright;
      for (const [name, value] of Object.entries({ ...lies, class: kind })) one.setAttribute(name, value);
      return one;
    };
    const label = document.createElementNS(SVG, "text");
    label.textContent = box.isLine && box.score !== undefined ? `${box.class} ${box.score.toFixed(2)}` : box.class;
    label.setAttribute("transform", `translate(${box.x1} ${box.y1 > size * 1.4 ? box.y1 - size * 0.35 : box.y2 + size}) scale(${size})`);
    const kind = `${box.isLine ? "line-box" : "own-box"}${box === this.chosen ? " chosen" : ""}`;
    return [shape("shade"), shape(kind), label];
  }

  #at(event) {
    const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(this.svg.getScreenCTM().inverse());
    return { x: clamp(point.x, 0, this.width), y: clamp(point.y, 0, this.height) };
  }

  #press(event) {
    if (event.button !== 0 || !this.mayDraw) return;
    if (event.pointerType === "mouse" || this.isDrawing) {
      event.preventDefault();
      this.svg.setPointerCapture(event.pointerId);
      this.from = this.#at(event);
    } else {
      this.#choose(this.#at(event));
    }
  }

  #drag(event) {
    if (this.from === undefined) return;
    const to = this.#at(event);
    const edges = { x1: Math.min(this.from.x, to.x), y1: Math.min(this.from.y, to.y), x2: Math.max(this.from.x, to.x), y2: Math.max(this.from.y, to.y) };
    if (this.pulled) {
      Object.assign(this.chosen, edges);
    } else if (edges.x2 - edges.x1 > SMALLEST && edges.y2 - edges.y1 > SMALLEST) {
      this.#draw(edges);
      this.pulled = true;
    }
    this.render();
  }

  #release(event) {
    if (this.from === undefined) return;
    if (!this.pulled) this.#choose(this.#at(event));
    else if (event.type === "pointercancel" || this.chosen.x2 - this.chosen.x1 <= SMALLEST || this.chosen.y2 - this.chosen.y1 <= SMALLEST) this.drop();
    else this.#done();
    this.from = undefined;
    this.pulled = false;
  }

  /** Choose the smallest visible box that holds a point. */
  #choose({ x, y }) {
    const area = (box) => (box.x2 - box.x1) * (box.y2 - box.y1);
    const under = this.#visible().filter((box) => box.x1 <= x && x <= box.x2 && box.y1 <= y && y <= box.y2);
    this.chosen = under.sort((one, other) => area(one) - area(other))[0] ?? null;
    this.#done();
  }
}

const clamp = (value, least, most) => Math.min(Math.max(value, least), most);
const pick = (box) => Object.fromEntries(names.map((name) => [name, Math.round(box[name] * 100) / 100]));
