// Weight packing: checkpoint rows -> f32, counted for NaN and infinity -> the target's dtype -> the target's layout.
// Rows that are converted to i8 are read twice: the first time for their scales.
//
// Rows are packed in groups of 16, half a panel: a run of inputs of 16 rows is converted, then transposed, so that the
// target is written in whole cache lines. Bound by reading the checkpoint.

#include "cpu/pack.h"

#include <algorithm>
#include <atomic>
#include <limits>

#include "core/backend.h"
#include "core/error.h"

namespace sana::cpu {

namespace {

// ---- elements ------------------------------------------------------------------------------------------------------

float from_bits(uint32_t bits) {
  float x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

uint32_t to_bits(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  return bits;
}

uint16_t to_bf16(float x) {
  const uint32_t bits = to_bits(x);
  const uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
  const uint32_t quiet_nan = bits >> 16 | 0x40;
  return static_cast<uint16_t>((bits & 0x7fffffff) > 0x7f800000 ? quiet_nan : rounded);
}

float from_f16(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000) << 16;
  const uint32_t magnitude = half & 0x7fff;
  // The exponent's bias changes from 15 to 127 for normal numbers; the exponent of infinity and NaN becomes the f32
  // maximum.
  const uint32_t normal = (magnitude << 13) + ((127 - 15) << 23) + (magnitude >= 0x7c00 ? (128 - 16) << 23 : 0);
  const uint32_t subnormal = to_bits(static_cast<float>(static_cast<int32_t>(magnitude)) * 0x1p-24f);
  return from_bits(sign | (magnitude < 0x400 ? subnormal : normal));
}

// Converts `count` elements from `first` of the checkpoint tensor to f32; returns how many are NaN or infinite.
uint64_t read_elements(const void* source, DType dtype, int64_t first, int64_t count, float* out) {
  uint32_t bad = 0;
  if (dtype == DType::kF32) {
    memcpy(out, static_cast<const char*>(source) + first * 4, count * 4);
  } else {
    const char* p = static_cast<const char*>(source) + first * 2;
    if (dtype == DType::kBF16) {
      for (int64_t i = 0; i < count; ++i) {
        uint16_t half;
        memcpy(&half, p + 2 * i, 2);
        out[i] = from_bits(static_cast<uint32_t>(half) << 16);
      }
    } else {
      for (int64_t i = 0; i < count; ++i) {
        uint16_t half;
        memcpy(&half, p + 2 * i, 2);
        out[i] = from_f16(half);
      }
    }
  }
  for (int64_t i = 0; i < count; ++i) bad += (to_bits(out[i]) & 0x7f800000) == 0x7f800000;
  return bad;
}

int64_t lane_inputs(DType dtype) {  // inputs in a 32-bit lane of a panel
  return 4 / element_bytes(dtype);
}

// The scale of a row's bytes if the largest magnitude of the row is `largest`. Computed in f32, rounding at each step.
float byte_scale(float largest) {
  const float scale = largest / 127;
  return scale < std::numeric_limits<float>::min() ? 0 : scale;
}

// Stores x / scale as bytes, rounded to nearest even; returns their sum as the bits of an i32.
uint32_t write_bytes(const float* x, int64_t count, float scale, char* out) {
  const float inverse = scale > 0 ? 1 / scale : 0;
  uint32_t sum = 0;
  for (int64_t i = 0; i < count; ++i) {
    const float scaled = x[i] * inverse;
    // Adding 1.5 * 2^23 rounds to an integer, and the low byte of the result is that of the integer.
    const int8_t byte = static_cast<int8_t>(to_bits(scaled + 12582912.0f));
    out[i] = static_cast<char>(byte);
    sum += static_cast<uint32_t>(byte);
  }
  return sum;
}

// Copies `count` elements from `first` of the checkpoint tensor. Returns how many are infinite or NaN: those in whose
// Bits all of `exponent` is set.
template <class Bits>
uint64_t copy_elements(const void* source, Bits exponent, int64_t first, int64_t count, void* out) {
  const char* p = static_cast<const char*>(source) + first * static_cast<int64_t>(sizeof(Bits));
  uint32_t bad = 0;
  for (int64_t i = 0; i < count; ++i) {
    Bits x;
    memcpy(&x, p + i * static_cast<int64_t>(sizeof x), sizeof x);
    bad += (x & exponent) == exponent;
  }
  memcpy(out, p, count * sizeof(Bits));
  return bad;
}

// Stores as f32 or bf16; the target may have any alignment.
void write_elements(const float* x, int64_t count, DType dtype, char* out) {
  if (dtype == DType::kF32) {
    memcpy(out, x, count * 4);
  } else {
    for (int64_t i = 0; i < count; ++i) {
      const uint16_t half = to_bf16(x[i]);
      memcpy(out + 2 * i, &half, 2);
    }
  }
}

// ---- panels --------------------------------------------------------------------------------------------------------

constexpr int kGroup = kGateColumns;  // rows packed together: half of a panel's columns
constexpr int64_t kRun = 256;         // inputs converted at a time

// The packed matrix: a panel is `taps` times `lanes` lines of 32 columns, followed for i8 by its scales and sums.
struct Panels {
  uint32_t* data;
  DType dtype;
  int64_t panels;  // per phase
  int64_t taps, inputs;
  int64_t phases;  // 4 for upsampleConv2d
  bool gated;

