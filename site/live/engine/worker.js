// The web worker that climbs, so that the page never waits. One order at a time: a new one drops the old at once.
import { judge } from "./judge.js";
import { Network } from "./network.js";
import { CHANGES, RECIPES } from "./plain.js";

const LOOK = 40; // milliseconds from one look at a climb to the next
const ALL = { ...CHANGES, ...RECIPES };
const networks = new Map();
let begun = null; // {weights, networks}: where the weights are, and networks.json
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
  if (!networks.has(network)) {
    networks.set(network, Network.load(begun.weights, network, begun.networks[network].widths));
  }
  const found = await networks.get(network);
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
  const start = (ALL[order.recipe].start ?? RECIPES.clear.start)(order);
  const began = performance.now();
  const climb = ALL[order.recipe].begin(subject, order);
  const history = [];
  let [looked, picture] = [0, start];
  const message = (more) => {
    const seconds = (performance.now() - began) / 1000;
    post({ filter: subject.filter, picture, size, history: [...history], seconds, ...more });
  };
  if (order.looks) message({ start, step: 0 });
  while (history.length < steps && !(stopping && history.length)) {
    await pause();
    if (dropped()) return;
    history.push(climb.step());
    const now = performance.now();
    if (order.looks === "all" || (order.looks && now - looked > LOOK)) {
      looked = now;
      picture = climb.picture();
      message({ step: history.length, ...(order.looks === "all" && measured(subject, picture, size)) });
    }
  }
  picture = climb.picture();
  message({ start, step: history.length, done: true, ...judge(subject, picture, size, start, history) });
}

const measured = ({ network, layer, filter }, picture, size) => ({
  activation: network.activations(picture, size, layer)[filter],
});

/** What all filters answer to each of `order.images`, and the maps (side, side) of the first. */
async function answer({ images, size, layer, network: name }, post, dropped) {
  const network = await networkFor({ network: name, layer });
  if (dropped()) return;
  const answers = images.map((image) => network.activations(image, size, layer));
  post({ answers, ...network.maps(images[0], size, layer) });
}

const WORK = { climb, answer };

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
