// The web worker that climbs, so that the page never waits. One order at a time: a new one drops the old at once.
import { judge } from "./judge.js";
import { Network, bytesOf } from "./network.js";
import { CHANGES, RECIPES } from "./plain.js";

const LOOK = 40; // milliseconds from one look at a climb to the next
const ALL = { ...CHANGES, ...RECIPES };
const networks = new Map();
let begun = null; // {weights, networks}: where the weights are, and networks.json
let code = null; // net.wasm
let latest = 0; // number of the newest order
let stopping = false;

// setTimeout would wait for 4 milliseconds or more.
const channel = new MessageChannel();
let wake = null;
channel.port1.onmessage = () => wake();
const pause = () =>
  new Promise((resolve) => {
    wake?.(); // of an order that is dropped by now
    wake = resolve;
    channel.port2.postMessage(null);
  });

async function networkFor({ network, layer }) {
  code ??= await bytesOf(new URL("net.wasm", import.meta.url));
  if (!networks.has(network)) {
    const { instance } = await WebAssembly.instantiate(code);
    const folder = new URL(`${network}/`, begun.weights);
    networks.set(network, new Network(instance.exports, folder, begun.networks[network].widths));
  }
  const found = networks.get(network);
  await found.need(layer);
  return found;
}

/** Climbs for each of `filters`; every look at it and every finished picture is posted. */
async function climb(order, post, dropped) {
  const network = await networkFor(order);
  for (const filter of order.filters) {
    if (dropped()) return;
    await climbOne(order, { network, layer: order.layer, filter }, post, dropped);
  }
}

async function climbOne(order, subject, post, dropped) {
  const { size, steps } = order;
  const { network, layer, filter } = subject;
  const start = (ALL[order.recipe].start ?? RECIPES.clear.start)(order);
  const began = performance.now();
  const climb = ALL[order.recipe].begin(subject, order);
  const history = [];
  let [looked, picture] = [0, start];
  const message = (more) => {
    const seconds = (performance.now() - began) / 1000;
    post({ filter, picture, size, history: [...history], seconds, ...more });
  };
  const measured = () => ({ activation: network.activations(picture, size, layer)[filter] });
  if (order.looks) message({ start, step: 0, ...measured() });
  while (history.length < steps && !(stopping && history.length)) {
    await pause();
    if (dropped()) return;
    history.push(climb.step());
    const now = performance.now();
    if (order.looks === "all" || (order.looks && now - looked > LOOK)) {
      looked = now;
      picture = climb.picture();
      message({ step: history.length, ...(order.looks === "all" && measured()) });
    }
  }
  picture = climb.picture();
  message({ start, step: history.length, done: true, ...judge(subject, picture, size, start, history) });
}

/** What all filters answer to each of `order.images`, and their maps (side, side) for the first. */
async function answer({ images: [first, ...others], size, layer, network: name }, post, dropped) {
  const network = await networkFor({ network: name, layer });
  if (dropped()) return;
  const { side, maps, activations } = network.answers(first, size, layer);
  const answers = [activations, ...others.map((image) => network.activations(image, size, layer))];
  post({ answers, side, maps });
}

const WORK = { climb, answer, drop: () => {} };

onmessage = async ({ data: order }) => {
  if (order.kind === "begin") begun = order;
  else if (order.kind === "stop") stopping = true;
  else {
    latest = order.id;
    stopping = false;
    const dropped = () => latest !== order.id;
    const post = (message) => dropped() || postMessage({ id: order.id, ...message });
    try {
      await WORK[order.kind](order, post, dropped);
      post({ finished: true });
    } catch (error) {
      post({ error: error.message });
    }
  }
};
