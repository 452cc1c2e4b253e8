// An image as a sum of waves with decorrelated colours (Olah, Mordvintsev and Schubert 2017), as
// filtersight/ascent/waves.py has it. Sides are powers of two here: the Fourier transform wants them so.
//
// A spectrum is (3, size, size / 2 + 1, 2): three planes of waves, real and imaginary part of each.
import { Random } from "./random.js";

// Columns are brightness, blue to yellow, green to purple, as strong as each varies in nature.
const NATURAL = [
  [0.26, 0.09, 0.02],
  [0.27, 0.0, -0.05],
  [0.27, -0.09, 0.03],
];
const LONGEST = Math.hypot(...NATURAL.map((row) => row[0]));
export const COLOURS = NATURAL.map((row) => row.map((value) => value / LONGEST));
const NOISE = 0.05; // standard deviation of the start spectrum
// How strong waves are: as 1 / frequency ** power; slow ones at most `most` times as strong as in nature.
export const TEXTURE = { power: 1.25, most: 1.5 };
export const SHAPE = { power: 1.5, most: 1.5 };

/** A start: faint noise in every wave of every colour, the same as in Python for a seed. */
export function randomSpectrum(size, seed) {
  const random = new Random(seed);
  return Float32Array.from({ length: 3 * size * (size / 2 + 1) * 2 }, () => NOISE * random.normal());
}

/** For each wave (size, size / 2 + 1) a number that depends on how many of it there are in a pixel. */
function perWave(size, value) {
  const columns = size / 2 + 1;
  return Float32Array.from({ length: size * columns }, (_, place) => {
    const row = Math.floor(place / columns);
    const frequency = Math.hypot((row < size / 2 ? row : row - size) / size, (place % columns) / size);
    return value(Math.max(frequency, 1 / size), place % columns);
  });
}

export const waveSizes = (size) => perWave(size, (frequency) => size / frequency); // as in nature

export const spectralBoost = (size, { power, most }) =>
  perWave(size, (frequency) => Math.min((0.1 / frequency) ** (power - 1), most));

/** How often each wave stands in the whole Fourier transform: once or twice. */
const waveCounts = (size) => perWave(size, (_, column) => (column === 0 || 2 * column === size ? 1 : 2));

/** The fast Fourier transform of lines of `size` numbers (Cooley and Tukey 1965), in place. */
function lineTransform(size) {
  const bits = Math.log2(size);
  const turned = Uint16Array.from({ length: size }, (_, i) => {
    let result = 0;
    for (let bit = 0; bit < bits; bit++) if ((i >> bit) & 1) result |= 1 << (bits - 1 - bit);
    return result;
  });
  const angle = (i) => (2 * Math.PI * i) / size;
  const cos = Float64Array.from({ length: size / 2 }, (_, i) => Math.cos(angle(i)));
  const sin = Float64Array.from({ length: size / 2 }, (_, i) => Math.sin(angle(i)));
  const swap = (line, i, j) => ([line[i], line[j]] = [line[j], line[i]]);
  return (real, imaginary, start, stride, sign) => {
    for (let i = 0; i < size; i++) {
      if (turned[i] <= i) continue;
      swap(real, start + i * stride, start + turned[i] * stride);
      swap(imaginary, start + i * stride, start + turned[i] * stride);
    }
    for (let half = 1; half < size; half *= 2) {
      for (let k = 0; k < half; k++) {
        const [c, s] = [cos[(k * size) / (2 * half)], sign * sin[(k * size) / (2 * half)]];
        for (let i = k; i < size; i += 2 * half) {
          const a = start + i * stride;
          const b = a + half * stride;
          const x = real[b] * c - imaginary[b] * s;
          const y = real[b] * s + imaginary[b] * c;
          real[b] = real[a] - x;
          imaginary[b] = imaginary[a] - y;
          real[a] += x;
          imaginary[a] += y;
        }
      }
    }
  };
}

/** Between spectra and planes (3, size, size), for one size and one strength of each wave. */
export class Waves {
  constructor(size, strengths = waveSizes(size)) {
    const counts = waveCounts(size);
    const weights = strengths.map((strength, wave) => strength * counts[wave]);
    Object.assign(this, { size, strengths, weights, line: lineTransform(size) });
    this.real = new Float64Array(size * size);
    this.imaginary = new Float64Array(size * size);
  }

  /** The planes of a spectrum: the inverse Fourier transform of its waves, each times its strength. */
  toPlanes(spectrum, planes = new Float32Array(3 * this.size ** 2)) {
    const { size, real, imaginary, strengths, line } = this;
    const columns = size / 2 + 1;
    for (let plane = 0; plane < 3; plane++) {
      for (let row = 0; row < size; row++)
        for (let column = 0; column < columns; column++) {
          const wave = row * columns + column;
          const place = 2 * (plane * size * columns + wave);
          real[row * size + column] = spectrum[place] * strengths[wave];
          imaginary[row * size + column] = spectrum[place + 1] * strengths[wave];
        }
      for (let column = 0; column < columns; column++) line(real, imaginary, column, size, 1);
      for (let row = 0; row < size; row++) {
        const start = row * size;
        imaginary[start] = imaginary[start + size / 2] = 0;
        for (let column = 1; column < size / 2; column++) {
          real[start + size - column] = real[start + column];
          imaginary[start + size - column] = -imaginary[start + column];
        }
        line(real, imaginary, start, 1, 1);
      }
      for (let i = 0; i < size * size; i++) planes[plane * size * size + i] = real[i] / (size * size);
    }
    return planes;
  }

