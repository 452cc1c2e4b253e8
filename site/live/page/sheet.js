// All filters of a layer as small pictures to choose from, drawn one after the other while one waits.
import { RECIPES } from "../engine/plain.js";
import { button, canvas, element } from "./parts.js";

export const SMALL = { recipe: "clear", steps: 30, size: 64, seed: 0, step_size: RECIPES.clear.step_size };

export class Sheet {
  constructor(engine, choose) {
    Object.assign(this, { engine, choose, pictures: new Map(), visible: false, idle: false });
    this.count = element("span", { className: "left" });
    this.grid = element("div", { className: "sheet" });
    const head = element("summary", {}, "All filters of the layer ", this.count);
    this.box = element("details", { open: true, ontoggle: () => this.draw() }, head, this.grid);
    // Nothing is drawn that nobody can see.
    new IntersectionObserver(([entry]) => {
      this.visible = entry.isIntersecting;
      this.draw();
    }).observe(this.box);
  }

  /** Shows a layer of `count` filters, with the pictures that are there already. */
  begin({ network, layer }, count) {
    Object.assign(this, { subject: { network, layer }, idle: false });
    this.tiles = Array.from({ length: count }, (_, filter) => {
      const tile = button("", () => this.choose(filter), { className: "tile", "aria-pressed": "false" });
      tile.picture = canvas("", "small");
      tile.picture.setAttribute("aria-hidden", "true");
      tile.append(tile.picture, element("span", {}, String(filter)));
      tile.setAttribute("aria-label", `filter ${filter}`);
      return tile;
    });
    this.grid.replaceChildren(...this.tiles);
    for (let filter = 0; filter < count; filter++) this.show(filter);
    this.counted();
  }

  key(filter) {
    return `${this.subject.network} ${this.subject.layer} ${filter}`;
  }

  get missing() {
    return this.tiles.map((_, filter) => filter).filter((filter) => !this.pictures.has(this.key(filter)));
  }

  mark(chosen) {
    this.tiles.forEach((tile, filter) => tile.setAttribute("aria-pressed", String(filter === chosen)));
  }

  /** Draws what is missing; called when there is nothing else to do. */
  fill() {
    this.idle = true;
    this.draw();
  }

  draw() {
    const missing = this.missing;
    if (!this.idle || !this.visible || !this.box.open || !missing.length) return;
    this.idle = false;
    this.engine.order({ kind: "climb", ...this.subject, ...SMALL, filters: missing }, (message) => {
      if (!message.done) return;
      this.pictures.set(this.key(message.filter), message);
      this.show(message.filter);
      this.counted();
    });
  }

  show(filter) {
    const made = this.pictures.get(this.key(filter));
    if (!made) return;
    const tile = this.tiles[filter];
    tile.picture.show(made.picture, made.size);
    tile.lastChild.textContent = made.status === "dead" ? `${filter} dead` : filter;
    tile.setAttribute("aria-label", `filter ${filter}, ${made.status}`);
  }

  counted() {
    const drawn = this.tiles.length - this.missing.length;
    this.count.textContent = drawn < this.tiles.length ? `${drawn} of ${this.tiles.length} drawn` : "";
  }
}
