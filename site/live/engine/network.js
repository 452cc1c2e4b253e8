// PocketVGG: the activation of a filter, and the gradient of it to the image.

export const CONVOLUTIONS = [2, 2, 3, 3, 3]; // layers in each block, as in VGG16
export const LAYERS = CONVOLUTIONS.flatMap((count, block) =>
  Array.from({ length: count }, (_, i) => `block${block + 1}_conv${i + 1}`),
);
export const blockOf = (layer) => Number(layer[5]) - 1; // from 0

const up8 = (count) => (count + 7) & ~7;

/** How many pixels to a side one value of the layer's map depends on. */
export function receptiveField(layer) {
  let field = 1;
  let stride = 1;
  for (const name of LAYERS) {
    if (name.endsWith("conv1") && name !== LAYERS[0]) {
      field += stride; // the pooling before the block
      stride *= 2;
    }
    field += 2 * stride;
    if (name === layer) return field;
  }
  throw new RangeError(`no layer ${layer}; there are ${LAYERS.join(", ")}`);
}

/** Numbers of half precision (Uint16Array) as Float32Array. */
export function fromHalf(halves) {
  const bits = new Uint32Array(halves.length);
  const numbers = new Float32Array(bits.buffer);
  for (let i = 0; i < halves.length; i++) {
    const half = halves[i];
    const sign = (half & 0x8000) << 16;
    const exponent = (half >> 10) & 31;
    const fraction = half & 1023;
    if (exponent) bits[i] = sign | ((exponent + 112) << 23) | (fraction << 13);
    else numbers[i] = ((half & 0x8000 ? -1 : 1) * fraction) / 2 ** 24;
  }
  return numbers;
}

export async function bytesOf(address) {
  const answer = await fetch(address);
  if (!answer.ok) throw new Error(`${new URL(address).pathname} cannot be fetched: ${answer.status}`);
  return answer.arrayBuffer();
}

export class Network {
  /** `wasm`: what net.wasm exports; `folder`: address of the weights; `widths`: filters of a layer, by block. */
  constructor(wasm, folder, widths) {
    Object.assign(this, { wasm, folder, widths });
    this.layers = new Map(); // those whose weights are here
  }

  filters(layer) {
    return this.widths[blockOf(layer)];
  }

  /** Fetches the weights up to a layer: those of the last block are more than all others together. */
  async need(layer) {
    const missing = CONVOLUTIONS.map((_, block) => block).filter(
      (block) => block <= blockOf(layer) && !this.layers.has(`block${block + 1}_conv1`),
    );
    const files = missing.map((block) => bytesOf(new URL(`block${block + 1}.bin`, this.folder)));
    (await Promise.all(files)).forEach((file, i) => this.unpack(missing[i], new Uint16Array(file)));
  }

  /** Puts the weights of a block into the memory: for each layer the kernel (3, 3, inputs, filters), then the bias. */
  unpack(block, halves) {
    if (this.layers.has(`block${block + 1}_conv1`)) return;
    const numbers = fromHalf(halves);
    let place = 0;
    this.release(this.mark ?? this.wasm.allocate(0));
    for (let i = 1; i <= CONVOLUTIONS[block]; i++) {
      const filters = this.widths[block];
      const inputs = i > 1 ? filters : block ? this.widths[block - 1] : 3;
      const kernel = numbers.subarray(place, (place += 9 * inputs * filters));
      const bias = numbers.subarray(place, (place += filters));
      this.layers.set(`block${block + 1}_conv${i}`, this.store(kernel, bias, inputs, filters));
    }
    this.mark = this.wasm.allocate(0);
  }

  /** Forgets the maps of the size and layer that were prepared; the weights stay. */
  release(mark) {
    this.wasm.release(mark);
    this.prepared = null;
  }

  store(kernel, bias, inputs, filters) {
    return {
      kernel,
      bias,
      inputs,
      // Maps have a multiple of 8 channels; those too many are 0. The image has three.
      stride: inputs === 3 ? 3 : up8(inputs),
      width: up8(filters),
      forth: this.put(packed(kernel, inputs, filters)),
      back: this.put(packed(turned(kernel, inputs, filters), filters, inputs)),
      offsets: this.put(Float32Array.from({ length: up8(filters) }, (_, f) => bias[f] ?? 0)),
    };
  }

  numbers(address, count) {
    return new Float32Array(this.wasm.memory.buffer, address, count);
  }

  put(numbers) {
    const address = this.wasm.allocate(4 * numbers.length);
    this.numbers(address, numbers.length).set(numbers);
    return address;
  }

  /** Room for the maps of images of `size` pixels up to a layer, and the list of what is to be computed. */
  prepare(size, layer) {
    if (this.prepared?.size === size && this.prepared.layer === layer) return this.prepared;
    this.release(this.mark);
    const room = (count) => this.wasm.allocate(4 * count);
    const image = room(size * size * 3);
    const operations = [];
    let [side, input, most, padded] = [size, image, 8 * size * size, 0];
    for (const name of LAYERS) {
      const { stride, width } = this.layers.get(name);
      if (name.endsWith("conv1") && name !== LAYERS[0]) {
        const output = room((side >> 1) ** 2 * stride);
        operations.push({ pooling: true, side, width: stride, input, output });
        [input, side] = [output, side >> 1];
      }
      const output = room(side * side * width);
      operations.push({ layer: this.layers.get(name), side, width, input, output });
      input = output;
      most = Math.max(most, side * side * Math.max(stride, width));
      padded = Math.max(padded, ((side + 2) ** 2 + 8) * Math.max(stride, width));
      if (name === layer) break;
    }
    this.prepared = {
      ...{ size, layer, side, image, operations },
      padded: room(padded),
      single: { map: room(side * side * 8), slope: room(side * side) },
      gradients: [room(most), room(most)],
    };
    return this.prepared;
  }

