#include "test/simt/collectives.h"

#include <cstring>
#include <type_traits>

namespace simt {
namespace {

void need_all(unsigned lanes, const char* instruction) {
  if (lanes != ~0u) abandon_launch(std::string(instruction) + " without all 32 lanes of the warp");
}

template <bool transposed>
void load(unsigned lanes, Slots& slots) {
  need_all(lanes, "load_matrices");
  uint16_t matrices[4][8][8];
  for (int lane = 0; lane < 32; ++lane) {
    const void* row;
    std::memcpy(&row, slots[lane], sizeof row);
    std::memcpy(matrices[lane / 8][lane % 8], row, 16);
  }
  for (int lane = 0; lane < 32; ++lane) {
    const int r = lane / 4, c = lane % 4 * 2;
    uint16_t out[4][2];
    for (int m = 0; m < 4; ++m) {
      out[m][0] = transposed ? matrices[m][c][r] : matrices[m][r][c];
      out[m][1] = transposed ? matrices[m][c + 1][r] : matrices[m][r][c + 1];
    }
    std::memcpy(slots[lane], out, sizeof out);
  }
}

template <class T>
using Sum = std::conditional_t<std::is_same_v<T, int8_t>, int32_t, float>;

// An element of a register; element 0 is in the lowest bits.
template <class T>
Sum<T> element(uint32_t bits, int which) {
  if constexpr (std::is_same_v<T, int8_t>) {
    return static_cast<int8_t>(bits >> which * 8);
  } else if constexpr (std::is_same_v<T, f8>) {
    return to_float(f8{static_cast<uint8_t>(bits >> which * 8)});
  } else {
    return to_float(static_cast<uint16_t>(bits >> which * 16), T());
  }
}

}  // namespace

float to_float(uint16_t bits, __nv_bfloat16) {
  const uint32_t wide = uint32_t{bits} << 16;
  float x;
  std::memcpy(&x, &wide, sizeof x);
  return x;
}
float to_float(uint16_t bits, __half x) {
  std::memcpy(static_cast<void*>(&x), &bits, sizeof x);
  return __half2float(x);
}

void sync_warp(unsigned, Slots&) {
  ++context.fiber->warp->epoch;
}

void ballot(unsigned lanes, Slots& slots) {
  unsigned votes = 0;
  for (int lane = 0; lane < 32; ++lane) {
    int vote;
    std::memcpy(&vote, slots[lane], sizeof vote);
    if (lanes >> lane & 1 && vote) votes |= 1u << lane;
  }
  for (auto& slot : slots) std::memcpy(slot, &votes, sizeof votes);
}

void load_matrices(unsigned lanes, Slots& slots) {
  load<false>(lanes, slots);
}
void load_matrices_transposed(unsigned lanes, Slots& slots) {
  load<true>(lanes, slots);
}

template <class T>
void mma(unsigned lanes, Slots& slots) {
  typedef Sum<T> Row __attribute__((vector_size(32)));
  constexpr int kHeld = 4 / sizeof(T), kHalf = 4 * kHeld;  // elements per register; elements of K per row's registers
  need_all(lanes, "mma");
  Sum<T> left[16][2 * kHalf];
  Row right[2 * kHalf], sums[16];
  for (int lane = 0; lane < 32; ++lane) {
    MmaOperands<Sum<T>> in;
    std::memcpy(&in, slots[lane], sizeof in);
    const int g = lane / 4, t = lane % 4 * 2, k = lane % 4 * kHeld;
    for (int j = 0; j < kHeld; ++j) {
      for (int i = 0; i < 4; ++i) left[g + i % 2 * 8][k + i / 2 * kHalf + j] = element<T>(in.a[i], j);
      for (int i = 0; i < 2; ++i) right[k + i * kHalf + j][g] = element<T>(in.b[i], j);
    }
    for (int i = 0; i < 4; ++i) sums[g + i / 2 * 8][t + i % 2] = in.c[i];
  }
  for (int m = 0; m < 16; ++m) {
    for (int k = 0; k < 2 * kHalf; ++k) sums[m] += left[m][k] * right[k];
  }
  for (int lane = 0; lane < 32; ++lane) {
    const int g = lane / 4, t = lane % 4 * 2;
    const Sum<T> out[4] = {sums[g][t], sums[g][t + 1], sums[g + 8][t], sums[g + 8][t + 1]};
    std::memcpy(slots[lane], out, sizeof out);
  }
}

template void mma<__nv_bfloat16>(unsigned, Slots&);
template void mma<__half>(unsigned, Slots&);
template void mma<int8_t>(unsigned, Slots&);
template void mma<f8>(unsigned, Slots&);

}  // namespace simt
