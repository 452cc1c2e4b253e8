// The course's default recipe, "clear": gradient ascent on the waves that an image is a sum of. Names and
// numbers are those of filtersight/ascent/clear.py, climb.py and recipe.py.
import { receptiveField } from "./network.js";
import { Random } from "./random.js";
import {
  COLOURS,
  SHAPE,
  TEXTURE,
  Waves,
  fourTiles,
  randomSpectrum,
  sigmoid,
  spectralBoost,
  toLogits,
  toLogitsBack,
  toPicture,
  waveSizes,
} from "./waves.js";

export const STEPS = 50;
export const STEP_SIZE = 0.08;
export const MOVES = { shift: 4, turn: 5, scale: 0.05 }; // pixels, degrees, share: the most that an image is moved
const LEAK = 0.1; // share of the gradient that gets through where the layer's ReLU is silent
const CONTRAST = 1.5; // highest standard deviation of an image before the sigmoid
const EPSILON = 0.1; // waves whose gradient is a tenth of the usual move half as far
const SETTLE = 0.5; // the last share of the steps, in which they become smaller and smaller
const COARSE_SHARE = 0.75; // of the steps are done on the tile
const SMALLEST_TILE = 32; // pixels

/**
 * How the image is moved before each step, and how to move a gradient back: {roll: [down, right], transform,
 * inverse}. Transforms are [a, -b, right, b, a, down]: where in the old image a pixel of the new one comes from.
 */
export function randomTransformations(steps, size, seed, roll, most = MOVES) {
  const random = new Random(seed);
  const middle = (size - 1) / 2;
  return Array.from({ length: steps }, () => {
    const chance = Array.from({ length: 6 }, () => random.uniform(-1, 1));
    const angle = (chance[0] * most.turn * Math.PI) / 180;
    const scale = 1 + chance[1] * most.scale;
    const [a, b] = [scale * Math.cos(angle), scale * Math.sin(angle)];
    const right = middle - a * middle + b * middle + chance[2] * most.shift;
    const down = middle - b * middle - a * middle + chance[3] * most.shift;
    const [c, d] = [a / (a * a + b * b), b / (a * a + b * b)];
    return {
      roll: chance.slice(4).map((each) => Math.trunc(each * roll)),
      transform: [a, -b, right, b, a, down],
      inverse: [c, d, -c * right - d * down, -d, c, d * right - c * down],
    };
  });
}

/** What lies beyond the border comes in again at the other side, nearly as in TensorFlow's "WRAP". */
function wrapped(coordinate, size) {
  const last = size - 1;
  if (coordinate < 0) coordinate += size * (Math.trunc(-coordinate / last) + 1);
  else if (coordinate > last) coordinate -= size * Math.trunc(coordinate / last);
  return Math.min(last, Math.max(0, coordinate));
}

/** The image (size, size, 3) shifted, turned and scaled by a transform, interpolated between pixels. */
export function transformed(image, size, [a, b, right, c, d, down], result) {
  for (let y = 0; y < size; y++)
    for (let x = 0; x < size; x++) {
      const fromX = wrapped(a * x + b * y + right, size);
      const fromY = wrapped(c * x + d * y + down, size);
      const [left, top] = [Math.floor(fromX), Math.floor(fromY)];
      const [shareX, shareY] = [fromX - left, fromY - top];
      const upper = 3 * (top * size + left);
      const lower = top + 1 < size ? upper + 3 * size : upper;
      const next = left + 1 < size ? 3 : 0;
      for (let channel = 0; channel < 3; channel++) {
        const above = image[upper + channel] * (1 - shareX) + image[upper + next + channel] * shareX;
        const below = image[lower + channel] * (1 - shareX) + image[lower + next + channel] * shareX;
        result[3 * (y * size + x) + channel] = above * (1 - shareY) + below * shareY;
      }
    }
  return result;
}

/** The image moved by whole pixels: what leaves comes in again. */
export function rolled(image, size, [down, right], result) {
  for (let y = 0; y < size; y++)
    for (let x = 0; x < size; x++) {
      const to = 3 * (((y + down + size) % size) * size + ((x + right + size) % size));
      const from = 3 * (y * size + x);
      for (let channel = 0; channel < 3; channel++) result[to + channel] = image[from + channel];
    }
  return result;
}

/** How large each of so many steps is: 1, and less and less in the end. */
export const rateSchedule = (steps) =>
  Array.from({ length: steps }, (_, step) => Math.min(1, (steps - step) / Math.max(1, SETTLE * steps)));

export function deviation(values) {
  let [sum, squares] = [0, 0];
  for (const value of values) sum += value;
  const mean = sum / values.length;
  for (const value of values) squares += (value - mean) ** 2;
  return Math.sqrt(squares / values.length);
}

