// Which filter likes what you draw: a canvas, and the maps and pictures of the filters that answer most.
import { twoDigits } from "../engine/judge.js";
import { button, canvas, choice, element, slider } from "./parts.js";
import { NAMES, pattern } from "./patterns.js";
import { small } from "./sheet.js";
import { Subject } from "./subject.js";

const SIZE = 128; // pixels
const SHOWN = 6; // filters
const PAPER = 184; // grey level
const MOVES = { ArrowLeft: [-4, 0], ArrowRight: [4, 0], ArrowUp: [0, -4], ArrowDown: [0, 4] };

export class Draw {
  constructor(root, page) {
    Object.assign(this, { engine: page.engine, usual: new Map(), pictures: new Map(), seed: 0 });
    this.lists = new Map(); // the last list of each pattern, by network, layer and order
    this.subject = new Subject(page, () => this.ask());
    const orders = [
      ["usual", "more than to other patterns"],
      ["activation", "most, in plain numbers"],
    ];
    this.order = choice("answering", orders, "usual", () => this.rank());
    this.colour = element("input", { type: "color", value: "#202060", "aria-label": "colour of the brush" });
    this.width = slider("brush", { min: 1, max: 24, value: 6, text: (width) => `${width} px` }, () => {});
    const patterns = NAMES.map((name) => button(name, () => this.paint(name)));
    const clear = button("Clear", () => this.clear());
    this.status = element("p", { className: "facts", role: "status" });
    this.list = element("ol", { className: "strongest" });
    const hint =
      "Draw with the pointer, or with arrow keys while you hold shift; or take a pattern. Take it again: it comes in " +
      "other colours and sizes, and a filter that likes its form stays on the list.";
    root.append(
      element(
        "div",
        { className: "columns" },
        element("div", { className: "pictures" }, this.paper(hint)),
        element(
          "div",
          { className: "controls" },
          element("p", { className: "hint" }, hint),
          element("div", { className: "row", role: "group", "aria-label": "patterns" }, ...patterns),
          element("div", { className: "row" }, this.width, this.colour, clear),
          ...[this.subject.network, this.subject.layer, this.order],
        ),
      ),
      this.status,
      this.list,
    );
    this.paint(NAMES.includes(page.query.get("pattern")) ? page.query.get("pattern") : "spiral");
  }

  /** The canvas that is drawn on. */
  paper(hint) {
    const paper = element("canvas", { className: "picture paper", width: SIZE, height: SIZE, tabIndex: 0 });
    paper.setAttribute("role", "application");
    paper.setAttribute("aria-label", `Your drawing. ${hint}`);
    this.context = paper.getContext("2d", { willReadFrequently: true });
    const place = ({ offsetX, offsetY }) => [offsetX, offsetY].map((at) => (at * SIZE) / paper.clientWidth);
    paper.onpointerdown = (event) => {
      paper.setPointerCapture(event.pointerId);
      this.at = place(event);
      this.stroke(this.at);
    };
    paper.onpointermove = (event) => event.buttons && this.stroke(place(event));
    this.at = [SIZE / 2, SIZE / 2];
    paper.onkeydown = (event) => this.key(event);
    this.cursor = element("span", { className: "cursor" }); // where the arrow keys have come to
    return element("div", { className: "desk" }, paper, this.cursor);
  }

  key(event) {
    const move = MOVES[event.key];
    if (!move && event.key !== " ") return;
    event.preventDefault();
    const next = this.at.map((value, axis) => Math.min(SIZE, Math.max(0, value + (move?.[axis] ?? 0))));
    if (event.key === " " || event.shiftKey) this.stroke(next);
    this.at = next;
    [this.cursor.style.left, this.cursor.style.top] = next.map((value) => `${(100 * value) / SIZE}%`);
  }

  stroke(to) {
    const { context } = this;
    Object.assign(context, { lineCap: "round", lineWidth: Number(this.width.control.value) });
    context.strokeStyle = this.colour.value;
    context.beginPath();
    context.moveTo(...this.at);
    context.lineTo(to[0] + 0.01, to[1]); // a line of no length would leave no dot
    context.stroke();
    Object.assign(this, { at: to, pattern: null });
    this.ask();
  }

  clear() {
    this.context.fillStyle = `rgb(${PAPER}, ${PAPER}, ${PAPER})`;
    this.context.fillRect(0, 0, SIZE, SIZE);
    this.pattern = null;
    this.ask();
  }

  paint(name) {
    const picture = pattern(name, this.seed++, SIZE);
    const image = this.context.createImageData(SIZE, SIZE);
    for (let i = 0; i < SIZE * SIZE; i++) image.data.set([...picture.subarray(3 * i, 3 * i + 3), 255], 4 * i);
    this.context.putImageData(image, 0, 0);
    this.pattern = name;
    this.ask();
  }

  drawing() {
    const { data } = this.context.getImageData(0, 0, SIZE, SIZE);
    return Uint8ClampedArray.from({ length: 3 * SIZE * SIZE }, (_, i) => data[4 * Math.floor(i / 3) + (i % 3)]);
  }

