// The second scale of DC-AE's attention: d = depthwise5x5(x), out[g, e] = sum_c pointwise[g D + e, c] d[g, c] in every
// group g of D consecutive channels
//
// x and out [B, H, W, C] (columns of wider tensors), depthwise [25, C] f32 (tap by tap), pointwise [C, D] f32, D up to
// 256. Zero padding 2. d is never written to memory.
//
// A task is a range of groups, rows and columns of one image. It keeps the last five image rows of its channels in the
// worker's memory as f32 with a border of zeros, computes a row of d from them, and multiplies that by the matrix of
// each group. Bound by the 25 + D multiplications per element.

#include "cpu/kernels/kernels.h"
#include "cpu/kernels/tile_product.h"
#include "cpu/parallel.h"

namespace sana::cpu::SANA_ISA {

namespace {

constexpr int64_t kChannels = 128;  // per task, at least: runs of memory long enough for the hardware prefetcher
constexpr int64_t kColumns = 64;    // per task: five rows of 256 channels and the group's matrix take 0.7 MB
constexpr int64_t kRows = 32;
constexpr int kTaps = 25;
constexpr int kPixels = 4;  // computed together: each tap is read once for all, each pixel once per row of taps

// d of kPixels neighbouring pixels for one vector of channels; taps are added in the order of the kernel.
// rows: five image rows, each at the first pixel's leftmost neighbour, [columns, padded]; taps [25, padded]
SANA_INLINE void convolve(const float* const (&rows)[5], const float* taps, int64_t padded, float* out) {
  Vec sums[kPixels];
#pragma GCC unroll 4
  for (int p = 0; p < kPixels; ++p) sums[p] = zero();
  for (int dy = 0; dy < 5; ++dy) {
    Vec pixels[kPixels + 4];
#pragma GCC unroll 8
    for (int i = 0; i < kPixels + 4; ++i) pixels[i] = load(rows[dy] + i * padded);
#pragma GCC unroll 5
    for (int dx = 0; dx < 5; ++dx) {
      const Vec tap = load(taps + (5 * dy + dx) * padded);
#pragma GCC unroll 4
      for (int p = 0; p < kPixels; ++p) sums[p] = fma(pixels[p + dx], tap, sums[p]);
    }
  }
#pragma GCC unroll 4
  for (int p = 0; p < kPixels; ++p) store(out + p * padded, sums[p]);
}

}  // namespace

void multi_scale_project(const Arguments& arguments, Workers& workers) {
  const View& x = arguments.operands[op::MultiScaleProject::kX];
  const View& out = arguments.operands[op::MultiScaleProject::kOut];
  const float* depthwise = arguments.operands[op::MultiScaleProject::kDepthwise].as<float>();  // [25, C]
  const float* pointwise = arguments.operands[op::MultiScaleProject::kPointwise].as<float>();  // [C, D]
  const int64_t batch = x.shape[0], height = x.shape[1], width = x.shape[2], all_channels = x.columns();
  const int64_t group = arguments.operands[op::MultiScaleProject::kPointwise].columns();  // D
  const int64_t group_padded = round_up(group, kLanes);
  const int64_t task_channels = group < kChannels ? kChannels / group * group : group;
  const int64_t channel_tasks = (all_channels + task_channels - 1) / task_channels;
  const int64_t column_tasks = (width + kColumns - 1) / kColumns;
  const int64_t row_tasks = (height + kRows - 1) / kRows;

  with_types(x, out, [&](const auto* from, auto* to) {
    parallel(workers, batch * row_tasks * column_tasks * channel_tasks, [&](int64_t task, int worker) {
      const int64_t channel = task % channel_tasks * task_channels;
      const int64_t column = task / channel_tasks % column_tasks * kColumns;
      const int64_t first_row = task / channel_tasks / column_tasks % row_tasks * kRows;
      const int64_t item = task / channel_tasks / column_tasks / row_tasks;
      const int64_t channels = smaller(task_channels, all_channels - channel);
      const int64_t columns = smaller(kColumns, width - column);
      const int64_t end_row = smaller(first_row + kRows, height);
      const int64_t padded = round_up(channels, kLanes), padded_columns = round_up(columns, kPixels);

      Workspace workspace(workers, worker);
      const int64_t row_floats = (padded_columns + 4) * padded;
      float* rows = workspace.floats(5 * row_floats);                // [5, columns + 4, channels], row y in y mod 5
      float* taps = workspace.floats(kTaps * padded);                // [25, channels]
      float* matrices = workspace.floats(channels * group_padded);   // [groups, D in, D out]
      float* convolved = workspace.floats(padded_columns * padded);  // [columns, channels]
      float* projected = workspace.floats(columns * group_padded);   // [columns, D], of one group

      load_rows(depthwise + channel, all_channels, kTaps, channels, taps, padded);
      for (int64_t c = 0; c < channels; ++c) {
        const float* weights = pointwise + (channel + c / group * group) * group + c % group;
        for (int64_t e = 0; e < group_padded; ++e) {
          matrices[c * group_padded + e] = e < group ? weights[e * group] : 0.0f;
        }
      }
      const auto load_row = [&](int64_t y) {
        float* row = rows + (y + 5) % 5 * row_floats;
        for (int64_t i = 0; i < padded_columns + 4; ++i, row += padded) {
          const int64_t x_column = column + i - 2;
          if (y < 0 || y >= height || x_column < 0 || x_column >= width) {
            for (int64_t c = 0; c < padded; c += kLanes) store(row + c, zero());
          } else {
            load_rows(from + ((item * height + y) * width + x_column) * x.pitch + channel, 0, 1, channels, row, padded);
          }
        }
      };

      for (int64_t y = first_row - 2; y < first_row + 2; ++y) load_row(y);
      for (int64_t y = first_row; y < end_row; ++y) {
        load_row(y + 2);
        for (int64_t i = 0; i < padded_columns; i += kPixels) {
          for (int64_t c = 0; c < padded; c += kLanes) {
            const float* five_rows[5];
            for (int dy = 0; dy < 5; ++dy) five_rows[dy] = rows + (y + dy + 3) % 5 * row_floats + i * padded + c;
            convolve(five_rows, taps + c, padded, convolved + i * padded + c);
          }
        }
        auto* out_row = to + ((item * height + y) * width + column) * out.pitch + channel;
        for (int64_t g = 0; g < channels; g += group) {
          tile_product({.rows = columns,
                        .depth = group,
                        .columns = group_padded,
                        .a = convolved + g,
                        .a_row = padded,
                        .a_column = 1,
                        .b = matrices + g * group_padded,
                        .b_row = group_padded,
                        .c = projected,
                        .c_row = group_padded,
                        .add = false});
          for (int64_t i = 0; i < columns; ++i) {
            for_each_vector(group, [&](int64_t c, auto lanes) {
              store(out_row + i * out.pitch + g + c, load(projected + i * group_padded + c), lanes);
            });
          }
        }
      }
    });
  });
}

}  // namespace sana::cpu::SANA_ISA