  int64_t lanes_of(int64_t count) const { return (count + lane_inputs(dtype) - 1) / lane_inputs(dtype); }
  int64_t lanes() const { return lanes_of(inputs); }
  uint32_t* line(int64_t phase, int64_t panel, int64_t tap, int64_t lane) const {
    const int64_t panel_lines = taps * lanes() + (dtype == DType::kI8 ? kScaleLines : 0);
    return data + ((phase * panels + panel) * panel_lines + tap * lanes() + lane) * kPanelColumns;
  }
};

using Four = uint32_t __attribute__((vector_size(16)));

// out[lane][column] = in[column][lane] for `columns` of 16 columns; lines of the panel are kPanelColumns apart.
void transpose_group(const uint32_t (*in)[kRun], int64_t lanes, int columns, uint32_t* out) {
  if (columns < kGroup) {  // the other columns may belong to another tensor: do not write them
    for (int64_t k = 0; k < lanes; ++k) {
      for (int j = 0; j < columns; ++j) out[k * kPanelColumns + j] = in[j][k];
    }
    return;
  }
  for (int64_t k = 0; k < lanes; k += 4) {
    const int64_t left = std::min<int64_t>(4, lanes - k);
    for (int j = 0; j < kGroup; j += 4) {
      Four a, b, c, d;
      memcpy(&a, in[j] + k, 16);  // kRun is a multiple of 4, so reading beyond `lanes` is safe; it is not written
      memcpy(&b, in[j + 1] + k, 16);
      memcpy(&c, in[j + 2] + k, 16);
      memcpy(&d, in[j + 3] + k, 16);
      const Four ab_low = __builtin_shufflevector(a, b, 0, 4, 1, 5),
                 ab_high = __builtin_shufflevector(a, b, 2, 6, 3, 7);
      const Four cd_low = __builtin_shufflevector(c, d, 0, 4, 1, 5),
                 cd_high = __builtin_shufflevector(c, d, 2, 6, 3, 7);
      const Four lines[4] = {
          __builtin_shufflevector(ab_low, cd_low, 0, 1, 4, 5), __builtin_shufflevector(ab_low, cd_low, 2, 3, 6, 7),
          __builtin_shufflevector(ab_high, cd_high, 0, 1, 4, 5), __builtin_shufflevector(ab_high, cd_high, 2, 3, 6, 7)};
      for (int64_t i = 0; i < left; ++i) memcpy(out + (k + i) * kPanelColumns + j, &lines[i], 16);
    }
  }
}

// The rows [first, last] of 3x3 taps that are summed up in tap t of the 2x2 kernel of phase a.
struct TapRange {
  int first, last;
};
constexpr TapRange kUpsampleTaps[2][2] = {{{0, 0}, {1, 2}}, {{0, 1}, {2, 2}}};

// Extracts tap `tap` of the target's kernel from the inputs of one row, which are [inputs][kh * kw] as in the
// checkpoint.
void select_tap(const float* x, int64_t count, const Panels& target, int64_t phase, int64_t tap, float* out) {
  if (target.phases == 1) {
    for (int64_t i = 0; i < count; ++i) out[i] = x[i * target.taps + tap];
    return;
  }
  const TapRange rows = kUpsampleTaps[phase / 2][tap / 2], columns = kUpsampleTaps[phase % 2][tap % 2];
  for (int64_t i = 0; i < count; ++i) {
    float sum = 0;
    for (int r = rows.first; r <= rows.last; ++r) {
      for (int c = columns.first; c <= columns.last; ++c) sum += x[i * 9 + r * 3 + c];
    }
    out[i] = sum;
  }
}

// A worker's scratch memory: a run of inputs of a group's rows.
struct Scratch {
  float selected[kRun];
  uint32_t lanes[kGroup][kRun];