  /** Asks for what all filters of the layer answer to the drawing; while one answer is awaited, the next one waits. */
  ask() {
    this.list.setAttribute("aria-busy", "true");
    if (this.asking) {
      this.again = true;
      return;
    }
    Object.assign(this, { asking: true, again: false });
    const { network, layer } = this.subject.value;
    const key = `${network} ${layer}`;
    const { pattern: taken, seed } = this;
    const images = [this.drawing()];
    if (!this.usual.has(key)) {
      images.push(new Uint8ClampedArray(3 * SIZE * SIZE).fill(PAPER));
      images.push(...NAMES.map((name) => pattern(name, 1000, SIZE)));
    }
    this.engine.order({ kind: "answer", network, layer, size: SIZE, images }, (message) => {
      if (message.error) Object.assign(this, { asking: false }).status.textContent = message.error;
      if (!message.answers) return;
      const [own, bare, ...others] = message.answers;
      if (bare) this.usual.set(key, { bare, usual: own.map((_, filter) => meanOf(others, filter)) });
      this.answer = { network, layer, own, taken, seed, ...this.usual.get(key), ...message };
      this.asking = false;
      this.rank();
    });
  }

  /** Shows the filters that answer most, each with its map and its drawn picture. */
  rank() {
    if (!this.answer) return;
    const { own, usual, bare, layer } = this.answer;
    const relative = this.order.control.value === "usual";
    // What a filter answers to the empty paper says nothing of the drawing.
    const more = (filter) => (own[filter] - bare[filter]) / (usual[filter] + 1e-9);
    const score = (filter) => (relative ? more(filter) : own[filter]);
    const filters = own.map((_, filter) => filter).filter((filter) => score(filter) > (relative ? 0.01 : 0));
    const best = filters.sort((one, other) => score(other) - score(one)).slice(0, SHOWN);
    this.status.textContent = best.length
      ? `Of ${own.length} filters of ${layer}, these answer to your drawing. Left where they do, right what each ` +
        "responds to. Usual is the mean over one of each of the ten patterns" +
        (relative ? ", and what answers as much to the empty paper is left out." : ".")
      : `No filter of ${layer} answers to your drawing` + (relative ? " more than to the empty paper." : ".");
    const earlier = this.earlier(best);
    this.list.replaceChildren(...best.map((filter) => this.row(filter, earlier.includes(filter))));
    if (this.asking) return;
    this.list.setAttribute("aria-busy", String(this.again));
    if (this.again) this.ask();
    else this.picture(best);
  }

  /** The list for the drawing of the same pattern before this one; empty if there was none. */
  earlier(best) {
    const { network, layer, taken, seed } = this.answer;
    if (!taken) return [];
    const key = [network, layer, taken, this.order.control.value].join();
    const last = this.lists.get(key);
    const before = last?.seed === seed ? last.before : (last?.best ?? []);
    this.lists.set(key, { seed, best, before });
    return before;
  }

  row(filter, stayed) {
    const { network, layer, own, usual, maps, side } = this.answer;
    const map = canvas(`map of filter ${filter}: where it answers`, "small map");
    const most = maps[filter].reduce((largest, value) => Math.max(largest, value), 1e-9);
    const grey = (_, i) => (255 * maps[filter][Math.floor(i / 3)]) / most;
    map.show(Uint8ClampedArray.from({ length: 3 * side * side }, grey), side);
    const picture = canvas(`picture of filter ${filter}`, "small");
    const made = this.pictures.get(`${network} ${layer} ${filter}`);
    if (made) picture.show(made.picture, made.size);
    const query = new URLSearchParams(location.search);
    const wanted = { view: "explorer", network, layer, filter };
    for (const [key, value] of Object.entries(wanted)) query.set(key, value);
    const opened = { href: `?${query}`, target: "_blank", title: "the explorer, in a new tab" };
    const link = element("a", opened, `filter ${filter}`);
    const times = `${twoDigits(own[filter] / (usual[filter] + 1e-9))} × usual`;
    const facts = element("span", { className: "left" }, `activation ${own[filter].toPrecision(3)}, ${times}${stayed ? ", as last time" : ""}`);
    const row = element("li", {}, element("div", { className: "pair" }, map, picture), link, facts);
    return Object.assign(row, { filter, picture });
  }

  /** Draws the pictures that are missing. */
  picture(filters) {
    const { network, layer } = this.answer;
    const missing = filters.filter((filter) => !this.pictures.has(`${network} ${layer} ${filter}`));
    if (!missing.length) return;
    this.engine.order({ kind: "climb", network, layer, ...small("clear"), filters: missing }, (message) => {
      if (!message.done) return;
      this.pictures.set(`${network} ${layer} ${message.filter}`, message);
      for (const row of this.list.children) {
        if (row.filter === message.filter) row.picture.show(message.picture, message.size);
      }
    });
  }
}

const meanOf = (answers, filter) => answers.reduce((sum, each) => sum + each[filter], 0) / answers.length;
