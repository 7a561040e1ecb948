// d = depthwise3x3(x) + bias, out[f] = d[f] * silu(d[F + f])
//
// x [B, H, W, 2F], weight [9, 2F] f32 (tap by tap), bias [2F] f32, out [B, H, W, F]. Zero padding 1.
// d is never written to memory: a vector of it stays in a register from its nine products to its gate.
//
// A task is a range of channels, rows and columns of one image. It keeps the last three image rows of its channels and
// their gates in the worker's memory as f32, with a border of zeros, so that every element of x is converted once and
// no pixel is a special case. Along a row, the three input pixels of a column are read once and added to the three
// outputs that they contribute to, while the 18 weight vectors stay in registers.
// Bound by the 18 multiplications and the exponential per output, and nearly by memory: reads 2F, writes F.

#include "cpu/kernels/kernels.h"
#include "cpu/parallel.h"
#include "cpu/simd/functions.h"

namespace sana::cpu::SANA_ISA {

namespace {

constexpr int64_t kChannels = 256;  // per task: runs of memory long enough for the hardware prefetcher
constexpr int64_t kColumns = 64;    // per task: three rows of values and gates fit the second-level cache
constexpr int64_t kRows = 32;       // per task, fewer if that keeps every worker busy

struct Taps {
  Vec weight[9];
  Vec bias;

  // weight [9, 2F] and bias [2F], both from the task's first channel
  SANA_INLINE Taps(const float* weights, const float* biases, int64_t channels, auto lanes) {
#pragma GCC unroll 9
    for (int t = 0; t < 9; ++t) weight[t] = load(weights + t * channels, lanes);
    bias = load(biases, lanes);
  }
};

// The outputs of neighbouring pixels: the left one lacks only the next column, the right one has not begun.
struct Sums {
  Vec left, middle;

  // Adds column x + 1 of the three rows, which completes the output at x, and returns it.
  SANA_INLINE Vec next(const Taps& taps, Vec top, Vec centre, Vec bottom) {
    const Vec done = fma(bottom, taps.weight[8], fma(centre, taps.weight[5], fma(top, taps.weight[2], left)));
    left = fma(bottom, taps.weight[7], fma(centre, taps.weight[4], fma(top, taps.weight[1], middle)));
    middle = fma(bottom, taps.weight[6], fma(centre, taps.weight[3], fma(top, taps.weight[0], taps.bias)));
    return done;
  }
};

}  // namespace

void depthwise_conv_glu(const Arguments& arguments, Workers& workers) {
  const View& x = arguments.operands[op::DepthwiseConvGlu::kX];
  const View& out = arguments.operands[op::DepthwiseConvGlu::kOut];
  const float* weight = arguments.operands[op::DepthwiseConvGlu::kWeight].as<float>();  // [9, 2F]
  const float* bias = arguments.operands[op::DepthwiseConvGlu::kBias].as<float>();      // [2F]
  const int64_t batch = x.shape[0], height = x.shape[1], width = x.shape[2];
  const int64_t hidden = out.columns();  // F
  const int64_t channel_tasks = (hidden + kChannels - 1) / kChannels;
  const int64_t column_tasks = (width + kColumns - 1) / kColumns;
  int64_t rows_per_task = kRows;
  const auto row_tasks_of = [&](int64_t rows) { return (height + rows - 1) / rows; };
  while (rows_per_task > 4 &&
         batch * row_tasks_of(rows_per_task) * column_tasks * channel_tasks < 4 * workers.count()) {
    rows_per_task /= 2;
  }
  const int64_t row_tasks = row_tasks_of(rows_per_task);

  with_types(x, out, [&](const auto* from, auto* to) {
    parallel(workers, batch * row_tasks * column_tasks * channel_tasks, [&](int64_t task, int worker) {
      const int64_t channel = task % channel_tasks * kChannels;
      const int64_t column = task / channel_tasks % column_tasks * kColumns;
      const int64_t first_row = task / channel_tasks / column_tasks % row_tasks * rows_per_task;
      const int64_t item = task / channel_tasks / column_tasks / row_tasks;
      const int64_t channels = smaller(kChannels, hidden - channel);
      const int64_t columns = smaller(kColumns, width - column);
      const int64_t end_row = smaller(first_row + rows_per_task, height);

      // [3 rows, columns + 2, values | gates], image row y in y mod 3
      const int64_t padded = round_up(channels, kLanes);
      const int64_t row_floats = (columns + 2) * 2 * padded;
      float* rows = Workspace(workers, worker).floats(3 * row_floats);
      const auto load_row = [&](int64_t y) {
        float* row = rows + (y + 3) % 3 * row_floats;
        for (int64_t i = 0; i < columns + 2; ++i, row += 2 * padded) {
          const int64_t x_column = column + i - 1;
          if (y < 0 || y >= height || x_column < 0 || x_column >= width) {
            for (int64_t c = 0; c < 2 * padded; c += kLanes) store(row + c, zero());
          } else {
            const auto* pixel = from + ((item * height + y) * width + x_column) * 2 * hidden + channel;
            load_rows(pixel, hidden, 2, channels, row, padded);
          }
        }
      };

      load_row(first_row - 1);
      load_row(first_row);
      for (int64_t y = first_row; y < end_row; ++y) {
        load_row(y + 1);
        const float* top = rows + (y + 2) % 3 * row_floats;
        const float* centre = rows + y % 3 * row_floats;
        const float* bottom = rows + (y + 1) % 3 * row_floats;
        auto* out_row = to + ((item * height + y) * width + column) * hidden + channel;
        for_each_vector(channels, [&](int64_t c, auto lanes) {
          const Taps value_taps(weight + channel + c, bias + channel + c, 2 * hidden, lanes);
          const Taps gate_taps(weight + hidden + channel + c, bias + hidden + channel + c, 2 * hidden, lanes);
          Sums values{value_taps.bias, value_taps.bias}, gates{gate_taps.bias, gate_taps.bias};
          for (int64_t i = 0; i < columns + 2; ++i) {
            const int64_t v = i * 2 * padded + c, g = v + padded;
            const Vec value = values.next(value_taps, load(top + v), load(centre + v), load(bottom + v));
            const Vec gate = gates.next(gate_taps, load(top + g), load(centre + g), load(bottom + g));
            if (i >= 2) store(out_row + (i - 2) * hidden + c, value * silu(gate), lanes);
          }
        });
      }
    });
  });
}

}  // namespace sana::cpu::SANA_ISA
