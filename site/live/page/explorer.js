// Begins the view that the address asks for: ?view=explorer&network=pocketvgg&layer=block4_conv2&filter=3
import { Birth } from "./birth.js";
import { Changes } from "./changes.js";
import { Explorer } from "./climbing.js";
import { Draw } from "./draw.js";
import { Iterations } from "./iterations.js";
import { Engine } from "./parts.js";
import { SheetView } from "./sheet.js";

const VIEWS = {
  explorer: Explorer,
  iterations: Iterations,
  sheet: SheetView,
  changes: Changes,
  birth: Birth,
  draw: Draw,
};

// What a view begins with if the address does not say it: what the chapter looks at.
const BEGUN_WITH = {
  iterations: { layer: "block3_conv2", filter: 16 },
  sheet: { layer: "block3_conv3" },
  changes: { layer: "block4_conv2", filter: 5 },
  draw: { layer: "block4_conv3" },
};

// A module with one instruction of SIMD, to see whether the browser takes it.
const SIMD = Uint8Array.of(
  ...[0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11],
);

const query = new URLSearchParams(location.search);
for (const [key, value] of Object.entries(BEGUN_WITH[query.get("view")] ?? {})) {
  if (!query.has(key)) query.set(key, value);
}
const root = document.querySelector("main");

/** The page around an embedded one makes it as high as it is. */
function tellHeight() {
  const tell = () => parent.postMessage({ liveHeight: Math.ceil(root.getBoundingClientRect().bottom) + 8 }, "*");
  if (parent !== window) new ResizeObserver(tell).observe(root);
}

/** What stands here where the browser cannot compute. */
function showStill() {
  const sentence = document.createElement("p");
  sentence.textContent = "This browser has no WebAssembly with SIMD, so the network cannot run here; a still picture.";
  const still = query.get("still");
  const picture = document.createElement("img");
  if (still && new URL(still, location).origin === location.origin) picture.src = still;
  picture.alt = "a still picture of what would move here";
  root.replaceChildren(sentence, ...(picture.src ? [picture] : []));
}

const onScreen = (element) =>
  new Promise((resolve) => {
    new IntersectionObserver(([entry], observer) => {
      if (!entry.isIntersecting) return;
      observer.disconnect();
      resolve();
    }).observe(element);
  });

async function begin() {
  if (["dark", "light"].includes(query.get("theme"))) document.documentElement.dataset.theme = query.get("theme");
  tellHeight();
  if (!WebAssembly.validate(SIMD)) return showStill();
  await onScreen(root);
  const weights = new URL("../weights/", import.meta.url);
  const answer = await fetch(new URL("networks.json", weights));
  if (!answer.ok) throw new Error(`the networks cannot be fetched: ${answer.status}`);
  const networks = await answer.json();
  const engine = new Engine(weights, networks);
  root.replaceChildren();
  new (VIEWS[query.get("view")] ?? Explorer)(root, { query, networks, engine, weights });
}

begin().catch((error) => root.replaceChildren(`The explorer could not begin: ${error.message}`));
