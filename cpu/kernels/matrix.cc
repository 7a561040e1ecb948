// The matrix product of matrix.h, cut into tasks.
//
// A task is a rectangle of output pixels by a range of weight panels. It copies the input pixels that it needs, with
// their zero padding, into its worker's workspace (staging: aligned, with complete pairs of bf16 and no power-of-two
// pitch) and runs tiles over them; the epilogue follows each tile. Tiles continue across the ends of the rectangle's
// lines, over the few staged pixels that are only there for the kernel's overlap; their sums are discarded. Nothing is
// gathered per tap. For i8 weights, rows are converted to bytes when they are staged.
//
// Bound by arithmetic: a worker reads 128 bytes of weights from its second-level cache per kTileRows x 32 products.
// With few rows (M below about 30) it is bound by reading the weights, each once.

#include "cpu/kernels/matrix.h"

#include "cpu/kernels/micro_kernel.h"

namespace sana::cpu::SANA_ISA {

static int64_t ceil_div(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}
static int64_t smaller(int64_t a, int64_t b) {
  return a < b ? a : b;
}
static int64_t larger(int64_t a, int64_t b) {
  return a > b ? a : b;
}

// ---- cutting into tasks --------------------------------------------------------------------------------------------

// Memory for the staged pixels of a task. Those of an image leave half of a 1 MiB second-level cache for weights and
// sums. The rows of a matrix are read a tile at a time, in order, so they may be in the third-level cache: it matters
// more that all of K is multiplied in one pass, so that sums do not leave the registers (3 to 5 % of a product's time
// on AVX2).
inline constexpr int64_t kImageBytes = 448 << 10, kMatrixBytes = 896 << 10;
inline constexpr int64_t kSumsBytes = 1 << 20;
inline constexpr int64_t kMatrixRows = 192;  // pixels of a task: each panel of weights is fetched once for that many
inline constexpr int64_t kImageWidth = 128, kImagePixels = 512;
inline constexpr int64_t kTapLanes = 2304;  // staged floats over all taps: 256 channels of a 3x3 kernel
inline constexpr int kSplits[] = {1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128};

// How the product is cut. No bit of the result depends on it: with one tap, a sum always runs over the channels in
// order; with several taps, `lanes` depends on the shape of the weights alone.
struct Blocks {
  int64_t height, width;        // output pixels of a task
  int64_t panels;               // weight panels of a task, over all phases
  int64_t lanes;                // lanes of a tap that are staged and multiplied in one pass
  int64_t columns;              // staged pixels of a line, divided by the stride: width plus the kernel's overlap
  int64_t lines;                // staged lines, divided by the stride
  int64_t pixel;                // floats between staged pixels
  int64_t down, across, along;  // tasks down an image, across it, and along the panels

