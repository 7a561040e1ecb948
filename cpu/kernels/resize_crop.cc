// Bilinear resize (half-pixel centres, edges repeated, no antialiasing), then a centre crop. Only pixels inside the
// crop are computed.
//
// x [B, h, w, C], out [B, H, W, C]. Weights in f32. One element at a time, because it runs only once per picture.

#include "cpu/kernels/kernels.h"
#include "cpu/parallel.h"

namespace sana::cpu::SANA_ISA {

namespace {

// The position of an output coordinate between two input coordinates: low + fraction; `high` is the next one, clamped
// to the image.
struct Between {
  int64_t low, high;
  float fraction;
};

Between between(int64_t at, int64_t size, int64_t resized) {
  const float scale = static_cast<float>(size) / static_cast<float>(resized);
  float source = scale * (static_cast<float>(at) + 0.5f) - 0.5f;
  if (source < 0.0f) source = 0.0f;
  Between result;
  result.low = smaller(static_cast<int64_t>(source), size - 1);
  result.high = smaller(result.low + 1, size - 1);
  result.fraction = source - static_cast<float>(result.low);
  return result;
}

}  // namespace

void resize_crop(const Arguments& arguments, Workers& workers) {
  const View& x = arguments.operands[op::ResizeCrop::kX];
  const View& out = arguments.operands[op::ResizeCrop::kOut];
  const int64_t resized_height = arguments.integer(op::ResizeCrop::kResizedHeight);
  const int64_t resized_width = arguments.integer(op::ResizeCrop::kResizedWidth);
  const int64_t in_height = x.shape[1], in_width = x.shape[2], channels = x.columns();
  const int64_t height = out.shape[1], width = out.shape[2];
  const int64_t top = (resized_height - height) / 2, left = (resized_width - width) / 2;

  with_types(x, out, [&](const auto* from, auto* to) {
    parallel_rows(workers, out.shape[0] * height, width * channels, [&](int64_t row, int) {
      const int64_t item = row / height;
      const Between y = between(top + row % height, in_height, resized_height);
      const auto* upper = from + (item * in_height + y.low) * in_width * channels;
      const auto* lower = from + (item * in_height + y.high) * in_width * channels;
      for (int64_t j = 0; j < width; ++j) {
        const Between column = between(left + j, in_width, resized_width);
        const float fx = column.fraction, fy = y.fraction;
        for (int64_t c = 0; c < channels; ++c) {
          const int64_t l = column.low * channels + c, r = column.high * channels + c;
          const float above = (1.0f - fx) * to_float(upper[l]) + fx * to_float(upper[r]);
          const float below = (1.0f - fx) * to_float(lower[l]) + fx * to_float(lower[r]);
          set(to + (row * width + j) * channels + c, (1.0f - fy) * above + fy * below);
        }
      }
    });
  });
}

}  // namespace sana::cpu::SANA_ISA