/** Where a climb on images of one size has come to; spectra are divided by the boost of the slow waves. */
export class Ascent {
  constructor({ network, layer, filter }, size, start, { slope, steps, seed, roll = 0 }) {
    const [natural, boost] = [waveSizes(size), spectralBoost(size, slope)];
    Object.assign(this, { network, layer, filter, size });
    this.waves = new Waves(size, natural.map((each, wave) => each * boost[wave]));
    this.spectrum = start.map((value, i) => value / boost[(i >> 1) % boost.length]);
    this.mean = new Float32Array(start.length); // Adam's running mean of the gradient
    this.square = new Float32Array(start.length); // and of its square
    this.gradient = new Float32Array(start.length);
    this.best = -Infinity; // highest activation so far
    this.bestSpectrum = this.spectrum.slice(); // where that was
    this.transformations = randomTransformations(steps, size, seed, roll);
    this.done = 0;
    this.planes = new Float32Array(3 * size * size);
    for (const name of ["logits", "brightness", "seen", "moved"]) this[name] = new Float32Array(3 * size * size);
    this.look();
    this.mostContrast = Math.max(CONTRAST, deviation(this.logits));
  }

  look() {
    toLogits(this.waves.toPlanes(this.spectrum, this.planes), COLOURS, this.logits);
  }

  /** One step of Adam (Kingma and Ba 2014): the activation before it. */
  step(rate) {
    const { size, logits, brightness, seen, moved } = this;
    const move = this.transformations[this.done];
    // What the network sees: the image, moved.
    this.look();
    for (let i = 0; i < logits.length; i++) seen[i] = 255 * (brightness[i] = sigmoid(logits[i]));
    transformed(rolled(seen, size, move.roll, moved), size, move.transform, seen);
    const activation = this.network.objective(seen, size, this.layer, this.filter, moved, LEAK);
    // The gradient goes the same way back, to the waves.
    transformed(moved, size, move.inverse, seen);
    rolled(seen, size, move.roll.map((each) => -each), moved);
    for (let i = 0; i < moved.length; i++) moved[i] *= brightness[i] * (1 - brightness[i]);
    toLogitsBack(moved, COLOURS, this.planes);
    this.waves.toPlanesBack(this.planes, this.gradient);
    if (activation >= this.best) {
      this.best = activation;
      this.bestSpectrum.set(this.spectrum);
    }
    this.done += 1;
    this.adam(rate);
    return activation;
  }

  adam(rate) {
    const { spectrum, gradient, mean, square, done } = this;
    // Adam counts on gradients of one size; those of filters differ by orders of magnitude.
    const size = rootMeanSquare(gradient) || Infinity;
    // What has more contrast than it may have is scaled back.
    const scale = Math.min(1, this.mostContrast / deviation(this.logits));
    const [first, second] = [1 - 0.9 ** done, 1 - 0.999 ** done];
    for (let i = 0; i < spectrum.length; i++) {
      const slope = gradient[i] / size;
      mean[i] = 0.9 * mean[i] + 0.1 * slope;
      square[i] = 0.999 * square[i] + 0.001 * slope * slope;
      const direction = mean[i] / first / (Math.sqrt(square[i] / second) + EPSILON);
      spectrum[i] = spectrum[i] * scale + rate * direction;
    }
  }

  picture() {
    return toPicture(this.bestSpectrum, this.waves);
  }
}

export function rootMeanSquare(values) {
  let sum = 0;
  for (const value of values) sum += value * value;
  return Math.sqrt(sum / values.length);
}

/** Four times the same image (size, size, 3), as it is looked at before it is one. */
function repeated(image, size) {
  const result = new Uint8ClampedArray(4 * image.length);
  for (let y = 0; y < 2 * size; y++)
    for (let half = 0; half < 2; half++) {
      const row = image.subarray(3 * (y % size) * size, 3 * ((y % size) + 1) * size);
      result.set(row, 3 * (2 * y + half) * size);
    }
  return result;
}

/** A climb by the recipe "clear", step by step: what `visualize` does for one filter. */
export class Clear {
  /** `subject` is {network, layer, filter}; `recipe` has size (a power of two), steps, seed and step_size. */
  constructor(subject, { size, steps, seed, step_size }) {
    // What sees more than a quarter of the image's side would show the tile four times.
    const texture = receptiveField(subject.layer) <= Math.floor(size / 4);
    this.coarse = texture && size >= 2 * SMALLEST_TILE;
    this.small = this.coarse ? Math.trunc(steps * COARSE_SHARE) : 0; // so many steps on the tile
    Object.assign(this, { subject, size, steps, seed, done: 0, slope: texture ? TEXTURE : SHAPE });
    this.rates = rateSchedule(steps).map((rate) => rate * step_size);
    const side = this.small ? size / 2 : size;
    this.ascent = this.begin(side, randomSpectrum(side, seed), this.small || steps, this.small ? side / 2 : 0);
  }

  begin(size, start, steps, roll) {
    return new Ascent(this.subject, size, start, { slope: this.slope, steps, seed: this.seed, roll });
  }

  /** One step: the activation before it, of the image as it was looked at. */
  step() {
    if (this.small && this.done === this.small) {
      const { bestSpectrum, waves } = this.ascent;
      const start = fourTiles(waves.toPlanes(bestSpectrum), this.size / 2, this.seed);
      this.ascent = this.begin(this.size, start, this.steps - this.small, 0);
    }
    return this.ascent.step(this.rates[this.done++]);
  }

  /** The best image so far, (size, size, 3) from 0 to 255. */
  picture() {
    const picture = this.ascent.picture();
    return this.ascent.size < this.size ? repeated(picture, this.size / 2) : picture;
  }

  /** The image that the climb of `size` pixels begins with, to compare others with. */
  static startPicture({ size, seed }) {
    return toPicture(randomSpectrum(size, seed), new Waves(size));
  }
}