  // The rest of the workspace: [kGroup][inputs of the run * source taps]
  float* elements() { return reinterpret_cast<float*>(this + 1); }
};

struct PackPanels {
  Panels target;
  int64_t first_row, rows, half;  // half: rows of each half of a gated weight, else all rows
  const void* source;
  DType source_dtype;
  Workers& workers;
  std::atomic<uint64_t> non_finite = 0;

  // Groups are counted separately in each half, from the one that contains first_row.
  int64_t groups() const { return (half + kGroup - 1) / kGroup; }

  static void run(void* context, int64_t task, int worker) {
    PackPanels& self = *static_cast<PackPanels*>(context);
    self.pack(task, *static_cast<Scratch*>(self.workers.workspace(worker)));
  }

  void pack(int64_t group, Scratch& scratch) {
    const int64_t start = group / groups() * half + group % groups() * kGroup;
    const int64_t end = std::min(start + kGroup, (group / groups() + 1) * half);
    const int64_t first = std::max(start, first_row), last = std::min(end, first_row + rows);
    if (first >= last) return;
    const int64_t panel = target.gated ? group % groups() : group / 2;
    const int64_t column = (target.gated ? group / groups() : group % 2) * kGroup + first - start;
    const int columns = static_cast<int>(last - first);

    const int64_t source_taps = target.phases == 4 ? 9 : target.taps;
    const int64_t room = (Workers::kWorkspaceBytes - static_cast<int64_t>(sizeof(Scratch))) / 4 / kGroup;
    const int64_t run = std::min(kRun, room / source_taps & ~3);
    const bool bytes = target.dtype == DType::kI8;
    float scales[kGroup];
    uint32_t sums[kGroup] = {};
    for (int j = 0; bytes && j < columns; ++j) scales[j] = scale_of(first - first_row + j, scratch);
    uint64_t bad = 0;
    const bool as_they_are = source_dtype == target.dtype && source_taps == 1;
    for (int64_t input = 0; input < target.inputs; input += run) {
      const int64_t count = std::min(run, target.inputs - input);
      if (as_they_are) {
        bad += copy(first - first_row, columns, input, count, scratch.lanes);
        transpose_group(scratch.lanes, target.lanes_of(count), columns,
                        target.line(0, panel, 0, target.lanes_of(input)) + column);
        continue;
      }
      for (int j = 0; j < columns; ++j) {
        bad += read_elements(source, source_dtype, ((first - first_row + j) * target.inputs + input) * source_taps,
                             count * source_taps, scratch.elements() + j * run * source_taps);
      }
      const int64_t lanes = target.lanes_of(count);
      for (int64_t phase = 0; phase < target.phases; ++phase) {
        for (int64_t tap = 0; tap < target.taps; ++tap) {
          for (int j = 0; j < columns; ++j) {
            const float* x = scratch.elements() + j * run * source_taps;
            if (source_taps > 1) {
              select_tap(x, count, target, phase, tap, scratch.selected);
              x = scratch.selected;
            }
            if (count % lane_inputs(target.dtype)) scratch.lanes[j][lanes - 1] = 0;
            char* const lane = reinterpret_cast<char*>(scratch.lanes[j]);
            if (bytes) {
              sums[j] += write_bytes(x, count, scales[j], lane);
            } else {
              write_elements(x, count, target.dtype, lane);
            }
          }
          transpose_group(scratch.lanes, lanes, columns,
                          target.line(phase, panel, tap, target.lanes_of(input)) + column);
        }
      }
    }
    uint32_t* const behind = target.line(0, panel, target.taps, 0) + column;
    for (int j = 0; bytes && j < columns; ++j) {
      behind[j] = to_bits(scales[j]);
      behind[kPanelColumns + j] = 0u - 128u * sums[j];
    }
    non_finite.fetch_add(bad, std::memory_order_relaxed);
  }