  /** The Fourier transform of planes, each wave times `factors`. */
  transform(planes, factors, spectrum) {
    const { size, real, imaginary, line } = this;
    const columns = size / 2 + 1;
    for (let plane = 0; plane < 3; plane++) {
      real.set(planes.subarray(plane * size * size, (plane + 1) * size * size));
      imaginary.fill(0);
      for (let row = 0; row < size; row++) line(real, imaginary, row * size, 1, -1);
      for (let column = 0; column < columns; column++) line(real, imaginary, column, size, -1);
      for (let row = 0; row < size; row++)
        for (let column = 0; column < columns; column++) {
          const wave = row * columns + column;
          const place = 2 * (plane * size * columns + wave);
          spectrum[place] = real[row * size + column] * factors[wave];
          spectrum[place + 1] = imaginary[row * size + column] * factors[wave];
        }
    }
    return spectrum;
  }

  /** The gradient for a spectrum from that for its planes, but for a constant factor. */
  toPlanesBack(planes, spectrum) {
    return this.transform(planes, this.weights, spectrum);
  }

  /** The spectrum whose planes these are. */
  toSpectrum(planes) {
    const factors = this.strengths.map((strength) => 1 / strength);
    return this.transform(planes, factors, new Float32Array(3 * this.size * (this.size / 2 + 1) * 2));
  }
}

/** The share of a picture's power that is in waves shorter than 4 pixels, as chapter 6 measures it. */
export function highFrequencies(picture, size) {
  const planes = new Float32Array(3 * size * size); // grey, and two empty ones
  for (let i = 0; i < picture.length; i++) planes[Math.floor(i / 3)] += picture[i];
  const spectrum = new Float32Array(3 * size * (size + 2));
  new Waves(size).transform(planes, perWave(size, () => 1), spectrum);
  const [frequency, counts] = [perWave(size, (each) => each), waveCounts(size)];
  let [fine, all] = [0, 0];
  for (let wave = 1; wave < frequency.length; wave++) {
    const power = counts[wave] * (spectrum[2 * wave] ** 2 + spectrum[2 * wave + 1] ** 2);
    all += power;
    if (frequency[wave] > 1 / 4) fine += power;
  }
  return all ? fine / all : 0;
}

/** Planes (3, size, size) mixed to an image before the sigmoid, (size, size, 3). */
export function toLogits(planes, colours, logits) {
  const places = planes.length / 3;
  for (let i = 0; i < places; i++)
    for (let c = 0; c < 3; c++) {
      const [first, second, third] = colours[c];
      logits[3 * i + c] = first * planes[i] + second * planes[places + i] + third * planes[2 * places + i];
    }
}

export function toLogitsBack(gradient, colours, planes) {
  const places = planes.length / 3;
  for (let plane = 0; plane < 3; plane++)
    for (let i = 0; i < places; i++) {
      let sum = 0;
      for (let c = 0; c < 3; c++) sum += gradient[3 * i + c] * colours[c][plane];
      planes[plane * places + i] = sum;
    }
}

export const sigmoid = (logit) => 1 / (1 + Math.exp(-logit));

/** The picture (size, size, 3) of a spectrum, from 0 to 255, rounded. */
export function toPicture(spectrum, waves, colours = COLOURS) {
  const logits = new Float32Array(3 * waves.size ** 2);
  toLogits(waves.toPlanes(spectrum), colours, logits);
  return Uint8ClampedArray.from(logits, (logit) => 255 * sigmoid(logit)); // it rounds
}

const ROLLS = [0.38, 0.62]; // shares of the tile's side by which its copies differ, down and right

/**
 * The spectrum of an image twice as large: the small one four times, and new faint noise. Each quarter is
 * another piece of the tile, and fades into its neighbours without losing contrast.
 */
export function fourTiles(tile, half, seed) {
  const size = 2 * half;
  const fade = Array.from({ length: size }, (_, i) =>
    Math.min(1, Math.max(0, 0.5 + 1.25 * Math.sin((Math.PI * (i + 0.5)) / half))),
  );
  // 1 in one half of the side, 0 in the other; their squares add up to 1.
  const fades = [fade.map((f) => f / Math.hypot(f, 1 - f)), fade.map((f) => (1 - f) / Math.hypot(f, 1 - f))];
  const planes = new Float32Array(3 * size * size);
  for (let plane = 0; plane < 3; plane++) {
    const own = tile.subarray(plane * half * half, (plane + 1) * half * half);
    const even = own.reduce((sum, value) => sum + value, 0) / own.length;
    for (let y = 0; y < size; y++)
      for (let x = 0; x < size; x++) {
        let sum = even;
        for (let quarter = 0; quarter < 4; quarter++) {
          const [down, right] = ROLLS.map((share) => Math.trunc(quarter * share * half));
          const from = ((y - down + 4 * half) % half) * half + ((x - right + 4 * half) % half);
          sum += fades[quarter >> 1][y] * fades[quarter & 1][x] * (own[from] - even);
        }
        planes[(plane * size + y) * size + x] = sum;
      }
  }
  const noise = randomSpectrum(size, seed);
  return new Waves(size).toSpectrum(planes).map((value, i) => value + noise[i]);
}
