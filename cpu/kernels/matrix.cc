// The matrix product of matrix.h, cut into tasks.
//
// A task is a rectangle of output pixels by a range of weight panels. It copies the input pixels that it needs, with
// their zero padding, into its worker's workspace (staging: aligned, pairs of bf16 complete, no power-of-two pitch) and
// runs tiles over them; the epilogue follows each tile. Tiles run across the ends of the rectangle's lines, over the
// few staged pixels that are there for the kernel's overlap only: their sums are not used. Nothing is gathered per tap.
//
// Bound by arithmetic: a worker reads 128 bytes of weights per kTileRows x 32 products, from its second-level cache.
// For few rows (M < 30 or so) it is bound by reading the weights, each once.

#include "cpu/kernels/matrix.h"

#include "cpu/kernels/micro_kernel.h"

namespace sana::cpu::SANA_ISA {

// How the product is cut into tasks. No bit of the result depends on it, but for `lanes` with several taps.
struct Blocks {
  int64_t lanes;          // of a tap that are staged at a time
  int64_t height, width;  // output pixels of a task
  int64_t panels;         // weight panels of a task, over all phases
  // what follows from these
  int64_t columns;              // staged pixels of a line that a tile's row may start at: width + overlap
  int64_t lines;                // staged lines in a plane
  int64_t pixel;                // floats between staged pixels
  int64_t down, across, along;  // tasks per image, per line, over the panels
};

inline constexpr int64_t kStagedBytes = 448 << 10;  // leaves half of a 1 MiB second-level cache to weights and sums
inline constexpr int64_t kBlockRows = 192;          // weights are read once for so many pixels
inline constexpr int64_t kBlockPanels = 32;
inline constexpr int64_t kTasksPerWorker = 8;

static int64_t ceil_div(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}
static int64_t smaller(int64_t a, int64_t b) {
  return a < b ? a : b;
}
static int64_t larger(int64_t a, int64_t b) {
  return a > b ? a : b;
}

template <class Product>
static void measure(const MatrixProduct& p, int64_t panels, Blocks& b) {
  b.columns = b.width - 1 + ceil_div(p.window_width, p.stride);
  b.lines = b.height - 1 + ceil_div(p.window_height, p.stride);
  // An odd number of cache lines: the rows of a tile fall into different sets of the first-level cache.
  b.pixel = (ceil_div(b.lanes * Product::kStaged, 16) | 1) * 16;
  b.down = ceil_div(p.out_height, b.height);
  b.across = ceil_div(p.out_width, b.width);
  b.along = ceil_div(panels, b.panels);
}

static int64_t staged_floats(const MatrixProduct& p, const Blocks& b) {
  return p.stride * b.lines * p.stride * b.columns * b.pixel;
}

template <class Product>
static Blocks choose_blocks(const MatrixProduct& p, int64_t lanes, int64_t panels, int workers) {
  const int64_t taps = p.kernel_height * p.kernel_width;
  const bool matrix = taps == 1 && p.height == 1;
  Blocks b;
  b.panels = smaller(panels, kBlockPanels);
  b.width = ceil_div(p.out_width, ceil_div(p.out_width, matrix ? kBlockRows : 128));
  if (matrix) b.width = ceil_div(b.width, kTileRows) * kTileRows;
  b.height = larger(1, smaller(p.out_height, kBlockRows / b.width));

  // One tap: a sum's order does not depend on the cut. Several: a constant of the weights' shape.
  int64_t most = taps == 1 ? larger(512, kStagedBytes / 4 / (b.width * b.height)) : larger(16, 2304 / taps);
  most = larger(1, most / Product::kStaged);
  b.lanes = ceil_div(lanes, ceil_div(lanes, most));
  measure<Product>(p, panels, b);
  while (b.height > 1 && staged_floats(p, b) * 4 > kStagedBytes) {
    b.height = ceil_div(b.height, 2);
    measure<Product>(p, panels, b);
  }
  while (b.width > 8 && staged_floats(p, b) * 4 > kStagedBytes) {
    b.width = ceil_div(b.width, 2);
    measure<Product>(p, panels, b);
  }
  // Enough tasks that no worker waits long for the last ones.
  while (p.batch * b.down * b.across * b.along < kTasksPerWorker * workers) {
    const int64_t pixels = b.height * b.width;
    if (b.panels > 1 && (pixels <= 8 * kTileRows || b.panels > 8)) {
      b.panels = ceil_div(b.panels, 2);
    } else if (pixels > 2 * kTileRows) {
      if (b.height > 1) {
        b.height = ceil_div(b.height, 2);
      } else {
        b.width = ceil_div(ceil_div(b.width, 2), kTileRows) * kTileRows;
      }
    } else {
      break;
    }
    measure<Product>(p, panels, b);
  }
  return b;
}

// Copies `count` channels of a pixel into lanes, completing the last pair with a zero.
template <class Product>
static SANA_INLINE void stage_pixel(float* lanes, const typename Product::Element* x, int64_t count) {
  if constexpr (Product::kStaged == 1) {
    memcpy(lanes, x, count * sizeof *x);
    if (count % Product::kElements) memset(reinterpret_cast<char*>(lanes) + count * sizeof *x, 0, sizeof *x);
  } else {
    for_each_vector(count, [&](int64_t i, auto some) { store(lanes + i, load(x + i, some), some); });
    if (count % 2) lanes[count] = 0.0f;
  }
}

// Stages channels first.. of the pixels that output pixels (y0.., x0..) of an image read:
// [stride][lines][stride * columns][pixel], line r of the rectangle being line r / stride of plane r % stride.
template <class Product>
static void stage(const MatrixProduct& p, const Blocks& b, int64_t batch, int64_t y0, int64_t x0, int64_t first,
                  int64_t count, float* staged) {
  using Element = typename Product::Element;
  const int64_t lanes = ceil_div(count, Product::kElements) * Product::kStaged;
  const int64_t width = p.stride * b.columns;
  const Element* image = static_cast<const Element*>(p.image) + batch * p.height * p.width * p.pitch + first;
  for (int64_t r = 0; r < p.stride * b.lines; ++r) {
    float* line = staged + (r % p.stride * b.lines + r / p.stride) * width * b.pixel;
    const int64_t y = y0 * p.stride - p.pad_y + r;
    for (int64_t c = 0; c < width; ++c) {
      const int64_t x = x0 * p.stride - p.pad_x + c;
      if (y >= 0 && y < p.height && x >= 0 && x < p.width) {
        stage_pixel<Product>(line + c * b.pixel, image + (y * p.width + x) * p.pitch, count);
      } else {
        memset(line + c * b.pixel, 0, lanes * sizeof(float));
      }
    }
  }
}

template <class Product, class Out>
struct MatrixTask {
  const MatrixProduct& p;
  Blocks b;
  int64_t lanes;   // of a tap
  int64_t panels;  // of a phase
  Workers& workers;

