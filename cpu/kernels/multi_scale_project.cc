// DC-AE's second scale: d = depthwise5x5(x), out[g, e] = sum_c pointwise[g D + e, c] d[g, c] in every group g of D
// consecutive channels
//
// x and out [B, H, W, C] (columns of wider tensors), depthwise [25, C] f32 (tap by tap), pointwise [C, D] f32, D up to
// 256. Zero padding 2. d is never written to memory.
//
// A task is one group, some rows and columns of one image. It keeps the last five image rows of a group in the
// worker's memory as f32 with a border of zeros, makes a row of d from them, and multiplies that by the group's matrix.
// Bound by the 25 + D multiplications of each element.

#include "cpu/kernels/kernels.h"
#include "cpu/kernels/tile_product.h"
#include "cpu/parallel.h"

namespace sana::cpu::SANA_ISA {

namespace {

constexpr int64_t kColumns = 64;  // of pixels: five rows of 256 channels and the group's matrix take 0.7 MB
constexpr int64_t kRows = 32;
constexpr int kTaps = 25;

}  // namespace

void multi_scale_project(const Arguments& arguments, Workers& workers) {
  const View& x = arguments.operands[0];
  const View& out = arguments.operands[3];
  const float* depthwise = arguments.operands[1].as<float>();  // [25, C]
  const float* pointwise = arguments.operands[2].as<float>();  // [C, D]
  const int64_t batch = x.shape[0], height = x.shape[1], width = x.shape[2], channels = x.columns();
  const int64_t group = arguments.operands[2].columns();  // D
  const int64_t padded = round_up(group, kLanes);
  const int64_t groups = channels / group;
  const int64_t column_tasks = (width + kColumns - 1) / kColumns;
  const int64_t row_tasks = (height + kRows - 1) / kRows;

  with_types(x, out, [&](const auto* from, auto* to) {
    parallel(workers, batch * row_tasks * column_tasks * groups, [&](int64_t task, int worker) {
      const int64_t channel = task % groups * group;
      const int64_t column = task / groups % column_tasks * kColumns;
      const int64_t first_row = task / groups / column_tasks % row_tasks * kRows;
      const int64_t item = task / groups / column_tasks / row_tasks;
      const int64_t columns = smaller(kColumns, width - column);
      const int64_t end_row = smaller(first_row + kRows, height);

      Workspace workspace(workers, worker);
      const int64_t row_floats = (columns + 4) * padded;
      float* rows = workspace.floats(5 * row_floats);         // [5 rows, columns + 4, D], image row y in y mod 5
      float* taps = workspace.floats(kTaps * padded);         // [25, D]
      float* matrix = workspace.floats(group * padded);       // [D in, D out]
      float* convolved = workspace.floats(columns * padded);  // [columns, D]
      float* projected = workspace.floats(columns * padded);  // [columns, D]

      load_rows(depthwise + channel, channels, kTaps, group, taps, padded);
      for (int64_t c = 0; c < group; ++c) {
        for (int64_t e = 0; e < padded; ++e) {
          matrix[c * padded + e] = e < group ? pointwise[(channel + e) * group + c] : 0.0f;
        }
      }
      const auto load_row = [&](int64_t y) {
        float* row = rows + (y + 5) % 5 * row_floats;
        for (int64_t i = 0; i < columns + 4; ++i, row += padded) {
          const int64_t x_column = column + i - 2;
          if (y < 0 || y >= height || x_column < 0 || x_column >= width) {
            for (int64_t c = 0; c < padded; c += kLanes) store(row + c, zero());
          } else {
            load_rows(from + ((item * height + y) * width + x_column) * x.pitch + channel, 0, 1, group, row, padded);
          }
        }
      };

      for (int64_t y = first_row - 2; y < first_row + 2; ++y) load_row(y);
      for (int64_t y = first_row; y < end_row; ++y) {
        load_row(y + 2);
        for (int64_t c = 0; c < padded; c += kLanes) {
          for (int64_t i = 0; i < columns; ++i) {
            // One sum per row of taps: five chains hide the latency of the multiplication.
            Vec sums[5];
#pragma GCC unroll 5
            for (int dy = 0; dy < 5; ++dy) {
              const float* pixels = rows + (y + dy + 3) % 5 * row_floats + i * padded + c;
              const float* tap = taps + 5 * dy * padded + c;
              sums[dy] = load(pixels) * load(tap);
#pragma GCC unroll 4
              for (int dx = 1; dx < 5; ++dx) {
                sums[dy] = fma(load(pixels + dx * padded), load(tap + dx * padded), sums[dy]);
              }
            }
            store(convolved + i * padded + c, ((sums[0] + sums[1]) + (sums[2] + sums[3])) + sums[4]);
          }
        }
        tile_product({.rows = columns,
                      .depth = group,
                      .columns = padded,
                      .a = convolved,
                      .a_row = padded,
                      .a_column = 1,
                      .b = matrix,
                      .b_row = padded,
                      .c = projected,
                      .c_row = padded,
                      .add = false});
        auto* out_row = to + ((item * height + y) * width + column) * out.pitch + channel;
        for (int64_t i = 0; i < columns; ++i) {
          for_each_vector(group, [&](int64_t c, auto lanes) {
            store(out_row + i * out.pitch + c, load(projected + i * padded + c), lanes);
          });
        }
      }
    });
  });
}

}  // namespace sana::cpu::SANA_ISA
