#include "test/simt/tensor_copies.h"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstring>
#include <deque>
#include <string>

#include "test/simt/async_checks.h"
#include "test/simt/barriers.h"
#include "test/simt/checker.h"

namespace simt {
namespace {

constexpr int kRank = 4;
constexpr int kRowBytes = 128;  // width of a box: the only one used here with the 128-byte swizzle
constexpr uint32_t kMark = 0x7e4504a9;

// The contents of the 128 bytes of a map, as the emulated driver writes them.
struct Map {
  uint32_t mark;
  bool pixels;
  uint8_t steps[kRank];
  int8_t first[2], last[2];  // for maps of pixels: the corners of the range under the first tap
  uint16_t box[kRank];       // for maps of pixels: {64, number of pixels}
  const char* data;
  uint64_t sizes[kRank];
  uint64_t distances[kRank - 1];
};
static_assert(sizeof(Map) <= sizeof(CUtensorMap));

struct Copy {
  Map map;
  char* to;
  Barrier* barrier;
  Place place;
  Fiber* starter;
};
std::deque<Copy> under_way;

Map map_of(const CUtensorMap& given, bool pixels) {
  Map map;
  std::memcpy(static_cast<void*>(&map), &given, sizeof map);
  if (map.mark != kMark || map.pixels != pixels) abandon_launch("a tensor copy without a tensor map of the right kind");
  return map;
}

// ---- what a copy reads ----------------------------------------------------------------------------------------------

// Calls row(from, bytes) for each row of a box, with the bytes of the row that are inside the tensor.
template <class Row>
void visit_row(const Map& map, const int64_t (&at)[kRank], const Row& row) {
  const auto inside = [&](int d) { return at[d] >= 0 && static_cast<uint64_t>(at[d]) < map.sizes[d]; };
  const int64_t left = static_cast<int64_t>(map.sizes[0]) - at[0];
  const bool any = inside(0) && inside(1) && inside(2) && inside(3);
  const char* from = map.data + at[0] * 2;
  for (int d = 1; d < kRank; ++d) from += at[d] * static_cast<int64_t>(map.distances[d - 1]);
  row(from, any ? static_cast<size_t>(std::min<int64_t>(left * 2, kRowBytes)) : 0);
}

template <class Row>
void each_row_of_tile(const Copy& copy, const Row& row) {
  const auto& [map, to, barrier, place, starter] = copy;
  for (int k = 0; k < map.box[3]; ++k) {
    for (int j = 0; j < map.box[2]; ++j) {
      for (int i = 0; i < map.box[1]; ++i) {
        visit_row(map, {place.at[0], place.at[1] + int64_t{i}, place.at[2] + int64_t{j}, place.at[3] + int64_t{k}},
                  row);
      }
    }
  }
}

template <class Row>
void each_row_of_pixels(const Copy& copy, const Row& row) {
  const auto& [map, to, barrier, place, starter] = copy;
  int64_t x = place.at[1], y = place.at[2], image = place.at[3];
  const int64_t last_x = static_cast<int64_t>(map.sizes[1]) - 1 + map.last[0];
  const int64_t last_y = static_cast<int64_t>(map.sizes[2]) - 1 + map.last[1];
  if (x < map.first[0] || x > last_x || y < map.first[1] || y > last_y) {
    abandon_launch("a copy of pixels that begins outside the range of the map's corners");
  }
  for (int i = 0; i < map.box[1]; ++i) {
    visit_row(map, {place.at[0], x + place.right, y + place.below, image}, row);
    if ((x += map.steps[1]) <= last_x) continue;
    x = map.first[0];
    if ((y += map.steps[2]) <= last_y) continue;
    y = map.first[1];
    ++image;
  }
}

template <class Row>
void each_row(const Copy& copy, const Row& row) {
  copy.map.pixels ? each_row_of_pixels(copy, row) : each_row_of_tile(copy, row);
}

size_t bytes_of(const Map& map) {
  return size_t(map.box[1]) * map.box[2] * map.box[3] * kRowBytes;
}

// ---- landing --------------------------------------------------------------------------------------------------------

void land(const Copy& copy) {
  Fiber* const running = context.fiber;
  context.fiber = copy.starter;
  const size_t begin = static_cast<size_t>(copy.to - reinterpret_cast<char*>(context.dynamic_shared));
  size_t at = begin;
  each_row(copy, [&](const char* from, size_t bytes) {
    char row[kRowBytes] = {};
    std::memcpy(row, from, bytes);
    for (int chunk = 0; chunk < kRowBytes; chunk += 16) {
      std::memcpy(context.dynamic_shared + swizzled(at + chunk), row + chunk, 16);
    }
    at += kRowBytes;
  });
  checker::note(copy.to, at - begin, checker::Access::kTensorLanded);
  async_checks::copy_landed(copy.to, at - begin, *copy.barrier);
  bytes_landed(*copy.barrier, static_cast<int64_t>(at - begin));
  context.fiber = running;
}

}  // namespace

void copy_tensor(void* shared, const CUtensorMap& map, bool pixels, uint64_t* barrier, const Place& place) {
  const Copy copy = {map_of(map, pixels), static_cast<char*>(shared), &barrier_at(barrier), place, context.fiber};
  const size_t bytes = bytes_of(copy.map);
  const auto offset = static_cast<size_t>(copy.to - reinterpret_cast<char*>(context.dynamic_shared));
  if (offset % kRowBytes) abandon_launch("a tensor copy to an address that is not a multiple of 128");
  if (offset > context.dynamic_shared_bytes || bytes > context.dynamic_shared_bytes - offset) {
    abandon_launch("a tensor copy beyond the dynamic shared memory");
  }
  if (!copy.barrier->seen_by_copies)
    abandon_launch("a tensor copy with a barrier without a barrier_init_done after it");
  async_checks::copy_started(shared, bytes);
  checker::note(shared, bytes, checker::Access::kTensorStarted);
  each_row(copy, [](const char* from, size_t count) {
    if (count) checker::note(from, count, checker::Access::kRead);
  });
  if (context.order == Order::kReverse) return land(copy);
  under_way.push_back(copy);
}

void forget_copies() {
  under_way.clear();
}

bool land_a_copy(std::mt19937* random) {
  if (under_way.empty()) return false;
  const size_t which = random ? (*random)() % under_way.size() : 0;
  const Copy copy = under_way[which];
  under_way.erase(under_way.begin() + static_cast<std::ptrdiff_t>(which));
  land(copy);
  return true;
}

bool copies_under_way() {
  return !under_way.empty();
}

// ---- the driver -----------------------------------------------------------------------------------------------------

namespace {

bool legal(CUtensorMap* result, CUtensorMapDataType type, uint32_t rank, const void* data, const cuuint64_t* sizes,
           const cuuint64_t* distances, const cuuint32_t* steps, CUtensorMapInterleave interleave,
           CUtensorMapSwizzle swizzle) {
  bool good = reinterpret_cast<uintptr_t>(result) % 64 == 0 && reinterpret_cast<uintptr_t>(data) % 16 == 0 && data;
  good &= type == CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 || type == CU_TENSOR_MAP_DATA_TYPE_FLOAT16;
  good &= rank == kRank && interleave == CU_TENSOR_MAP_INTERLEAVE_NONE && swizzle == CU_TENSOR_MAP_SWIZZLE_128B;
  for (int d = 0; good && d < kRank; ++d) {
    good &= sizes[d] >= 1 && sizes[d] <= uint64_t(1) << 32 && steps[d] >= 1 && steps[d] <= 8;
    if (d > 0) good &= distances[d - 1] % 16 == 0 && distances[d - 1] < uint64_t(1) << 40;
  }
  return good;
}

Map begin_map(bool pixels, const void* data, const cuuint64_t* sizes, const cuuint64_t* distances,
              const cuuint32_t* steps) {
  Map map = {};
  map.mark = kMark;
  map.pixels = pixels;
  map.data = static_cast<const char*>(data);
  for (int d = 0; d < kRank; ++d) {
    map.sizes[d] = sizes[d];
    map.steps[d] = static_cast<uint8_t>(steps[d]);
    if (d > 0) map.distances[d - 1] = distances[d - 1];
  }
  return map;
}

CUresult encode_tiled(CUtensorMap* result, CUtensorMapDataType type, cuuint32_t rank, void* data,
                      const cuuint64_t* sizes, const cuuint64_t* distances, const cuuint32_t* box,
                      const cuuint32_t* steps, CUtensorMapInterleave interleave, CUtensorMapSwizzle swizzle,
                      CUtensorMapL2promotion, CUtensorMapFloatOOBfill) {
  bool good = legal(result, type, rank, data, sizes, distances, steps, interleave, swizzle);
  for (int d = 0; good && d < kRank; ++d) good &= box[d] >= 1 && box[d] <= 256 && steps[d] == 1;
  if (!good || box[0] * 2 != kRowBytes) return CUDA_ERROR_INVALID_VALUE;
  Map map = begin_map(false, data, sizes, distances, steps);
  for (int d = 0; d < kRank; ++d) map.box[d] = static_cast<uint16_t>(box[d]);
  std::memcpy(result, static_cast<const void*>(&map), sizeof map);
  return CUDA_SUCCESS;
}

CUresult encode_im2col(CUtensorMap* result, CUtensorMapDataType type, cuuint32_t rank, void* data,
                       const cuuint64_t* sizes, const cuuint64_t* distances, const int* first, const int* last,
                       cuuint32_t channels, cuuint32_t pixels, const cuuint32_t* steps,
                       CUtensorMapInterleave interleave, CUtensorMapSwizzle swizzle, CUtensorMapL2promotion,
                       CUtensorMapFloatOOBfill) {
  bool good = legal(result, type, rank, data, sizes, distances, steps, interleave, swizzle);
  for (int d = 0; good && d < 2; ++d) {
    good &= first[d] >= -128 && first[d] <= 127 && last[d] >= -128 && last[d] <= 127;
    good &= static_cast<int64_t>(sizes[d + 1]) + last[d] - first[d] > 0;
  }
  if (!good || channels * 2 != kRowBytes || pixels < 1 || pixels > 1024) return CUDA_ERROR_INVALID_VALUE;
  Map map = begin_map(true, data, sizes, distances, steps);
  const uint16_t box[kRank] = {static_cast<uint16_t>(channels), static_cast<uint16_t>(pixels), 1, 1};
  std::memcpy(map.box, box, sizeof box);
  for (int d = 0; d < 2; ++d) {
    map.first[d] = static_cast<int8_t>(first[d]);
    map.last[d] = static_cast<int8_t>(last[d]);
  }
  std::memcpy(result, static_cast<const void*>(&map), sizeof map);
  return CUDA_SUCCESS;
}

cudaError_t driver_function(const char* name, void** function, cudaDriverEntryPointQueryResult* found) {
  const std::string wanted = name;
  *function = wanted == "cuTensorMapEncodeTiled"    ? reinterpret_cast<void*>(encode_tiled)
              : wanted == "cuTensorMapEncodeIm2col" ? reinterpret_cast<void*>(encode_im2col)
                                                    : nullptr;
  *found = *function ? cudaDriverEntryPointSuccess : cudaDriverEntryPointSymbolNotFound;
  return cudaSuccess;
}

}  // namespace
}  // namespace simt

extern "C" {

#if CUDART_VERSION >= 12050
cudaError_t cudaGetDriverEntryPointByVersion(const char* name, void** function, unsigned, unsigned long long,
                                             cudaDriverEntryPointQueryResult* found) {
  return simt::driver_function(name, function, found);
}
#else
cudaError_t cudaGetDriverEntryPoint(const char* name, void** function, unsigned long long,
                                    cudaDriverEntryPointQueryResult* found) {
  return simt::driver_function(name, function, found);
}
#endif

}  // extern "C"
