// The arithmetic of the network: 3 x 3 convolution, ReLU, max-pooling, and the way back through them.
//
// Maps are (height, width, channels) float32, the channels of a place side by side; those that are
// written have a multiple of 8 of them. Compiled to net.wasm by the command in README.md.
#include <wasm_simd128.h>

#define EXPORT(name) __attribute__((export_name(#name)))
#define PLACES 4  // that are computed together, 8 channels each: with more, maps of 4 and 8 places waste work

extern unsigned char __heap_base;
static unsigned top = 0;  // of the memory in use

static unsigned aligned(unsigned bytes) { return (bytes + 63) & ~63u; }

// The address of so many bytes more; allocate(0) is the mark to which release() goes back.
EXPORT(allocate) unsigned allocate(unsigned bytes) {
  if (!top) top = aligned((unsigned)&__heap_base);
  unsigned address = top;
  top += aligned(bytes);
  unsigned need = (top + 65535) >> 16, have = __builtin_wasm_memory_size(0);
  if (need > have) __builtin_wasm_memory_grow(0, need - have);
  return address;
}

EXPORT(release) void release(unsigned mark) { top = mark; }

// Copies a map into one that is two larger in both directions, with zeros along the border.
static void pad(const float* in, float* out, int height, int width, int channels) {
  int row = (width + 2) * channels;
  __builtin_memset(out, 0, row * 4);
  __builtin_memset(out + (height + 1) * row, 0, row * 4);
  for (int y = 0; y < height; y++) {
    float* to = out + (y + 1) * row;
    __builtin_memset(to, 0, channels * 4);
    __builtin_memcpy(to + channels, in + y * width * channels, width * channels * 4);
    __builtin_memset(to + (width + 1) * channels, 0, channels * 4);
  }
}

// 8 filters at PLACES neighbouring places, of which `count` are kept.
static inline void convolve_places(const float* in, const float* kernel, const float* bias, float* out,
                                   int inputs, int row, int filters, int count) {
  v128_t sums[PLACES][2];
  for (int i = 0; i < PLACES; i++)
    for (int half = 0; half < 2; half++)
      sums[i][half] = bias ? wasm_v128_load(bias + 4 * half) : wasm_f32x4_splat(0);
  for (int dy = 0; dy < 3; dy++) {
    const float* from = in + dy * row;
    for (int j = 0; j < 3 * inputs; j++, kernel += 8) {
      v128_t first = wasm_v128_load(kernel), second = wasm_v128_load(kernel + 4);
#pragma unroll
      for (int i = 0; i < PLACES; i++) {
        v128_t x = wasm_v128_load32_splat(from + i * inputs + j);
        sums[i][0] = wasm_f32x4_add(sums[i][0], wasm_f32x4_mul(x, first));
        sums[i][1] = wasm_f32x4_add(sums[i][1], wasm_f32x4_mul(x, second));
      }
    }
  }
  for (int i = 0; i < count; i++) {
    wasm_v128_store(out + i * filters, sums[i][0]);
    wasm_v128_store(out + i * filters + 4, sums[i][1]);
  }
}

// kernel (filters / 8, 3, 3, inputs, 8); bias (filters) or null; padded holds
// (height + 2) * (width + 2) * inputs numbers, and PLACES * inputs more.
EXPORT(convolve) void convolve(const float* in, const float* kernel, const float* bias, float* out,
                               float* padded, int height, int width, int inputs, int filters) {
  pad(in, padded, height, width, inputs);
  int row = (width + 2) * inputs;
  for (int y = 0; y < height; y++)
    for (int f = 0; f < filters; f += 8)
      for (int x = 0; x < width; x += PLACES)
        convolve_places(padded + y * row + x * inputs, kernel + f * 9 * inputs, bias ? bias + f : 0,
                        out + (y * width + x) * filters + f, inputs, row, filters,
                        width - x < PLACES ? width - x : PLACES);
}

EXPORT(relu) void relu(float* map, int count) {
  v128_t zero = wasm_f32x4_splat(0);
  for (int i = 0; i < count; i += 4) wasm_v128_store(map + i, wasm_f32x4_max(wasm_v128_load(map + i), zero));
}

// Only where the ReLU let something through does the gradient come back.
EXPORT(relu_back) void relu_back(const float* map, float* gradient, int count) {
  v128_t zero = wasm_f32x4_splat(0);
  for (int i = 0; i < count; i += 4) {
    v128_t passed = wasm_f32x4_gt(wasm_v128_load(map + i), zero);
    wasm_v128_store(gradient + i, wasm_v128_and(wasm_v128_load(gradient + i), passed));
  }
}

// The largest of 2 x 2 places; an odd last row or column is dropped.
EXPORT(pool) void pool(const float* in, float* out, int height, int width, int channels) {
  for (int y = 0; y < height / 2; y++)
    for (int x = 0; x < width / 2; x++) {
      const float *upper = in + (2 * y * width + 2 * x) * channels, *lower = upper + width * channels;
      float* to = out + (y * (width / 2) + x) * channels;
      for (int i = 0; i < channels; i += 4) {
        v128_t above = wasm_f32x4_max(wasm_v128_load(upper + i), wasm_v128_load(upper + channels + i));
        v128_t below = wasm_f32x4_max(wasm_v128_load(lower + i), wasm_v128_load(lower + channels + i));
        wasm_v128_store(to + i, wasm_f32x4_max(above, below));
      }
    }
}

// The gradient goes to the largest of the four, to the first of equals, as in TensorFlow.
EXPORT(pool_back) void pool_back(const float* in, const float* out, const float* gradient, float* back,
                                 int height, int width, int channels) {
  if ((height | width) & 1) __builtin_memset(back, 0, height * width * channels * 4);
  for (int y = 0; y < height / 2; y++)
    for (int x = 0; x < width / 2; x++) {
      int first = (2 * y * width + 2 * x) * channels, small = (y * (width / 2) + x) * channels;
      int places[4] = {first, first + channels, first + width * channels, first + (width + 1) * channels};
      for (int i = 0; i < channels; i += 4) {
        v128_t largest = wasm_v128_load(out + small + i), left = wasm_v128_load(gradient + small + i);
        for (int k = 0; k < 4; k++) {
          v128_t equal = wasm_f32x4_eq(wasm_v128_load(in + places[k] + i), largest);
          wasm_v128_store(back + places[k] + i, wasm_v128_and(left, equal));
          left = wasm_v128_andnot(left, equal);
        }
      }
    }
}

// The compiler may call it for a loop that it recognises.
void* memset(void* to, int value, unsigned long count) { return __builtin_memset(to, value, count); }
