// Some of the patterns that PocketVGG learnt from, painted as filtersight/world/textures.py does it, by chance.
import { Random } from "../engine/random.js";

const fold = (t) => 2 * Math.abs(t - Math.round(t)); // 0 at whole numbers, 1 half-way between
const turns = (x, y) => Math.atan2(y, x) / (2 * Math.PI);
const even = (value) => ((value % 2) + 2) % 2;

/** By name: the fewest and most periods in a picture, and what makes a field of x and y, counted in periods. */
const TEXTURES = {
  stripes: [3, 11, (random) => below(random.uniform(0.3, 0.7), (x) => fold(x))],
  checkerboard: [2, 6, () => (x, y) => even(Math.floor(x) + Math.floor(y))],
  dots: [4, 8, (random) => below(random.uniform(0.45, 0.75), (x, y) => Math.hypot(fold(x), fold(y)))],
  rings: [4, 9, (random) => shifted(random.share(), random.uniform(0.35, 0.65))],
  spiral: [3, 6, (random) => spiral(Math.ceil(random.uniform(0, 3)), random.share() < 0.5, random.uniform(0.35, 0.65))],
  rays: [1, 1, (random) => rays(Math.floor(random.uniform(5, 13)), random.uniform(0.35, 0.65))],
  waves: [2.5, 5, (random) => waves(random.uniform(0.35, 0.6), random.uniform(1.5, 2.5), random.uniform(0.35, 0.65))],
  zigzag: [2.5, 5, (random) => zigzag(random.uniform(0.8, 1.2), random.uniform(0.35, 0.65))],
  grid: [3.5, 6.5, (random) => below(random.uniform(0.15, 0.3), (x, y) => Math.min(fold(x), fold(y)))],
  honeycomb: [3, 6, (random) => honeycomb(random.uniform(0.38, 0.43))],
};
export const NAMES = Object.keys(TEXTURES);

const below = (limit, field) => (x, y) => (field(x, y) < limit ? 1 : 0);
const shifted = (shift, limit) => below(limit, (x, y) => fold(Math.hypot(x, y) + shift));
const spiral = (arms, left, limit) =>
  below(limit, (x, y) => fold(Math.hypot(x, y) + (left ? -arms : arms) * turns(x, y)));
const rays = (count, limit) => below(limit, (x, y) => fold(count * turns(x, y)));
const waves = (height, length, limit) =>
  below(limit, (x, y) => fold(x + height * Math.sin((2 * Math.PI * y) / length)));
const zigzag = (slant, limit) => below(limit, (x, y) => fold(x + slant * fold(y / 2)));

function honeycomb(limit) {
  const tall = Math.sqrt(3);
  const inside = (x, y, shift) => {
    const [u, v] = [x - shift, y / tall - shift];
    const [a, b] = [Math.abs(u - Math.round(u)), tall * Math.abs(v - Math.round(v))];
    return Math.max(a, a / 2 + (b * tall) / 2);
  };
  return (x, y) => (Math.min(inside(x, y, 0), inside(x, y, 0.5)) > limit ? 1 : 0);
}

function palette(random) {
  for (;;) {
    const [one, other] = [0, 1].map(() => [0, 1, 2].map(() => random.uniform(0, 255)));
    if (Math.hypot(...one.map((value, c) => value - other[c])) > 120) return [one, other];
  }
}

/** One picture of a pattern, (size, size, 3) from 0 to 255: each seed gives another one. */
export function pattern(name, seed, size) {
  const random = new Random(seed);
  const [fewest, most, make] = TEXTURES[name];
  const periods = Math.exp(random.uniform(Math.log(fewest), Math.log(most)));
  const [left, top] = [random.uniform(-0.2, 0.2), random.uniform(-0.2, 0.2)];
  const angle = random.uniform(0, 2 * Math.PI);
  const [cos, sin] = [periods * Math.cos(angle), periods * Math.sin(angle)];
  const field = make(random);
  const [ink, paper] = palette(random);
  const at = (row, column) => {
    const [x, y] = [(column + 0.5) / (2 * size) - 0.5 - left, (row + 0.5) / (2 * size) - 0.5 - top];
    return field(cos * x + sin * y, cos * y - sin * x);
  };
  const picture = new Uint8ClampedArray(3 * size * size);
  for (let y = 0; y < size; y++)
    for (let x = 0; x < size; x++) {
      // Drawn at twice the size and shrunk.
      const share = (at(2 * y, 2 * x) + at(2 * y, 2 * x + 1) + at(2 * y + 1, 2 * x) + at(2 * y + 1, 2 * x + 1)) / 4;
      for (let c = 0; c < 3; c++) picture[3 * (y * size + x) + c] = paper[c] + share * (ink[c] - paper[c]);
    }
  return picture;
}
