// What is drawn: the controls for network, layer and filter, and a picture in words.
import { LAYERS } from "../engine/network.js";
import { choice, slider } from "./parts.js";

const NAMES = { pocketvgg: "PocketVGG", pocketvgg_plain: "PocketVGG, trained the usual way" };

/** The controls of what is drawn: network, layer and filter. `changed` is told what was changed. */
export class Subject {
  constructor({ networks, query }, changed) {
    this.networks = networks;
    const offered = Object.keys(NAMES).filter((name) => name in networks);
    this.network = choice("network", offered.map((name) => [name, NAMES[name]]), query.get("network"), () => {
      this.offerLayers();
      changed("layer");
    });
    this.layer = choice("layer", [], null, () => {
      this.limit();
      changed("layer");
    });
    this.filter = slider("filter", { max: 1, value: 0 }, () => changed("filter"));
    this.offerLayers(query.get("layer") ?? "block4_conv2");
    this.filter.set(query.get("filter") ?? 3, this.count - 1);
  }

  offerLayers(chosen = this.layer.control.value) {
    const { widths } = this.networks[this.network.control.value];
    const named = (layer) => `${layer} (${widths[Number(layer[5]) - 1]} filters)`;
    this.layer.offer(LAYERS.map((layer) => [layer, named(layer)]), chosen);
    this.limit();
  }

  limit() {
    this.filter.set(this.filter.control.value, this.count - 1);
  }

  get count() {
    return this.networks[this.value.network].widths[Number(this.value.layer[5]) - 1];
  }

  get value() {
    const [network, layer] = [this.network.control.value, this.layer.control.value];
    return { network, layer, filter: Number(this.filter.control.value) };
  }

  get controls() {
    return [this.network, this.layer, this.filter];
  }
}

/** "alive, activation 0.05, on noise 0.01; clear, 50 steps …": a picture in words, as in the notebooks. */
export function inWords({ network, layer, filter, recipe, steps, size, seed }, { status, reason, history }) {
  const done = history.length < steps ? `${history.length} of ${steps}` : steps;
  const how = `${recipe}, ${done} steps, ${size} px, seed ${seed}, float32`;
  return `${network} ${layer} filter ${filter}: ${status}, ${reason}; ${how}`;
}
