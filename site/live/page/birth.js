// Chapter 12: a slider over the training of a small network; its kernels and what its filters respond to.
import { LAYERS, fromHalf } from "../engine/network.js";
import { RECIPES } from "../engine/plain.js";
import { canvas, choice, element, slider } from "./parts.js";

const COUNT = 8; // filters

export class Birth {
  constructor(root, { engine, networks, query, weights }) {
    Object.assign(this, { engine, weights, pictures: new Map() });
    this.stages = Object.entries(networks)
      .filter(([, { step }]) => step !== undefined)
      .map(([name, about]) => ({ name, ...about }))
      .sort((one, other) => one.step - other.step);
    const at = this.stages.findIndex(({ step }) => step === Number(query.get("step") ?? 800));
    const text = (place) => String(this.stages[place].step);
    const options = { max: this.stages.length - 1, value: at < 0 ? this.stages.length - 1 : at, text };
    this.step = slider("step", options, () => this.show());
    const layers = LAYERS.map((layer) => [layer, layer]);
    this.layer = choice("layer", layers, query.get("layer") ?? LAYERS.at(-1), () => this.show());
    this.title = element("p", { className: "facts", role: "status" });
    this.kernels = Array.from({ length: COUNT }, (_, number) => canvas(`kernel ${number}`, "kernel"));
    this.filters = Array.from({ length: COUNT }, (_, number) => canvas(`filter ${number}`, "small"));
    this.labels = this.filters.map((_, number) => element("figcaption", {}, String(number)));
    const tiles = this.filters.map((tile, number) => element("figure", {}, tile, this.labels[number]));
    root.append(
      element("div", { className: "controls" }, this.step, this.layer),
      this.title,
      element("p", { className: "hint" }, `The first ${COUNT} kernels of block1_conv1`),
      element("div", { className: "eight" }, ...this.kernels),
      element("p", { className: "hint" }, `What the first ${COUNT} filters of the layer respond to`),
      element("div", { className: "eight" }, ...tiles),
    );
    this.show();
  }

  get stage() {
    return this.stages[this.step.control.value];
  }

  key(stage, filter) {
    return `${stage.name} ${this.layer.control.value} ${filter}`;
  }

  async show() {
    const { stage } = this;
    const right = Math.round(100 * stage.accuracy);
    this.title.textContent = `after ${stage.step} steps of training, ${right} % of answers right`;
    this.filters.forEach((_, filter) => this.showFilter(stage, filter));
    this.draw();
    const kernels = await this.kernelsOf(stage);
    if (stage === this.stage) kernels.forEach((kernel, number) => this.kernels[number].show(kernel, 3));
  }

  /** The kernels of the first layer as pictures (3, 3, 3); grey is 0. */
  async kernelsOf(stage) {
    stage.block ??= fetch(new URL(`${stage.name}/block1.bin`, this.weights)).then((answer) => answer.arrayBuffer());
    const numbers = fromHalf(new Uint16Array(await stage.block));
    const filters = stage.widths[0];
    return this.kernels.map((_, filter) => {
      const own = Float32Array.from({ length: 27 }, (_, i) => numbers[i * filters + filter]);
      const most = own.reduce((largest, value) => Math.max(largest, Math.abs(value)), 0);
      return Uint8ClampedArray.from(own, (value) => Math.floor(127.5 + (127.5 * value) / most));
    });
  }

  showFilter(stage, filter) {
    const made = this.pictures.get(this.key(stage, filter));
    const [tile, label] = [this.filters[filter], this.labels[filter]];
    tile.classList.toggle("waiting", !made);
    label.textContent = made?.status === "dead" ? `${filter} dead` : filter;
    if (!made) return;
    const text = `filter ${filter} after ${stage.step} steps, ${made.status}`;
    tile.show(made.picture, made.size, text);
  }

  /** Draws what is missing of this moment, then of the others, the next ones first. */
  draw() {
    const here = this.stages.indexOf(this.stage);
    const near = [...this.stages].sort((a, b) => this.distance(a, here) - this.distance(b, here));
    const missing = (stage) => this.filters.map((_, f) => f).filter((f) => !this.pictures.has(this.key(stage, f)));
    const stage = near.find((each) => missing(each).length);
    if (!stage) return;
    const { steps, step_size } = RECIPES.clear;
    const recipe = { recipe: "clear", steps, step_size, size: 64, seed: 0 };
    const subject = { network: stage.name, layer: this.layer.control.value, filters: missing(stage) };
    this.engine.order({ kind: "climb", ...subject, ...recipe }, (message) => {
      if (message.error) this.title.textContent = message.error;
      if (message.finished) this.draw();
      if (!message.done) return;
      this.pictures.set(this.key(stage, message.filter), message);
      if (stage === this.stage) this.showFilter(stage, message.filter);
    });
  }

  distance(stage, here) {
    return Math.abs(this.stages.indexOf(stage) - here);
  }
}