  static void run(void* context, int64_t task, int worker) {
    const MatrixTask& self = *static_cast<const MatrixTask*>(context);
    self.multiply(task, static_cast<float*>(self.workers.workspace(worker)));
  }

  void multiply(int64_t task, float* workspace) const {
    const int64_t first_panel = task % b.along * b.panels;
    const int64_t x0 = task / b.along % b.across * b.width;
    const int64_t y0 = task / b.along / b.across % b.down * b.height;
    const int64_t batch = task / b.along / b.across / b.down;
    const int64_t end_panel = smaller(first_panel + b.panels, p.phases * panels);
    const int64_t width = smaller(b.width, p.out_width - x0), height = smaller(b.height, p.out_height - y0);
    const int64_t end = (height - 1) * b.columns + width;  // behind the last row of the last tile

    const int64_t line = p.stride * b.columns * b.pixel;
    const Taps taps = {p.kernel_height, p.kernel_width, p.stride, b.pixel, line, b.lines * line};
    const int64_t tap_floats = lanes * kPanelColumns;
    const int64_t panel_floats = p.kernel_height * p.kernel_width * tap_floats;
    float* staged = workspace;
    float* sums = workspace + staged_floats(p, b);
    const bool one_pass = b.lanes == lanes;

    for (int64_t k = 0; k < lanes; k += b.lanes) {
      const int64_t count = smaller(b.lanes, lanes - k);
      const int64_t channel = k * Product::kElements;
      stage<Product>(p, b, batch, y0, x0, channel, smaller(count * Product::kElements, p.channels - channel), staged);
      for (int64_t panel = first_panel; panel < end_panel; ++panel) {
        const int64_t phase = panel / panels;
        const int64_t column = panel % panels * p.epilogue.panel_columns();
        const int64_t used = p.epilogue.gated ? kPanelColumns : smaller(kPanelColumns, p.epilogue.columns - column);
        const float* rows = staged + taps.offset(phase / 2, phase % 2);
        const float* weights = p.weights + panel * panel_floats + k * kPanelColumns;
        const char* next = reinterpret_cast<const char*>(weights + panel_floats);
        float* panel_sums = one_pass ? sums : sums + (panel - first_panel) * end * kPanelColumns;
        for (int64_t q = 0; q < end;) {
          const int64_t count_rows = smaller(kTileRows, end - q);
          float* tile_sums = one_pass ? sums : panel_sums + q * kPanelColumns;
          for (int64_t j = 0; j < used; j += kTileColumns) {
            kMultiplyTile<Product>[count_rows](taps, {rows + q * p.stride * b.pixel, p.stride * b.pixel, weights + j,
                                                      tap_floats, count, tile_sums + j, k == 0, next, 64});
          }
          next += count / 4 * 64;
          if (k + count == lanes) finish(tile_sums, q, count_rows, phase, column, batch, y0, x0, width);
          q += count_rows;
          while (q < end && q % b.columns >= width) ++q;
        }
      }
    }
  }

