// The shadow memory of the checked build: the last write and the last reads of every two bytes of memory.

#pragma once

#include <cstddef>
#include <cstdint>

namespace simt::checker {

// The state of two bytes. Epochs are those of Context; 0 means never. A cell has one writer and one reader. If several
// threads have read since the last barrier, it only records that there were several.
struct Cell {
  uint32_t write_epoch, read_epoch;
  uint16_t writer : 10, write_bytes : 2, write_atomic : 1, write_in_flight : 1, write_by_tensor_copy : 1;
  uint16_t reader : 10, read_bytes : 2, read_by_warp : 1, read_by_block : 1, read_by_grid : 1;
  uint16_t write_warp_epoch, read_warp_epoch;
};
static_assert(sizeof(Cell) == 16);

// Zeroed pages, allocated when first accessed.
class Pages {
 public:
  explicit Pages(size_t bytes);
  ~Pages();
  Pages(const Pages&) = delete;
  Pages& operator=(const Pages&) = delete;
  char* data() const { return data_; }

 private:
  char* const data_;
  const size_t bytes_;
};

// The shadow of a range of memory.
class Shadow {
 public:
  Shadow(uintptr_t begin, size_t bytes)
      : begin(begin), bytes(bytes), cells_((bytes / 2 + 2) * sizeof(Cell)), filled_(bytes + 16) {}

  // Wraps around below `begin`.
  bool holds(uintptr_t address) const { return address - begin < bytes; }
  Cell& cell(uintptr_t address) const { return reinterpret_cast<Cell*>(cells_.data())[(address - begin) / 2]; }

  // Whether these bytes have ever been written.
  bool is_filled(uintptr_t address, size_t count) const;
  void fill(uintptr_t address, size_t count);

  const uintptr_t begin;
  const size_t bytes;

 private:
  Pages cells_, filled_;  // filled_: a nonzero byte for every byte that was written
  bool all_filled_ = false;
};

}  // namespace simt::checker
