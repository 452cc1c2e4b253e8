// What the views are made of: elements, controls with labels, pictures, the curve, the link to the worker.

/** An element with properties (those with a dash are attributes) and children. */
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [key, value] of Object.entries(properties)) {
    if (key.includes("-") || key === "role" || key === "for") made.setAttribute(key, value);
    else made[key] = value;
  }
  made.append(...children.flat().filter((child) => child !== null));
  return made;
}

let numbered = 0;
const nextId = () => `control-${++numbered}`;

/** A control under its label. */
function labelled(label, control, ...more) {
  control.id = nextId();
  const box = element("div", { className: "control" }, element("label", { for: control.id }, label), control, ...more);
  return Object.assign(box, { control });
}

/** Options are [value, text] pairs. */
export function choice(label, options, value, changed) {
  const control = element("select", { onchange: () => changed() });
  const box = labelled(label, control);
  box.offer = (pairs, chosen) => {
    control.replaceChildren(...pairs.map(([value, text]) => element("option", { value, textContent: text })));
    control.value = chosen;
    if (control.selectedIndex < 0) control.selectedIndex = 0;
  };
  box.offer(options, value);
  return box;
}

/** A slider with its number beside it; `text` says how the number is written. */
export function slider(label, { min = 0, max, step = 1, value, text = String }, changed) {
  const control = element("input", { type: "range", min, max, step, value });
  const output = element("output", { for: "" });
  const box = labelled(label, control, output);
  box.show = () => {
    output.textContent = text(Number(control.value));
    control.setAttribute("aria-valuetext", output.textContent);
  };
  box.set = (value, max = control.max) => {
    Object.assign(control, { max });
    control.value = value;
    box.show();
  };
  control.oninput = () => {
    box.show();
    changed();
  };
  box.show();
  return box;
}

export function numberField(label, { min, max, value }, changed) {
  const control = element("input", { type: "number", min, max, value, required: true });
  const fit = () => {
    if (!control.validity.valid) control.value = Math.min(max, Math.max(min, Math.trunc(control.value) || min));
  };
  control.onchange = () => {
    fit();
    changed();
  };
  fit();
  return labelled(label, control);
}

export const button = (text, pressed, properties = {}) =>
  element("button", { type: "button", textContent: text, onclick: pressed, ...properties });

/** A canvas that shows pictures (size, size, 3); `label` is its text for those who do not see it. */
export function canvas(label, className = "picture") {
  const made = element("canvas", { className, role: "img", "aria-label": label, width: 1, height: 1 });
  const context = made.getContext("2d");
  made.show = (picture, size, text) => {
    if (made.width !== size) made.width = made.height = size;
    const image = context.createImageData(size, size);
    for (let place = 0; place < size * size; place++) {
      image.data.set(picture.subarray(3 * place, 3 * place + 3), 4 * place);
      image.data[4 * place + 3] = 255;
    }
    context.putImageData(image, 0, 0);
    if (text) made.setAttribute("aria-label", text);
  };
  return made;
}

/** The curve of a climb, as in the notebooks. */
export function curve() {
  const [width, height, left, bottom] = [320, 110, 44, 18];
  const floor = height - bottom;
  const box = element("div", { className: "curve" });
  box.show = (history, steps, digits, marked = null) => {
    const [low, high] = [Math.min(0, ...history), Math.max(0, ...history)];
    const across = (step) => (left + (step / steps) * (width - left - 4)).toFixed(1);
    const points = history.map((value, step) => {
      const share = high > low ? (value - low) / (high - low) : 0;
      return `${across(step + 1)},${(floor - share * (floor - 8)).toFixed(1)}`;
    });
    const label = history.length
      ? `activation ${digits(history.at(-1))} after ${history.length} steps`
      : "no activation yet";
    box.innerHTML =
      `<svg viewBox="0 0 ${width} ${height}" role="img" font-size="11" fill="currentColor" aria-label="${label}">` +
      `<path d="M${left},8V${floor}H${width - 4}" fill="none" stroke="currentColor" opacity=".5"/>` +
      `<polyline points="${points.join(" ")}" fill="none" stroke="var(--accent)" stroke-width="2"/>` +
      (marked === null ? "" : `<path d="M${across(marked)},4V${floor}" stroke="currentColor"/>`) +
      (history.length ? `<text x="${left - 4}" y="14" text-anchor="end">${digits(high)}</text>` : "") +
      `<text x="${left - 4}" y="${floor}" text-anchor="end">${digits(low)}</text>` +
      `<text x="${left}" y="${height - 4}">activation by step</text>` +
      `<text x="${width - 4}" y="${height - 4}" text-anchor="end">${steps}</text></svg>`;
  };
  return box;
}

/** The worker, as a page sees it: one order at a time, what belongs to a dropped one is not heard. */
export class Engine {
  constructor(weights, networks) {
    this.worker = new Worker(new URL("../engine/worker.js", import.meta.url), { type: "module" });
    this.worker.postMessage({ kind: "begin", weights: String(weights), networks });
    this.worker.onmessage = ({ data }) => data.id === this.id && this.heard(data);
    this.worker.onerror = ({ message }) => this.heard({ error: `the worker failed: ${message}` });
    this.id = 0;
  }

  /** Gives an order, in the place of the one at work; `heard` is called with each message. */
  order(order, heard) {
    this.heard = heard;
    this.worker.postMessage({ id: ++this.id, ...order });
  }

  /** Ends a climb where it is: its picture so far comes as if it were finished. */
  stop() {
    this.worker.postMessage({ kind: "stop" });
  }

  /** Ends what is at work; nothing more is heard of it. */
  drop() {
    this.worker.postMessage({ kind: "drop", id: ++this.id });
  }
}