  convolve(layer, input, output, { side, back = false }) {
    const { stride, width, forth, offsets, back: kernel } = layer;
    const { padded } = this.prepared;
    if (back) this.wasm.convolve(input, kernel, 0, output, padded, side, side, width, up8(layer.inputs));
    else this.wasm.convolve(input, forth, offsets, output, padded, side, side, stride, width);
  }

  /** Puts an image (size, size, 3), 0 to 255, into the network and computes the first `count` operations. */
  forward(image, { operations, image: address }, count) {
    const input = this.numbers(address, image.length);
    for (let i = 0; i < image.length; i++) input[i] = image[i] / 127.5 - 1;
    for (const each of operations.slice(0, count)) {
      const { side, width, input, output } = each;
      if (each.pooling) this.wasm.pool(input, output, side, side, width);
      else {
        this.convolve(each.layer, input, output, { side });
        this.wasm.relu(output, side * side * width);
      }
    }
  }

  /** What all filters answer: their maps, one Float32Array (side * side) each, and activations, the means over them. */
  answers(image, size, layer) {
    const plan = this.prepare(size, layer);
    this.forward(image, plan, plan.operations.length);
    const { output, width, side } = plan.operations.at(-1);
    const values = this.numbers(output, side * side * width);
    const maps = Array.from({ length: this.filters(layer) }, (_, f) =>
      Float32Array.from({ length: side * side }, (_, place) => values[place * width + f]),
    );
    const activations = maps.map((map) => map.reduce((sum, value) => sum + value, 0) / map.length);
    return { side, maps, activations };
  }

  activations(image, size, layer) {
    return this.answers(image, size, layer).activations;
  }

  /**
   * The activation of one filter, the mean over its map. Its gradient is written into `gradient` (size, size, 3).
   * Where the ReLU of the layer is silent, `leak` times the gradient gets through all the same, so that an
   * image can leave a place from which no gradient leads away.
   */
  objective(image, size, layer, filter, gradient, leak = 0) {
    const plan = this.prepare(size, layer);
    const { operations, side, single } = plan;
    const last = operations.length - 1;
    this.forward(image, plan, last);
    const own = this.ownFilter(layer, filter);
    this.convolve(own, operations[last].input, single.map, { side });
    const places = side * side;
    const map = this.numbers(single.map, 8 * places);
    const slope = this.numbers(single.slope, places);
    let sum = 0;
    for (let place = 0; place < places; place++) {
      const value = map[8 * place];
      sum += Math.max(0, value);
      slope[place] = (value > 0 ? 1 : leak) / places;
    }
    this.backward(own, plan, gradient);
    return sum / places;
  }

  /** A layer of which only one filter is computed; the other seven of its eight are 0. */
  ownFilter(layer, filter) {
    const plan = this.prepared;
    if (plan.own?.filter === filter) return plan.own;
    const { kernel, bias, inputs, stride } = this.layers.get(layer);
    const filters = this.filters(layer);
    const one = Float32Array.from({ length: 9 * inputs }, (_, i) => kernel[i * filters + filter]);
    const both = [packed(one, inputs, 1), packed(turned(one, inputs, 1), 1, inputs, 1)];
    plan.places ??= both.map((each) => this.wasm.allocate(4 * each.length)).concat(this.wasm.allocate(32));
    const [forth, back, offsets] = plan.places;
    this.numbers(forth, both[0].length).set(both[0]);
    this.numbers(back, both[1].length).set(both[1]);
    this.numbers(offsets, 8).fill(0)[0] = bias[filter];
    plan.own = { filter, inputs, stride, width: 8, forth, back, offsets };
    return plan.own;
  }

  /** From the gradient of one filter's map back to the image, layer by layer. */
  backward(own, { operations, side, single, gradients, size }, gradient) {
    let [here, there] = gradients;
    this.convolve({ ...own, width: 1 }, single.slope, here, { side, back: true });
    for (const each of operations.slice(0, -1).reverse()) {
      const { side, width, input, output } = each;
      if (each.pooling) this.wasm.pool_back(input, output, here, there, side, side, width);
      else {
        this.wasm.relu_back(output, here, side * side * width);
        this.convolve(each.layer, here, there, { side, back: true });
      }
      [here, there] = [there, here];
    }
    const values = this.numbers(here, size * size * 8);
    for (let place = 0; place < size * size; place++)
      for (let c = 0; c < 3; c++) gradient[3 * place + c] = values[8 * place + c] / 127.5;
  }
}

/** The kernel (3, 3, inputs, filters) for the way back: turned by 180 degrees, (3, 3, filters, inputs). */
function turned(kernel, inputs, filters) {
  const result = new Float32Array(kernel.length);
  for (let place = 0; place < 9; place++)
    for (let i = 0; i < inputs; i++)
      for (let f = 0; f < filters; f++)
        result[(place * filters + f) * inputs + i] = kernel[((8 - place) * inputs + i) * filters + f];
  return result;
}

/** The kernel (3, 3, inputs, filters) as net.c wants it: (filters / 8, 3, 3, inputs, 8), padded with zeros. */
function packed(kernel, inputs, filters, stride = inputs === 3 ? 3 : up8(inputs)) {
  const result = new Float32Array(up8(filters) * 9 * stride);
  for (let place = 0; place < 9; place++)
    for (let i = 0; i < inputs; i++)
      for (let f = 0; f < filters; f++)
        result[(((f >> 3) * 9 + place) * stride + i) * 8 + (f & 7)] = kernel[(place * inputs + i) * filters + f];
  return result;
}
