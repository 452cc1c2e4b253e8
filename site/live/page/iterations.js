// Chapter 4: drag the iterations, and see the picture at that step.
import { twoDigits } from "../engine/judge.js";
import { RECIPES } from "../engine/plain.js";
import { button, canvas, choice, curve, element, numberField, slider } from "./parts.js";
import { Subject } from "./subject.js";

const STEPS = { plain: 60, clear: RECIPES.clear.steps };
const STEP_SIZES = [0.25, 0.5, 1, 2, 4, 8, 16, 32, 64]; // grey levels

export class Iterations {
  constructor(root, page) {
    const { engine, query } = page;
    Object.assign(this, { engine, moments: [] });
    const again = () => this.begin();
    this.recipe = query.get("recipe") === "clear" ? "clear" : "plain";
    this.steps = STEPS[this.recipe];
    this.subject = new Subject(page, again);
    this.seed = numberField("seed", { min: 0, max: 2 ** 32 - 1, value: query.get("seed") ?? 0 }, again);
    const dice = button("Dice", () => this.throwDice(), { title: "another seed: another start" });
    const sizes = STEP_SIZES.map((size) => [String(size), size === 1 ? "1 grey level" : `${size} grey levels`]);
    this.stepSize = choice("step size", sizes, query.get("step_size") ?? "4", again);
    this.stepSize.hidden = this.recipe !== "plain";
    this.step = slider("iterations", { min: 0, max: this.steps, value: 0 }, () => this.look());
    this.picture = canvas("no picture yet");
    this.start = canvas("the start", "start");
    this.curve = curve();
    this.facts = element("p", { className: "facts", role: "status" });
    root.append(
      element(
        "div",
        { className: "columns" },
        element("div", { className: "pictures" }, this.picture, this.curve),
        element(
          "div",
          { className: "controls" },
          ...[this.step, ...this.subject.controls, this.stepSize],
          element("div", { className: "row" }, this.seed, dice),
          element("div", { className: "row" }, this.start, element("span", {}, "before the first step")),
          this.facts,
        ),
      ),
    );
    this.begin();
  }

  throwDice() {
    this.seed.control.value = Math.floor(1000 * Math.random());
    this.begin();
  }

  /** One climb, of which every step is kept. Until the slider is moved it follows the newest. */
  begin() {
    const { recipe, steps } = this;
    const step_size = recipe === "plain" ? Number(this.stepSize.control.value) : RECIPES.clear.step_size;
    const seed = Number(this.seed.control.value);
    const wanted = { ...this.subject.value, recipe, steps, step_size, size: 128, seed };
    Object.assign(this, { wanted, moments: [], wished: null, history: [] });
    this.facts.textContent = "fetching the network";
    this.engine.order({ kind: "climb", ...wanted, filters: [wanted.filter], looks: "all" }, (message) => {
      if (message.error) this.facts.textContent = message.error;
      this.facts.setAttribute("aria-busy", String(!message.finished)); // else each step would be read out
      if (!message.picture || message.done) return;
      this.moments[message.step] = message;
      this.history = message.history;
      if (message.start) this.start.show(message.start, message.size);
      if (this.wished === null) this.step.set(message.step);
      this.show(this.wished ?? message.step);
    });
  }

  look() {
    this.wished = Number(this.step.control.value);
    this.show(this.wished);
  }

  show(step) {
    const moment = this.moments[step];
    const [{ layer, filter }, last] = [this.wanted, this.moments.length - 1];
    const name = `${layer} filter ${filter}`;
    if (!moment) {
      this.facts.textContent = `${name}: step ${step} is not reached yet, ${last} of ${this.steps} are done`;
      return;
    }
    this.picture.show(moment.picture, moment.size, `${name} after ${step} steps`);
    this.curve.show(this.history, this.steps, twoDigits, step);
    this.facts.textContent = `${name} after ${step} steps: activation ${twoDigits(moment.activation)} on the picture`;
  }
}
