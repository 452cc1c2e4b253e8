// Chapter 6: one change of the recipe at a time, from the plain loop to the default, side by side.
import { twoDigits } from "../engine/judge.js";
import { CHANGES } from "../engine/plain.js";
import { highFrequencies } from "../engine/waves.js";
import { button, canvas, element, numberField } from "./parts.js";
import { Subject } from "./subject.js";

const WHAT = {
  pixels: "the plain loop of chapter 4",
  "even waves": "waves in the place of pixels, all equally strong",
  waves: "slow waves are stronger, as in nature",
  "natural colours": "brightness varies most, colours less",
  transformations: "at each step a little shifted, turned and scaled",
  clear: "the default: Adam, bounded contrast, the best picture kept",
};

export class Changes {
  constructor(root, page) {
    const { engine, query } = page;
    Object.assign(this, { engine });
    this.subject = new Subject(page, () => this.begin());
    this.seed = numberField("seed", { min: 0, max: 2 ** 32 - 1, value: query.get("seed") ?? 0 }, () => this.begin());
    const dice = button("Dice", () => this.throwDice(), { title: "another seed: another start" });
    const row = element("div", { className: "row" }, this.seed, dice);
    this.tiles = Object.keys(CHANGES).map((name, place) => this.tile(name, place));
    this.status = element("p", { className: "left", role: "status" });
    root.append(
      element("div", { className: "controls" }, ...this.subject.controls, row),
      element("div", { className: "changes" }, ...this.tiles),
      this.status,
    );
    this.begin();
  }

  tile(name, place) {
    const picture = canvas(`${name}: no picture yet`);
    const facts = element("span", { className: "left" }, "waiting");
    const title = element("strong", {}, `${place ? "+ " : ""}${name}`);
    const caption = element("figcaption", {}, title, element("span", {}, WHAT[name]), facts);
    return Object.assign(element("figure", {}, picture, caption), { name, picture, facts });
  }

  throwDice() {
    this.seed.control.value = Math.floor(1000 * Math.random());
    this.begin();
  }

  begin() {
    for (const tile of this.tiles) tile.facts.textContent = "waiting";
    this.draw(0);
  }

  /** Draws one tile after the other, each by its recipe. */
  draw(place) {
    const tile = this.tiles[place];
    const { layer, filter } = this.subject.value;
    const drawing = `drawing ${place + 1} of ${this.tiles.length}`;
    this.status.textContent = tile ? drawing : `${layer} filter ${filter}, all six`;
    if (!tile) return;
    const { steps, step_size } = CHANGES[tile.name];
    const wanted = { ...this.subject.value, recipe: tile.name, steps, step_size, size: 128 };
    const order = { kind: "climb", ...wanted, seed: Number(this.seed.control.value), filters: [filter], looks: true };
    this.engine.order(order, (message) => {
      if (message.error) this.status.textContent = message.error;
      if (!message.picture) return;
      tile.picture.show(message.picture, message.size, `${layer} filter ${filter} by ${tile.name}`);
      tile.facts.textContent = `step ${message.step} of ${steps}`;
      if (!message.done) return;
      const share = twoDigits(100 * highFrequencies(message.picture, message.size));
      tile.facts.textContent = `activation ${twoDigits(message.activation)}, ${share} % high frequencies`;
      this.draw(place + 1);
    });
  }
}
