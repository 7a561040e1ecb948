// Choosing a tile and the number of splits by what they should cost.

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "cuda/error.h"
#include "cuda/kernels/tiles.h"

namespace sana::cuda {
namespace {

// Cycles of a multiprocessor, roughly those of the A100. Only their proportions matter.
constexpr double kTensorProducts = 1024;  // per cycle, bf16 and f16
constexpr double kExactProducts = 128;
constexpr double kBytes = 40;            // per cycle from L2
constexpr double kBlockCycles = 2000;    // of a block: its first copies on their way, its sums finished
constexpr double kCombineCycles = 4000;  // of the second kernel
constexpr int kBusyWarps = 8;            // two per scheduler: fewer leave the arithmetic units waiting
constexpr int kMostSplits = 32;
constexpr int kLeastSteps = 4;  // of a split: fewer are all beginning and end

// The time of a product. A multiprocessor computes its blocks one after another, or several as slowly at a time.
double cycles(const Tile& tile, int splits, const Shape& shape, const Stream& stream) {
  const int64_t steps = divide_up(divide_up(shape.inputs, tile.step), splits);
  const int64_t blocks = divide_up(shape.rows, tile.rows) * divide_up(shape.sums, tile.columns) * shape.phases * splits;
  const int64_t blocks_each = divide_up(blocks, stream.multiprocessors);
  const double warps = double(min(blocks_each, int64_t(tile.blocks))) * tile.warps();
  const double rate = (shape.exact ? kExactProducts : kTensorProducts) * min(1.0, warps / kBusyWarps);
  const double products = double(tile.rows) * tile.columns * tile.step / rate;
  const double bytes = double(tile.rows + tile.columns) * tile.step * (shape.exact ? 4 : 2) / kBytes;
  const double all = (steps * max(products, bytes) + kBlockCycles) * blocks_each;
  if (splits == 1) return all;
  const double partial = double(shape.rows) * shape.sums * shape.phases * 4 * splits;
  return all + kCombineCycles + 2 * partial / kBytes / stream.multiprocessors;
}

bool named(const Tile& tile, const std::string& name) {
  return name == std::to_string(tile.rows) + "x" + std::to_string(tile.columns);
}

template <size_t n>
std::string names(const Tile (&table)[n]) {
  std::string all;
  for (const Tile& tile : table) all += " " + std::to_string(tile.rows) + "x" + std::to_string(tile.columns);
  return all;
}

template <size_t n>
int find(const Tile (&table)[n], const std::string& name) {
  for (size_t i = 0; i < n; ++i) {
    if (named(table[i], name)) return static_cast<int>(i);
  }
  return -1;
}

// What stream.variant says: the index of its tile in each table, and the splits. -1, 0: nothing.
struct Variant {
  int tensor = -1, exact = -1, splits = 0;
};

Variant parse(const char* text) {
  Variant variant;
  if (text[0] == 0) return variant;
  const char* slash = std::strchr(text, '/');
  const std::string name = slash ? std::string(text, slash) : text;
  char* end = nullptr;
  const long splits = slash ? std::strtol(slash + 1, &end, 10) : 1;
  variant.tensor = find(kTensorTiles, name);
  variant.exact = find(kExactTiles, name);
  if ((variant.tensor < 0 && variant.exact < 0) || (slash && (*end || end == slash + 1)) || splits < 1 ||
      splits > kMostSplits) {
    throw Error(
        "ERR_SANA_DEVICE",
        "there is no variant \"%s\": tiles are%s, of which f32 has%s, each with up to %d splits as in \"64x64/3\"",
        text, names(kTensorTiles).c_str(), names(kExactTiles).c_str(), kMostSplits);
  }
  variant.splits = static_cast<int>(splits);
  return variant;
}

// The most splits that the steps and the workspace allow.
int most_splits(const Tile& tile, int least_steps, const Shape& shape, const Stream& stream) {
  const int64_t by_steps = divide_up(shape.inputs, tile.step) / least_steps;
  const int64_t split_bytes = shape.phases * shape.rows * padded_sums(shape.sums) * int64_t(sizeof(float));
  const int64_t by_bytes = static_cast<int64_t>(stream.workspace_bytes) / split_bytes;
  return static_cast<int>(max(int64_t(1), min(int64_t(kMostSplits), min(by_steps, by_bytes))));
}

template <size_t n>
Choice choose(const Tile (&table)[n], int only, int splits, const Shape& shape, const Stream& stream) {
  Choice best = {};
  double least = 0;
  for (int tile = 0; tile < static_cast<int>(n); ++tile) {
    if (only >= 0 && tile != only) continue;
    const int most = most_splits(table[tile], splits ? 1 : kLeastSteps, shape, stream);
    for (int s = splits ? min(splits, most) : 1; s <= (splits ? min(splits, most) : most); ++s) {
      const double time = cycles(table[tile], s, shape, stream);
      if (least > 0 && time >= least) continue;
      least = time;
      best = {tile, s};
    }
  }
  return best;
}

}  // namespace

Choice choose_tile(const Shape& shape, const Stream& stream) {
  const Variant variant = parse(stream.variant);
  if (shape.exact) {
    return choose(kExactTiles, shape.general ? kGeneralTile<float> : variant.exact, variant.splits, shape, stream);
  }
  return choose(kTensorTiles, shape.general ? kGeneralTile<bf16> : variant.tensor, variant.splits, shape, stream);
}

}  // namespace sana::cuda
