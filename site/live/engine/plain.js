// The plain loop of chapter 4, on pixels, and the recipes of chapter 6 that lie between it and "clear":
// one change at a time. All of them take steps along the normalised gradient.
import { Random } from "./random.js";
import { Clear, STEPS, STEP_SIZE, deviation, randomTransformations, rootMeanSquare, transformed } from "./recipe.js";
import {
  COLOURS,
  Waves,
  randomSpectrum,
  sigmoid,
  toLogits,
  toLogitsBack,
  toPicture,
  waveSizes,
} from "./waves.js";

const RGB = [
  [1, 0, 0],
  [0, 1, 0],
  [0, 0, 1],
];
const CONTRAST = 32; // grey levels, of the noise that the pixels begin with

/** Mid grey plus even noise, (size, size, 3): the same as in Python for a seed. */
export function randomImage(size, seed) {
  const random = new Random(seed);
  return Float32Array.from({ length: 3 * size * size }, () => 127.5 + random.uniform(-CONTRAST, CONTRAST));
}

/** The picture of an image that gradient ascent has pulled out of the range of a screen: mean 127.5, deviation 64. */
export function deprocess(image, contrast = 64) {
  const mean = image.reduce((sum, value) => sum + value, 0) / image.length;
  const scale = contrast / Math.max(deviation(image), 1e-6);
  return Uint8ClampedArray.from(image, (value) => 127.5 + (value - mean) * scale); // it rounds and clips
}

/** Gradient ascent on the pixels, as chapter 4 has it. */
export class Plain {
  constructor(subject, { size, seed, step_size }) {
    Object.assign(this, { subject, size, step_size });
    this.image = randomImage(size, seed);
    this.gradient = new Float32Array(this.image.length);
  }

  /** One step along the normalised gradient: the activation before it. */
  step() {
    const { subject, size, image, gradient, step_size } = this;
    const activation = subject.network.objective(image, size, subject.layer, subject.filter, gradient);
    const length = rootMeanSquare(gradient) || Infinity;
    for (let i = 0; i < image.length; i++) image[i] += (step_size * gradient[i]) / length;
    return activation;
  }

  picture() {
    return deprocess(this.image);
  }

  static startPicture({ size, seed }) {
    return deprocess(randomImage(size, seed));
  }
}

/** Gradient ascent on waves, as chapter 6 has it: how strong they are, their colours, and transformations. */
class OnWaves {
  constructor(subject, { size, seed, steps, step_size }, { strengths, colours, most }) {
    Object.assign(this, { subject, size, step_size, colours, done: 0 });
    this.waves = new Waves(size, strengths(size));
    this.spectrum = randomSpectrum(size, seed);
    this.gradient = new Float32Array(this.spectrum.length);
    this.moves = most && randomTransformations(steps, size, seed, 0, most);
    this.planes = new Float32Array(3 * size * size);
    for (const name of ["brightness", "seen", "moved"]) this[name] = new Float32Array(3 * size * size);
  }

  step() {
    const { subject, size, brightness, seen, moved, spectrum, gradient } = this;
    const move = this.moves?.[this.done++];
    toLogits(this.waves.toPlanes(spectrum, this.planes), this.colours, brightness);
    for (let i = 0; i < seen.length; i++) seen[i] = 255 * (brightness[i] = sigmoid(brightness[i]));
    if (move) seen.set(transformed(seen, size, move.transform, moved));
    const activation = subject.network.objective(seen, size, subject.layer, subject.filter, moved);
    if (move) moved.set(transformed(moved, size, move.inverse, seen));
    for (let i = 0; i < moved.length; i++) moved[i] *= brightness[i] * (1 - brightness[i]);
    toLogitsBack(moved, this.colours, this.planes);
    this.waves.toPlanesBack(this.planes, gradient);
    const length = rootMeanSquare(gradient) || Infinity;
    for (let i = 0; i < spectrum.length; i++) spectrum[i] += (this.step_size * gradient[i]) / length;
    return activation;
  }

  picture() {
    return deprocess(toPicture(this.spectrum, this.waves, this.colours));
  }
}

const evenly = (size) => waveSizes(size).map(() => 10 * size); // those of ten pixels as in nature

const onWaves = (options) => (subject, recipe) => new OnWaves(subject, recipe, options);

/** The recipes by name: how many steps of what size, and what begins a climb. */
export const RECIPES = {
  clear: { steps: STEPS, step_size: STEP_SIZE, begin: (...all) => new Clear(...all), start: Clear.startPicture },
  plain: { steps: 40, step_size: 4, begin: (...all) => new Plain(...all), start: Plain.startPicture },
};

/** From the plain loop to "clear", one change at a time, as in chapter 6. */
export const CHANGES = {
  pixels: { steps: 64, step_size: 4, begin: RECIPES.plain.begin },
  "even waves": { steps: 64, step_size: 0.01, begin: onWaves({ strengths: evenly, colours: RGB }) },
  waves: { steps: 64, step_size: 0.01, begin: onWaves({ strengths: waveSizes, colours: RGB }) },
  "natural colours": { steps: 64, step_size: 0.01, begin: onWaves({ strengths: waveSizes, colours: COLOURS }) },
  transformations: {
    steps: 64,
    step_size: 0.01,
    begin: onWaves({ strengths: waveSizes, colours: COLOURS, most: { shift: 8, turn: 10, scale: 0.1 } }),
  },
  clear: RECIPES.clear,
};
