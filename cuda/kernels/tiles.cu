// Chooses a tile and the number of splits by their estimated cost.

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "cuda/error.h"
#include "cuda/kernels/tiles.h"

namespace sana::cuda {
namespace {

// The parameters of the time estimate, in cycles of a multiprocessor. Only the proportions within a unit matter.
struct Costs {
  double products;  // per cycle
  double bytes;     // per cycle from L2
  double block;     // overhead per tile: waiting for its first copies and finishing its sums
  double element_bytes;
};
constexpr Costs kCosts[] = {
    {128, 40, 2000, 4},   // kExact: the A100's, roughly
    {1024, 40, 2000, 2},  // kTensor: likewise
    {2048, 40, 2000, 1},  // kByte: likewise
    {2048, 40, 3000, 2},  // kHopper: the H100's. The next tile's first copies have already arrived, but its products
                          // do not begin before the sums of up to 256 x 144 are finished.
};
constexpr double kCombineCycles = 4000;  // the second kernel
constexpr int kBusyWarps = 8;            // two per scheduler: fewer leave the arithmetic units waiting
constexpr int kMostSplits = 32;
constexpr int kLeastSteps = 4;  // per split: with fewer, overhead dominates

// The estimated time of a product. Assumes that a multiprocessor computes its blocks one after another; computing
// several at a time takes the same total time.
double cycles(const Tile& tile, int splits, const Shape& shape, const Stream& stream) {
  const Costs& costs = kCosts[static_cast<int>(shape.unit)];
  const int64_t steps = divide_up(divide_up(shape.inputs, tile.step), splits);
  const int64_t blocks = divide_up(shape.rows, tile.rows) * divide_up(shape.sums, tile.columns) * shape.phases * splits;
  const int64_t blocks_each = divide_up(blocks, stream.multiprocessors);
  const double warps = double(min(blocks_each, int64_t(tile.blocks))) * tile.warps();
  const double rate = costs.products * min(1.0, warps / kBusyWarps);
  const double products = double(tile.rows) * tile.columns * tile.step / rate;
  const double bytes = double(tile.rows + tile.columns) * tile.step * costs.element_bytes / costs.bytes;
  const double all = (steps * max(products, bytes) + costs.block) * blocks_each;
  if (splits == 1) return all;
  const double partial = double(shape.rows) * shape.sums * shape.phases * 4 * splits;
  return all + kCombineCycles + 2 * partial / costs.bytes / stream.multiprocessors;
}

// ---- tables of tiles ------------------------------------------------------------------------------------------------

struct Table {
  const Tile* tiles;
  int count;
  int general;  // the tile for x that cannot be copied 16 bytes at a time, or -1
};

template <size_t n>
constexpr Table table(const Tile (&tiles)[n], int general) {
  return {tiles, static_cast<int>(n), general};
}

Table table_of(Unit unit) {
  switch (unit) {
    case Unit::kExact:
      return table(kExactTiles, kGeneralTile<float>);
    case Unit::kTensor:
      return table(kTensorTiles, kGeneralTile<bf16>);
    case Unit::kByte:
      return table(kByteTiles, -1);
    default:
      return table(kHopperTiles, -1);
  }
}

std::string name_of(const Tile& tile) {
  return std::to_string(tile.rows) + "x" + std::to_string(tile.columns);
}

std::string names(const Table& table) {
  std::string all;
  for (int i = 0; i < table.count; ++i) all += " " + name_of(table.tiles[i]);
  return all;
}

int find(const Table& table, const std::string& name) {
  for (int i = 0; i < table.count; ++i) {
    if (name_of(table.tiles[i]) == name) return i;
  }
  return -1;
}

// ---- choosing -------------------------------------------------------------------------------------------------------

// The parsed stream.variant for a unit: the index of the tile (-1: any) and the number of splits (0: any).
struct Variant {
  int tile = -1, splits = 0;
};

Variant parse(const Stream& stream, Unit unit) {
  Variant variant;
  const char* const text = stream.variant;
  if (text[0] == 0) return variant;
  const char* slash = std::strchr(text, '/');
  const std::string name = slash ? std::string(text, slash) : text;
  char* end = nullptr;
  const long splits = slash ? std::strtol(slash + 1, &end, 10) : 1;
  const Table own = table_of(stream.tensor_maps ? Unit::kHopper : Unit::kTensor), exact = table_of(Unit::kExact);
  const bool known = find(own, name) >= 0 || (!stream.tensor_maps && find(exact, name) >= 0);
  if (!known || (slash && (*end || end == slash + 1)) || splits < 1 || splits > kMostSplits) {
    throw Error("ERR_SANA_DEVICE",
                "there is no variant \"%s\": tiles are%s, of which f32 has%s, each with up to %d splits as in \"%s/3\"",
                text, names(own).c_str(), stream.tensor_maps ? " none" : names(exact).c_str(), kMostSplits,
                name_of(own.tiles[0]).c_str());
  }
  if (stream.tensor_maps && unit != Unit::kHopper) return variant;
  variant.tile = find(table_of(unit), name);
  variant.splits = static_cast<int>(splits);
  return variant;
}

// The largest number of splits that the steps and the workspace allow.
int most_splits(const Tile& tile, int least_steps, const Shape& shape, const Stream& stream) {
  const int64_t by_steps = divide_up(shape.inputs, tile.step) / least_steps;
  const int64_t split_bytes = shape.phases * shape.rows * padded_sums(shape.sums) * int64_t(sizeof(float));
  const int64_t by_bytes = static_cast<int64_t>(stream.workspace_bytes) / split_bytes;
  return static_cast<int>(max(int64_t(1), min(int64_t(kMostSplits), min(by_steps, by_bytes))));
}

}  // namespace

Choice choose_tile(const Shape& shape, const Stream& stream) {
  const Table table = table_of(shape.unit);
  const auto [forced, splits] = parse(stream, shape.unit);
  const int only = shape.general ? table.general : forced;
  Choice best = {};
  double least = 0;
  for (int tile = 0; tile < table.count; ++tile) {
    if (only >= 0 && tile != only) continue;
    const int most = most_splits(table.tiles[tile], splits ? 1 : kLeastSteps, shape, stream);
    for (int s = splits ? min(splits, most) : 1; s <= (splits ? min(splits, most) : most); ++s) {
      const double time = cycles(table.tiles[tile], s, shape, stream);
      if (least > 0 && time >= least) continue;
      least = time;
      best = {tile, s};
    }
  }
  return best;
}

const Tile& tile_of(Unit unit, int index) {
  return table_of(unit).tiles[index];
}

}  // namespace sana::cuda
