// The explorer: network, layer, filter, iterations and seed beside a picture that grows.
import { twoDigits } from "../engine/judge.js";
import { RECIPES } from "../engine/plain.js";
import { button, canvas, choice, curve, element, numberField, slider } from "./parts.js";
import { download, png } from "./png.js";
import { Sheet } from "./sheet.js";
import { Subject, inWords } from "./subject.js";

const KEPT = 100; // pictures, to come back at once
export class Explorer {
  constructor(root, page) {
    const { query } = page;
    Object.assign(this, { ...page, kept: new Map(), result: null, running: false });
    this.subject = new Subject(page, (what) => this.changed(what));
    const named = query.get("recipe") === "plain" ? "plain" : "clear";
    const again = () => this.begin();
    this.recipe = choice("recipe", Object.keys(RECIPES).map((name) => [name, name]), named, () => {
      this.iterations.set(RECIPES[this.recipe.control.value].steps);
      this.begin();
    });
    const steps = Number(query.get("steps") ?? RECIPES[named].steps);
    this.iterations = slider("iterations", { min: 1, max: 400, value: steps }, again);
    const sizes = ["64", "128", "256"].map((size) => [size, `${size} pixels`]);
    this.size = choice("image size", sizes, query.get("size") ?? "128", again);
    this.seed = numberField("seed", { min: 0, max: 2 ** 32 - 1, value: query.get("seed") ?? 0 }, again);
    this.dice = button("Dice", () => this.throwDice(), { title: "another seed: another start" });
    this.run = button("Stop", () => this.runOrStop());
    this.save = button("Save PNG", () => this.write().catch((error) => this.tell(error)), {
      title: "with the recipe in it, for helpers.rerun",
    });
    this.picture = canvas("no picture yet");
    this.start = canvas("the start", "start");
    this.curve = curve();
    this.progress = element("progress", { max: 1, value: 0, "aria-label": "steps done" });
    this.left = element("span", { className: "left" });
    this.facts = element("p", { className: "facts", role: "status" });
    this.sheet = new Sheet(this.engine, (filter) => this.choose(filter));
    root.append(this.laidOut(), this.facts, this.sheet.box);
    this.changed("layer");
  }

  laidOut() {
    return element(
      "div",
      { className: "columns" },
      element("div", { className: "pictures" }, this.picture, this.curve),
      element(
        "div",
        { className: "controls" },
        ...[...this.subject.controls, this.iterations, this.size, this.recipe],
        element("div", { className: "row" }, this.seed, this.dice),
        element("div", { className: "row" }, this.run, this.save),
        element("div", { className: "row" }, this.progress, this.left),
        element("div", { className: "row" }, this.start, element("span", {}, "the start, for comparison")),
      ),
    );
  }

  changed(what) {
    if (what === "layer") this.sheet.begin(this.subject.value, this.subject.count);
    this.sheet.mark(this.subject.value.filter);
    this.begin();
  }

  choose(filter) {
    this.subject.filter.set(filter);
    this.changed("filter");
  }

  throwDice() {
    this.seed.control.value = Math.floor(1000 * Math.random());
    this.begin();
  }

  wanted() {
    const recipe = this.recipe.control.value;
    const [steps, size, seed] = [this.iterations, this.size, this.seed].map((each) => Number(each.control.value));
    return { ...this.subject.value, recipe, steps, size, seed, step_size: RECIPES[recipe].step_size };
  }

  runOrStop() {
    if (this.running) this.engine.stop();
    else this.begin(true);
  }

  /** Drops the picture in the making and starts the one that the controls ask for. */
  begin(anew = false) {
    const wanted = this.wanted();
    const known = this.kept.get(JSON.stringify(wanted));
    this.sheet.rest();
    if (known && !anew) {
      this.engine.drop();
      this.finish(wanted, known);
      return;
    }
    this.running = true;
    this.run.textContent = "Stop";
    this.facts.textContent = `${wanted.layer} filter ${wanted.filter}`;
    this.left.textContent = "fetching the network";
    this.engine.order({ kind: "climb", ...wanted, filters: [wanted.filter], looks: true }, (message) => {
      if (message.error) this.fail(message.error);
      else if (message.done) this.finish(wanted, message);
      else if (message.picture) this.show(wanted, message);
    });
  }

  show(wanted, { picture, start, size, history, seconds, step }) {
    this.picture.show(picture, size, `${wanted.layer} filter ${wanted.filter} after ${step} steps`);
    if (start) this.start.show(start, size);
    this.curve.show(history, wanted.steps, twoDigits);
    Object.assign(this.progress, { max: wanted.steps, value: step });
    const ahead = Math.ceil((seconds / step) * (wanted.steps - step));
    this.left.textContent = step ? `${step} of ${wanted.steps}, ${ahead} s left` : "";
  }

  finish(wanted, message) {
    this.show(wanted, message);
    const done = message.history.length;
    if (done === wanted.steps) this.keep(JSON.stringify(wanted), message);
    this.result = { wanted, ...message };
    this.running = false;
    this.run.textContent = "Start over";
    this.left.textContent = done < wanted.steps ? `stopped after ${done} of ${wanted.steps}` : `${done} steps`;
    const dead = message.status === "dead" ? "; helpers.visualize would try other starts" : "";
    this.facts.textContent = `${inWords(wanted, message)}; ${message.seconds.toFixed(1)} s${dead}`;
    if (done === wanted.steps) this.sheet.fill();
  }

  fail(error) {
    this.running = false;
    this.run.textContent = "Start over";
    this.left.textContent = "failed";
    this.facts.textContent = error;
  }

  tell({ message }) {
    this.facts.textContent = `not saved: ${message}`; // a page without https may not compute checksums
  }

  keep(key, message) {
    this.kept.delete(key);
    this.kept.set(key, message);
    if (this.kept.size > KEPT) this.kept.delete(this.kept.keys().next().value);
  }

  /** Saves the picture with its recipe, whose keys are those of filtersight/basics/recipe.py. */
  async write() {
    if (!this.result) return;
    const { wanted, picture, history, activation, status, reason } = this.result;
    const { network, layer, recipe, steps, size, seed, step_size, filter } = wanted;
    const weights = this.networks[network].fingerprints[layer];
    const all = { network, weights, layer, recipe, steps, size, channels: 3, seed, step_size, precision: "float32" };
    const stopped = history.length < steps ? history.length : null;
    const facts = { activation, status, reason, history: history.map((value) => Number(value.toPrecision(6))) };
    const made = { ...all, coarse: true, rescue: false, stop_after: stopped, filter };
    const bytes = await png(picture, size, made, { ...facts, made_in: "the browser" });
    download(bytes, `${network}_${layer}_${filter}_${recipe}_${history.length}steps_${size}px_seed${seed}.png`);
  }
}
