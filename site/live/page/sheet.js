// All filters of a layer as small pictures to choose from, drawn one after the other while one waits.
import { RECIPES } from "../engine/plain.js";
import { button, canvas, choice, element } from "./parts.js";
import { Subject, inWords } from "./subject.js";

/** How small pictures are made. */
export const small = (recipe) => ({ recipe, steps: 30, size: 64, seed: 0, step_size: RECIPES[recipe].step_size });

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
  begin({ network, layer }, count, recipe = "clear") {
    this.subject = { network, layer, ...small(recipe) };
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
    return JSON.stringify([this.subject, filter]);
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

  /** Another order takes the place of the drawing. */
  rest() {
    Object.assign(this, { idle: false, filling: false });
  }

  draw() {
    if (this.filling && !(this.visible && this.box.open)) {
      this.engine.drop();
      Object.assign(this, { filling: false, idle: true });
    }
    const missing = this.missing;
    if (!this.idle || !this.visible || !this.box.open || !missing.length) return;
    Object.assign(this, { idle: false, filling: true });
    this.engine.order({ kind: "climb", ...this.subject, filters: missing }, (message) => {
      if (message.finished) this.filling = false;
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

/** Chapter 5: the sheet of a layer by one recipe or the other; the filter that is clicked stands above it, larger. */
export class SheetView {
  constructor(root, page) {
    const { engine, query } = page;
    Object.assign(this, { engine });
    this.subject = new Subject(page, (what) => this.changed(what));
    const recipes = Object.keys(RECIPES).map((name) => [name, name]);
    this.recipe = choice("recipe", recipes, query.get("recipe") ?? "clear", () => this.changed("layer"));
    this.picture = canvas("no picture yet");
    this.facts = element("p", { className: "facts", role: "status" });
    this.sheet = new Sheet(engine, (filter) => this.choose(filter));
    const controls = element("div", { className: "controls" }, ...this.subject.controls, this.recipe, this.facts);
    const pictures = element("div", { className: "pictures" }, this.picture);
    root.append(element("div", { className: "columns" }, pictures, controls), this.sheet.box);
    this.changed("layer");
  }

  choose(filter) {
    this.subject.filter.set(filter);
    this.changed("filter");
  }

  changed(what) {
    const recipe = this.recipe.control.value;
    const { layer, filter } = this.subject.value;
    if (what === "layer") this.sheet.begin(this.subject.value, this.subject.count, recipe);
    this.sheet.mark(filter);
    const { steps, step_size } = RECIPES[recipe];
    const wanted = { ...this.subject.value, recipe, steps, step_size, size: 128, seed: 0 };
    this.sheet.rest();
    this.engine.order({ kind: "climb", ...wanted, filters: [filter], looks: true }, (message) => {
      if (message.error) this.facts.textContent = message.error;
      if (!message.picture) return;
      this.picture.show(message.picture, message.size, `${layer} filter ${filter}`);
      this.facts.textContent = message.done ? inWords(wanted, message) : `${layer} filter ${filter}`;
      if (message.done) this.sheet.fill();
    });
  }
}