  int64_t rows() const { return (height - 1) * columns + width; }  // from the first to the last row that tiles run over
  int64_t staged_floats(int64_t stride) const { return stride * lines * stride * columns * pixel; }
};

template <class Product>
static void measure(const MatrixProduct& p, int64_t lanes, int64_t panels, Blocks& b) {
  const int64_t taps = p.kernel_height * p.kernel_width;
  const int64_t most = taps == 1 ? larger(512, kMatrixBytes / 4 / (b.height * b.width)) : larger(16, kTapLanes / taps);
  b.lanes = ceil_div(lanes, ceil_div(lanes, most / Product::kStaged));
  b.columns = b.width - 1 + ceil_div(p.window_width, p.stride);
  b.lines = b.height - 1 + ceil_div(p.window_height, p.stride);
  // An odd number of cache lines, so that the rows of a tile are in different sets of the first-level cache.
  b.pixel = (ceil_div(ceil_div(b.lanes, kLanes) * kLanes * Product::kStaged, 16) | 1) * 16;
  b.down = ceil_div(p.out_height, b.height);
  b.across = ceil_div(p.out_width, b.width);
  b.along = ceil_div(panels, b.panels);
}

// The estimated time of the whole product, to choose between cuts: in quarters of an AVX-512 cycle, with equally fast
// workers.
template <class Product>
static int64_t cost(const MatrixProduct& p, int64_t lanes, const Blocks& b, int workers) {
  const int64_t taps = p.kernel_height * p.kernel_width;
  const int64_t multiply = ceil_div(b.rows(), kTileRows) * kTileRows * 8 + 64;  // 64: for fetching the weights
  const int64_t finish = b.rows() * 100;
  const int64_t stage = p.stride * b.lines * p.stride * b.columns * (lanes * Product::kStageCost + 100);
  const int64_t task = b.panels * (taps * lanes * multiply + finish) + stage + 10000;
  const int64_t tasks = p.batch * b.down * b.across * b.along;
  // Workers finish at different times and wait half a task at the end on average.
  return task * larger(2 * ceil_div(tasks, workers), 2 * tasks / workers + 1);
}

template <class Product>
static Blocks choose_blocks(const MatrixProduct& p, int64_t lanes, int64_t panels, int workers) {
  const bool matrix = p.kernel_height * p.kernel_width == 1 && p.height == 1;
  const auto evenly = [](int64_t size, int64_t most) { return ceil_div(size, ceil_div(size, most)); };
  Blocks b;
  b.panels = panels;
  b.width = evenly(p.out_width, matrix ? kMatrixRows : kImageWidth);
  b.height = evenly(p.out_height, larger(1, kImagePixels / b.width));
  measure<Product>(p, lanes, panels, b);
  while (b.height * b.width > 1 && b.staged_floats(p.stride) * 4 > (matrix ? kMatrixBytes : kImageBytes)) {
    (b.height > 1 ? b.height : b.width) = ceil_div(b.height > 1 ? b.height : b.width, 2);
    measure<Product>(p, lanes, panels, b);
  }

  Blocks best = b;
  int64_t least = INT64_MAX;
  for (const int pixels : kSplits) {
    Blocks cut = b;
    if (b.height > 1) {
      cut.height = ceil_div(b.height, pixels);
    } else {
      cut.width = smaller(b.width, ceil_div(ceil_div(b.width, pixels), kTileRows) * kTileRows);
    }
    for (const int along : kSplits) {
      cut.panels = ceil_div(panels, along);
      measure<Product>(p, lanes, panels, cut);
      if (cut.lanes < lanes && cut.panels > 1 && cut.rows() * cut.panels * kPanelColumns * 4 > kSumsBytes) continue;
      const int64_t time = cost<Product>(p, lanes, cut, workers);
      if (time < least) {
        least = time;
        best = cut;
      }
      if (cut.panels == 1) break;
    }
    if (cut.height * cut.width <= kTileRows || (b.height > 1 && cut.height == 1)) break;
  }
  return best;
}

// ---- staging -------------------------------------------------------------------------------------------------------

// A task's output pixels.
struct Rectangle {
  int64_t batch, y, x, height, width;
};

// Stages the channels from `first` of the pixels that a rectangle of output pixels reads:
// [stride][lines][stride * columns][pixel], line r of the rectangle being line r / stride of plane r % stride.
// `scales`: scales of the pixels as bytes, [lines * columns], computed with the first channels; matrices only.
template <class Product, class In>
static void stage(const MatrixProduct& p, const Blocks& b, const Rectangle& at, int64_t first, int64_t count,
                  float* staged, float* scales) {
  const int64_t lanes = ceil_div(count, Product::kElements) * Product::kStaged;
  const int64_t width = p.stride * b.columns;
  const In* image = static_cast<const In*>(p.image) + at.batch * p.height * p.width * p.pitch;
  for (int64_t r = 0; r < p.stride * b.lines; ++r) {
    float* line = staged + (r % p.stride * b.lines + r / p.stride) * width * b.pixel;
    const int64_t y = at.y * p.stride - p.pad_y + r;
    for (int64_t c = 0; c < width; ++c) {
      const int64_t x = at.x * p.stride - p.pad_x + c;
      float* const pixel = line + c * b.pixel;
      if (y < 0 || y >= p.height || x < 0 || x >= p.width) {
        memset(pixel, 0, lanes * sizeof(float));
        continue;
      }
      const In* const channels = image + (y * p.width + x) * p.pitch;
      if constexpr (Product::kScaled) {
        float& scale = scales[r * width + c];
        if (first == 0) scale = byte_scale(channels, p.channels);
        Product::stage(pixel, channels + first, count, scale);
      } else {
        Product::stage(pixel, channels + first, count);
      }
    }
  }
}

// ---- multiplying ---------------------------------------------------------------------------------------------------

template <class Product, class In, class Out>
struct MatrixTask {
  const MatrixProduct& p;
  Blocks b;
  int64_t lanes;   // per tap
  int64_t panels;  // per phase
  Workers& workers;

  static void run(void* context, int64_t task, int worker) {
    const MatrixTask& self = *static_cast<const MatrixTask*>(context);
    self.multiply(task, static_cast<float*>(self.workers.workspace(worker)));
  }