  // The scale of the source's row `row` when converted to bytes.
  float scale_of(int64_t row, Scratch& scratch) const {
    float largest = 0;
    for (int64_t input = 0; input < target.inputs; input += kRun) {
      const int64_t count = std::min(kRun, target.inputs - input);
      read_elements(source, source_dtype, row * target.inputs + input, count, scratch.selected);
      for (int64_t i = 0; i < count; ++i) largest = std::max(largest, std::fabs(scratch.selected[i]));
    }
    return byte_scale(largest);
  }

  // Copies inputs of some rows of the source without conversion.
  uint64_t copy(int64_t row, int columns, int64_t input, int64_t count, uint32_t (*lanes)[kRun]) const {
    uint64_t bad = 0;
    for (int j = 0; j < columns; ++j) {
      const int64_t from = (row + j) * target.inputs + input;
      if (count % 2) lanes[j][target.lanes_of(count) - 1] = 0;  // pads an incomplete last pair
      bad += target.dtype == DType::kF32 ? copy_elements<uint32_t>(source, 0x7f800000, from, count, lanes[j])
                                         : copy_elements<uint16_t>(source, 0x7f80, from, count, lanes[j]);
    }
    return bad;
  }
};

uint64_t pack_panels(const View& target, int64_t first_row, int64_t rows, const void* source, DType source_dtype,
                     Workers& workers) {
  const bool convolution = target.layout == kSanaConv2d || target.layout == kSanaUpsampleConv2d;
  const bool gated = target.layout == kSanaGatedLinear, upsample = target.layout == kSanaUpsampleConv2d;
  SANA_CHECK(!convolution || target.shape[1] * target.shape[2] <= 1024, "pack: a kernel of %lld x %lld is too large",
             static_cast<long long>(target.shape[1]), static_cast<long long>(target.shape[2]));
  const int64_t columns = gated ? target.shape[0] / 2 : target.shape[0];
  const int64_t panel_columns = gated ? kGateColumns : kPanelColumns;
  PackPanels task = {{
                         .data = target.as<uint32_t>(),
                         .dtype = target.dtype,
                         .panels = (columns + panel_columns - 1) / panel_columns,
                         .taps = upsample      ? 4
                                 : convolution ? target.shape[1] * target.shape[2]
                                               : 1,
                         .inputs = convolution ? target.shape[3] : target.shape[1],
                         .phases = upsample ? 4 : 1,
                         .gated = gated,
                     },
                     first_row,
                     rows,
                     columns,
                     source,
                     source_dtype,
                     workers};
  workers.run(task.groups() * (gated ? 2 : 1), PackPanels::run, &task);
  return task.non_finite;
}

// ---- rows as they are ----------------------------------------------------------------------------------------------

// dense: lines of the last dimension, a pitch apart. depthwise: columns first_row.. of every tap.
struct PackLines {
  const View& target;
  int64_t first_row, rows, row_lines, line_elements, line_pitch;
  const void* source;
  DType source_dtype;
  Workers& workers;
  std::atomic<uint64_t> non_finite = 0;

  static constexpr int64_t kTaskElements = 1 << 16;

  int64_t elements() const { return rows * row_lines * line_elements; }