  void finish(const float* sums, int64_t first, int64_t rows, int64_t phase, int64_t column, int64_t batch, int64_t y0,
              int64_t x0, int64_t width) const {
    for (int64_t i = 0; i < rows; ++i) {
      const int64_t x = (first + i) % b.columns, y = (first + i) / b.columns + y0;
      if (x >= width) continue;
      const int64_t row =
          p.phases == 1 ? (batch * p.out_height + y) * p.out_width + x0 + x
                        : (batch * 2 * p.out_height + 2 * y + phase / 2) * 2 * p.out_width + 2 * (x0 + x) + phase % 2;
      finish_row<Out>(p.epilogue, row, column, sums + i * kPanelColumns);
    }
  }
};

template <class Product, class Out>
static void run_product(const MatrixProduct& p, Workers& workers) {
  if (p.batch * p.out_height * p.out_width * p.epilogue.columns == 0) return;
  const int64_t lanes = ceil_div(p.channels, Product::kElements);
  const int64_t panels = ceil_div(p.epilogue.columns, p.epilogue.panel_columns());
  MatrixTask<Product, Out> task = {p, choose_blocks<Product>(p, lanes, p.phases * panels, workers.count()), lanes,
                                   panels, workers};
  const Blocks& b = task.b;
  workers.run(p.batch * b.down * b.across * b.along, MatrixTask<Product, Out>::run, &task);
}

void run_product(const MatrixProduct& p, DType x, DType out, Workers& workers) {
  if (x == DType::kF32) {
    out == DType::kF32 ? run_product<F32Product, float>(p, workers) : run_product<F32Product, bf16>(p, workers);
  } else {
    out == DType::kF32 ? run_product<BF16Product, float>(p, workers) : run_product<BF16Product, bf16>(p, workers);
  }
}

}  // namespace sana::cpu::SANA_ISA
