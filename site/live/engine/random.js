// The random numbers of NumPy's default_rng(seed), so that a seed begins with the same noise as in Python:
// SeedSequence, PCG64 (O'Neill 2014), and the ziggurat of 256 strips (Marsaglia and Tsang 2000).

const MASK64 = (1n << 64n) - 1n;
const MASK128 = (1n << 128n) - 1n;
const MULTIPLIER = 0x2360ed051fc65da44385df649fccf645n;

/** Eight well mixed numbers of 32 bits from a seed of 32 bits. */
function seedSequence(seed) {
  let constant = 0x43b0d7e5;
  const hash = (value) => {
    value ^= constant;
    constant = Math.imul(constant, 0x931e8875);
    value = Math.imul(value, constant);
    return value ^ (value >>> 16);
  };
  const mix = (x, y) => {
    const value = Math.imul(x, 0xca01f9dd) - Math.imul(y, 0x4973f715);
    return value ^ (value >>> 16);
  };
  const pool = [seed, 0, 0, 0].map(hash);
  for (let from = 0; from < 4; from++)
    for (let to = 0; to < 4; to++) if (from !== to) pool[to] = mix(pool[to], hash(pool[from]));
  constant = 0x8b51f9dd;
  return Array.from({ length: 8 }, (_, i) => {
    let value = pool[i % 4] ^ constant;
    constant = Math.imul(constant, 0x58f38ded);
    value = Math.imul(value, constant);
    return BigInt((value ^ (value >>> 16)) >>> 0);
  });
}

/** The strips under the bell curve: their widths, the sure share of each, and heights. */
function ziggurat() {
  const last = 3.6541528853610088; // where the tail begins
  const area = 0.00492867323399;
  const bell = (x) => Math.exp(-0.5 * x * x);
  const edges = new Float64Array(256);
  edges[255] = last;
  for (let i = 254; i > 0; i--) edges[i] = Math.sqrt(-2 * Math.log(area / edges[i + 1] + bell(edges[i + 1])));
  const base = area / bell(last);
  return {
    last,
    widths: edges.map((x, i) => (i ? x : base) / 2 ** 52),
    sure: edges.map((x, i) => 2 ** 52 * (i > 1 ? edges[i - 1] / x : i ? 0 : last / base)),
    heights: edges.map(bell),
  };
}

const STRIPS = ziggurat();

export class Random {
  constructor(seed) {
    const words = seedSequence(seed);
    const pairs = [0, 2, 4, 6].map((i) => words[i] | (words[i + 1] << 32n));
    this.increment = (((pairs[2] << 64n) | pairs[3]) << 1n) & MASK128 | 1n;
    this.state = this.increment; // a first step from 0
    this.state = (this.state + ((pairs[0] << 64n) | pairs[1])) & MASK128;
    this.advance();
  }

  advance() {
    this.state = (this.state * MULTIPLIER + this.increment) & MASK128;
  }

  /** 64 random bits. */
  bits() {
    this.advance();
    const mixed = (this.state >> 64n) ^ (this.state & MASK64);
    const turn = this.state >> 122n;
    return ((mixed >> turn) | (mixed << (64n - turn))) & MASK64;
  }

  /** From 0 to less than 1. */
  share() {
    return Number(this.bits() >> 11n) / 2 ** 53;
  }

  /** Between two numbers, each as likely. */
  uniform(low, high) {
    return low + (high - low) * this.share();
  }

  /** Of the bell curve with mean 0 and standard deviation 1. */
  normal() {
    const { widths, sure, heights, last } = STRIPS;
    for (;;) {
      const bits = this.bits();
      const low = Number(bits & 0x1ffn);
      const strip = low & 255;
      const place = Number((bits >> 9n) & 0xfffffffffffffn);
      const value = (low & 256 ? -1 : 1) * place * widths[strip];
      if (place < sure[strip]) return value;
      if (strip === 0) return this.tail(last, Math.floor(place / 256) % 2 === 1);
      const height = heights[strip] + (heights[strip - 1] - heights[strip]) * this.share();
      if (height < Math.exp(-0.5 * value * value)) return value;
    }
  }

  tail(last, negative) {
    for (;;) {
      const beyond = -Math.log1p(-this.share()) / last;
      const height = -Math.log1p(-this.share());
      if (2 * height > beyond * beyond) return negative ? -last - beyond : last + beyond;
    }
  }
}
