// DC-AE's shortcuts: pixel shuffle (upsampling) and unshuffle (downsampling) with repeated or averaged channels, and
// the residual added.
//
//   pixelShuffle    out[f i + a, f j + b, o] = x[i, j, (f f o + f a + b) / R] + residual, R = f f O / I
//                   x [B, H, W, I], residual and out [B, f H, f W, O]
//   pixelUnshuffle  out[i, j, o] = mean of u[G o .. G o + G - 1] + residual, u[f f c + f a + b] = x[f i + a, f j + b,
//   c],
//                   G = f f I / O;  x [B, f H, f W, I], residual and out [B, H, W, O]
//
// Channels are copied one by one in a worker's memory, from and to rows of whole pixels. Bound by that copying, about
// one element per cycle, and nearly by memory.

#include "cpu/kernels/kernels.h"
#include "cpu/parallel.h"

namespace sana::cpu::SANA_ISA {

void pixel_shuffle(const Arguments& arguments, Workers& workers) {
  const View& x = arguments.operands[op::PixelShuffle::kX];
  const View& residual = arguments.operands[op::PixelShuffle::kResidual];
  const View& out = arguments.operands[op::PixelShuffle::kOut];
  const int64_t factor = arguments.integer(op::PixelShuffle::kFactor), parts = factor * factor;
  const int64_t width = x.shape[2], in_channels = x.columns(), channels = out.columns();
  const int64_t repeat = parts * channels / in_channels;  // R

  with_types(x, residual, out, [&](const auto* from, const auto* add, auto* to) {
    parallel(workers, x.shape[0] * x.shape[1], [&](int64_t row, int worker) {  // row: item * H + i
      Workspace workspace(workers, worker);
      float* pixel = workspace.floats(round_up(in_channels, kLanes));
      float* picked = workspace.floats(round_up(channels, kLanes));
      int32_t* source = reinterpret_cast<int32_t*>(workspace.floats(parts * channels));  // [f f, O]
      for (int64_t part = 0; part < parts; ++part) {
        for (int64_t o = 0; o < channels; ++o) {
          source[part * channels + o] = static_cast<int32_t>((parts * o + part) / repeat);
        }
      }
      for (int64_t j = 0; j < width; ++j) {
        load_rows(from + (row * width + j) * in_channels, 0, 1, in_channels, pixel, 0);
        for (int64_t part = 0; part < parts; ++part) {
          for (int64_t o = 0; o < channels; ++o) picked[o] = pixel[source[part * channels + o]];
          const int64_t a = part / factor, b = part % factor;
          const int64_t at = ((row * factor + a) * width * factor + j * factor + b) * channels;
          for_each_vector(channels, [&](int64_t o, auto lanes) {
            const Vec y = load(picked + o);
            store(to + at + o, add ? y + load(add + at + o, lanes) : y, lanes);
          });
        }
      }
    });
  });
}

void pixel_unshuffle(const Arguments& arguments, Workers& workers) {
  const View& x = arguments.operands[op::PixelUnshuffle::kX];
  const View& residual = arguments.operands[op::PixelUnshuffle::kResidual];
  const View& out = arguments.operands[op::PixelUnshuffle::kOut];
  const int64_t factor = arguments.integer(op::PixelUnshuffle::kFactor), parts = factor * factor;
  const int64_t width = out.shape[2], in_channels = x.columns(), channels = out.columns();
  const int64_t group = parts * in_channels / channels;  // G

  with_types(x, residual, out, [&](const auto* from, const auto* add, auto* to) {
    parallel(workers, out.shape[0] * out.shape[1], [&](int64_t row, int worker) {  // row: item * H + i
      Workspace workspace(workers, worker);
      float* pixel = workspace.floats(round_up(in_channels, kLanes));
      float* unshuffled = workspace.floats(parts * in_channels);
      float* means = workspace.floats(round_up(channels, kLanes));
      for (int64_t j = 0; j < width; ++j) {
        for (int64_t part = 0; part < parts; ++part) {
          const int64_t a = part / factor, b = part % factor;
          const int64_t at = ((row * factor + a) * width * factor + j * factor + b) * in_channels;
          load_rows(from + at, 0, 1, in_channels, pixel, 0);
          for (int64_t c = 0; c < in_channels; ++c) unshuffled[c * parts + part] = pixel[c];
        }
        for (int64_t o = 0; o < channels; ++o) {
          float sum = 0.0f;
          for (int64_t g = 0; g < group; ++g) sum += unshuffled[o * group + g];
          means[o] = sum / static_cast<float>(group);
        }
        const int64_t at = (row * width + j) * channels;
        for_each_vector(channels, [&](int64_t o, auto lanes) {
          const Vec y = load(means + o);
          store(to + at + o, add ? y + load(add + at + o, lanes) : y, lanes);
        });
      }
    });
  });
}

}  // namespace sana::cpu::SANA_ISA