  static void run(void* context, int64_t task, int worker) {
    PackLines& self = *static_cast<PackLines*>(context);
    float* buffer = static_cast<float*>(self.workers.workspace(worker));
    const int64_t first = task * kTaskElements, end = std::min(first + kTaskElements, self.elements());
    self.non_finite.fetch_add(read_elements(self.source, self.source_dtype, first, end - first, buffer),
                              std::memory_order_relaxed);
    self.target.layout == kSanaDepthwise ? self.write_depthwise(first, end, buffer)
                                         : self.write_dense(first, end, buffer);
  }

  void write_dense(int64_t first, int64_t end, const float* x) const {
    const int64_t size = element_bytes(target.dtype);
    for (int64_t i = first; i < end;) {
      const int64_t line = i / line_elements, inside = i % line_elements;
      const int64_t count = std::min(line_elements - inside, end - i);
      const int64_t at = (first_row * row_lines + line) * line_pitch + inside;
      write_elements(x + (i - first), count, target.dtype, target.as<char>() + at * size);
      i += count;
    }
  }

  void write_depthwise(int64_t first, int64_t end, const float* x) const {
    const int64_t taps = row_lines * line_elements, size = element_bytes(target.dtype);
    for (int64_t i = first; i < end; ++i) {
      const int64_t at = i % taps * target.shape[0] + first_row + i / taps;
      write_elements(x + (i - first), 1, target.dtype, target.as<char>() + at * size);
    }
  }
};

uint64_t pack_lines(const View& target, int64_t first_row, int64_t rows, const void* source, DType source_dtype,
                    Workers& workers) {
  const bool vector = target.rank == 1;  // its rows are single elements, contiguous
  int64_t row_lines = 1;
  for (uint32_t i = 1; i + 1 < target.rank; ++i) row_lines *= target.shape[i];
  PackLines task = {target, first_row,    rows,   row_lines, vector ? 1 : target.columns(), vector ? 1 : target.pitch,
                    source, source_dtype, workers};
  workers.run((task.elements() + PackLines::kTaskElements - 1) / PackLines::kTaskElements, PackLines::run, &task);
  return task.non_finite;
}

}  // namespace

uint64_t tensor_bytes(DType dtype, uint32_t layout, uint32_t rank, const int64_t* shape) {
  if (layout == kSanaDepthwise) return static_cast<uint64_t>(shape[0] * shape[1] * shape[2] * element_bytes(dtype));
  const int64_t panels = layout == kSanaGatedLinear ? (shape[0] / 2 + kGateColumns - 1) / kGateColumns
                                                    : (shape[0] + kPanelColumns - 1) / kPanelColumns;
  const int64_t phases = layout == kSanaUpsampleConv2d ? 4 : 1;
  const int64_t taps = layout == kSanaUpsampleConv2d ? 4 : layout == kSanaConv2d ? shape[1] * shape[2] : 1;
  const int64_t lanes = (shape[rank - 1] + lane_inputs(dtype) - 1) / lane_inputs(dtype);
  const int64_t lines = taps * lanes + (dtype == DType::kI8 ? kScaleLines : 0);
  return static_cast<uint64_t>(panels * phases * lines * kPanelColumns * 4);
}

uint64_t pack_rows(const View& target, int64_t first_row, int64_t rows, const void* source, DType source_dtype,
                   Workers& workers) {
  SANA_CHECK(source_dtype == DType::kF32 || source_dtype == DType::kBF16 || source_dtype == DType::kF16,
             "pack: the source must be f32, bf16 or f16");
  SANA_CHECK(target.dtype == DType::kF32 || target.dtype == DType::kBF16 ||
                 (target.dtype == DType::kI8 && target.layout == kSanaLinear),
             "pack: the target must be f32 or bf16, or i8 in linear");
  SANA_CHECK(first_row >= 0 && rows >= 0 && first_row <= target.shape[0] && rows <= target.shape[0] - first_row,
             "pack: rows %lld + %lld are not in a tensor of %lld", static_cast<long long>(first_row),
             static_cast<long long>(rows), static_cast<long long>(target.shape[0]));
  const bool lines = target.layout == kSanaDense || target.layout == kSanaDepthwise;
  return lines ? pack_lines(target, first_row, rows, source, source_dtype, workers)
               : pack_panels(target, first_row, rows, source, source_dtype, workers);
}

}  // namespace sana::cpu