  void multiply(int64_t task, float* workspace) const {
    const int64_t first_panel = task % b.along * b.panels;
    Rectangle at;
    at.x = task / b.along % b.across * b.width;
    at.y = task / b.along / b.across % b.down * b.height;
    at.batch = task / b.along / b.across / b.down;
    at.width = smaller(b.width, p.out_width - at.x);
    at.height = smaller(b.height, p.out_height - at.y);
    const int64_t end_panel = smaller(first_panel + b.panels, p.phases * panels);
    const int64_t end = (at.height - 1) * b.columns + at.width;  // after the last row of the last tile

    const int64_t line = p.stride * b.columns * b.pixel;
    const Taps taps = {p.kernel_height, p.kernel_width, p.stride, b.pixel, line, b.lines * line};
    const int64_t tap_floats = lanes * kPanelColumns;
    const int64_t lane_floats = p.kernel_height * p.kernel_width * tap_floats;
    const int64_t panel_floats = lane_floats + (Product::kScaled ? kScaleLines * kPanelColumns : 0);
    float* staged = workspace;
    float* scales = staged + b.staged_floats(p.stride);  // of the rows, if the product is scaled
    float* sums = scales + (Product::kScaled ? ceil_div(b.rows(), 16) * 16 : 0);
    const bool one_pass = b.lanes == lanes;

    for (int64_t k = 0; k < lanes; k += b.lanes) {
      const int64_t count = smaller(b.lanes, lanes - k);
      const int64_t channel = k * Product::kElements;
      const int64_t channels = smaller(count * Product::kElements, p.channels - channel);
      stage<Product, In>(p, b, at, channel, channels, staged, scales);
      for (int64_t panel = first_panel; panel < end_panel; ++panel) {
        const int64_t phase = panel / panels;
        const int64_t column = panel % panels * p.epilogue.panel_columns();
        const int64_t used = p.epilogue.gated ? kPanelColumns : smaller(kPanelColumns, p.epilogue.columns - column);
        const float* rows = staged + phase / 2 * line + phase % 2 * b.pixel;
        const float* panel_weights = p.weights + panel * panel_floats;
        const float* weights = panel_weights + k * kPanelColumns;
        float* panel_sums = one_pass ? sums : sums + (panel - first_panel) * end * kPanelColumns;
        for (int64_t q = 0; q < end;) {
          const int64_t count_rows = smaller(kTileRows, end - q);
          float* tile_sums = one_pass ? sums : panel_sums + q * kPanelColumns;
          for (int64_t j = 0; j < used; j += kTileColumns) {
            kMultiplyTile<Product>[count_rows](taps, {rows + q * p.stride * b.pixel, p.stride * b.pixel, weights + j,
                                                      tap_floats, count, tile_sums + j, k == 0});
          }
          if (k + count == lanes) {
            each_pixel(at, phase, q, count_rows, [&](int64_t i, int64_t row) {
              float* row_sums = tile_sums + i * kPanelColumns;
              if constexpr (Product::kScaled) scale_sums(row_sums, panel_weights + lane_floats, scales[q + i]);
              finish_row<Out>(p.epilogue, row, column, row_sums);
            });
          }
          q += count_rows;
          while (q < end && q % b.columns >= at.width) ++q;
        }
      }
    }
  }

  // Calls f(i, row of out) for those rows first + i that are output pixels of the task.
  template <class F>
  SANA_INLINE void each_pixel(const Rectangle& at, int64_t phase, int64_t first, int64_t rows, const F& f) const {
    const int64_t scale = p.phases == 1 ? 1 : 2;
    const int64_t line_step = scale * scale * p.out_width;
    int64_t x = first % b.columns;
    int64_t line = at.batch * p.out_height * line_step + (at.y + first / b.columns) * line_step + at.x * scale +
                   phase / 2 * scale * p.out_width + phase % 2;
    for (int64_t i = 0; i < rows; ++i) {
      if (x < at.width) f(i, line + x * scale);
      if (++x == b.columns) {
        x = 0;
        line += line_step;
      }
    }
  }
};

template <class Product, class In, class Out>
static void run_product(const MatrixProduct& p, Workers& workers) {
  if (p.batch * p.out_height * p.out_width * p.epilogue.columns == 0) return;
  const int64_t lanes = ceil_div(p.channels, Product::kElements);
  const int64_t panels = ceil_div(p.epilogue.columns, p.epilogue.panel_columns());
  using Task = MatrixTask<Product, In, Out>;
  Task task = {p, choose_blocks<Product>(p, lanes, p.phases * panels, workers.count()), lanes, panels, workers};
  const Blocks& b = task.b;
  workers.run(p.batch * b.down * b.across * b.along, Task::run, &task);
}

template <class Product, class In>
static void run_product(const MatrixProduct& p, DType out, Workers& workers) {
  out == DType::kF32 ? run_product<Product, In, float>(p, workers) : run_product<Product, In, bf16>(p, workers);
}

void run_product(const MatrixProduct& p, DType x, DType weights, DType out, Workers& workers) {
  if (weights == DType::kI8) {
    x == DType::kF32 ? run_product<I8Product, float>(p, out, workers) : run_product<I8Product, bf16>(p, out, workers);
  } else {
    x == DType::kF32 ? run_product<F32Product, float>(p, out, workers)
                     : run_product<BF16Product, bf16>(p, out, workers);
  }
}

}  // namespace sana::cpu::SANA_ISA
