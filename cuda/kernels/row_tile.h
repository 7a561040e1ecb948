// How the rows of a norm are distributed over threads, so that each row is read from memory once and stays in
// registers.
//
// A row is C / N vectors of N elements. Each of its threads holds up to V vectors, in the elements' type: thread t
// holds vectors t, t + threads, ... Short rows share a warp, and rows within a warp need no barrier; the longest rows
// take a block each.

#pragma once

#include "cuda/kernel.h"

namespace sana::cuda {

template <int N, int V>
struct RowTile {
  static constexpr int kElements = N;  // per vector
  static constexpr int kVectors = V;   // per thread

  static constexpr int64_t kMostColumns = kMostChannels;
  // One or two vectors per thread are for rows that fit in a warp.
  static constexpr int kMostThreadsOfRow = V <= 2 ? 32 : (kMostColumns + N * V * 32 - 1) / (N * V * 32) * 32;
  static constexpr int kShortRowThreads = 128;
  static constexpr int kThreads = kMostThreadsOfRow > kShortRowThreads ? kMostThreadsOfRow : kShortRowThreads;

  int threads;  // per row
  int block;
  unsigned grid;

  RowTile(int64_t rows, int64_t columns) {
    const int64_t needed = divide_up(columns, N * V);
    threads = 1;
    while (threads < needed && threads < 32) threads *= 2;
    if (needed > 32) threads = static_cast<int>(divide_up(needed, 32) * 32);
    if (threads > kMostThreadsOfRow) {
      throw Error("ERR_SANA_PROGRAM", "no kernel for rows of %lld elements", static_cast<long long>(columns));
    }
    block = threads > 32 ? threads : kShortRowThreads;
    grid = grid_size(divide_up(rows * threads, block));
  }
};

// Calls body(RowTile<N, V>) for rows of this many elements in vectors of N.
//
//   V    rows of 16-bit elements    why
//   1    up to 256                  a warp or part of one: a row of 128 channels takes half a warp
//   2    up to 512
//   5    all longer                 1152 channels take one warp and 2240 take two, with 20 registers of each thread
//   16   of single elements         16384 of them take a block
template <int N, class Body>
void with_row_tile(int64_t rows, int64_t columns, Body&& body) {
  if (columns <= 32 * N) return body(RowTile<N, 1>(rows, columns));
  if constexpr (N == 1) {
    body(RowTile<N, 16>(rows, columns));
  } else {
    if (columns <= 64 * N) return body(RowTile<N, 2>(rows, columns));
    body(RowTile<N, 5>(rows, columns));
  }
}

}  // namespace sana::cuda
