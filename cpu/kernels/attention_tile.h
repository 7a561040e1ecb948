// Softmax attention of up to 64 query rows over any number of keys, a chunk of keys at a time. Each lane of a vector is
// a query row: the scores, maxima, sums and outputs of 64 rows are computed together. No step adds across lanes, so a
// row's result does not depend on the other rows.
//
//   scores[t, r] = sum_d key[t, d] q[d, r]          keys as rows, queries as columns
//   out[d, r] = sum_t value[t, d] exp(scores[t, r] - most[r]), total[r] = sum_t exp(scores[t, r] - most[r])
//
// If a later chunk has a larger score, the sums and outputs so far are scaled down first.

#pragma once

#include "cpu/kernels/tile_product.h"
#include "cpu/parallel.h"
#include "cpu/simd/functions.h"

namespace sana::cpu::SANA_ISA {

class AttentionTile {
 public:
  static constexpr int64_t kRows = 64;
  static constexpr int64_t kKeys = 128;  // per chunk

  AttentionTile(Workspace workspace, int64_t depth, int64_t rows)
      : depth_(depth), padded_(round_up(depth, kLanes)), rows_(rows), lanes_(round_up(rows, kLanes)) {
    queries_ = workspace.floats(padded_ * kRows);
    out_ = workspace.floats(padded_ * kRows);
    most_ = workspace.floats(kRows);
    total_ = workspace.floats(kRows);
    scores_ = workspace.floats(kKeys * kRows);
    keys_ = workspace.floats(kKeys * padded_);
    values_ = workspace.floats(kKeys * padded_);
    for (int64_t r = 0; r < lanes_; r += kLanes) {
      store(most_ + r, splat(-3e38f));
      store(total_ + r, zero());
      for (int64_t d = 0; d < depth; ++d) store(out_ + d * kRows + r, zero());
    }
  }

  // Sets the tile's query rows, each of D elements. Called before any keys are set.
  template <class T>
  void set_queries(const T* queries, int64_t pitch) {
    load_rows(queries, pitch, rows_, depth_, keys_, padded_);
    for (int64_t i = rows_ * padded_; i < lanes_ * padded_; i += kLanes) store(keys_ + i, zero());
    transpose_tile(keys_, padded_, lanes_, padded_, queries_, kRows);
  }

  // Sets `count` rows of D elements of the chunk, from index `at`.
  template <class T>
  void set_keys(int64_t at, const T* keys, int64_t pitch, int64_t count) {
    load_rows(keys, pitch, count, depth_, keys_ + at * padded_, padded_);
  }
  template <class T>
  void set_values(int64_t at, const T* values, int64_t pitch, int64_t count) {
    load_rows(values, pitch, count, depth_, values_ + at * padded_, padded_);
  }

  // Attends to the chunk's first `count` keys. score(product, t, r) returns the scores of key t for the rows from r,
  // given their dot products; -infinity masks the key.
  template <class F>
  void attend(int64_t count, const F& score) {
    tile_product({.rows = count,
                  .depth = depth_,
                  .columns = lanes_,
                  .a = keys_,
                  .a_row = padded_,
                  .a_column = 1,
                  .b = queries_,
                  .b_row = kRows,
                  .c = scores_,
                  .c_row = kRows,
                  .add = false});
    for (int64_t r = 0; r < lanes_; r += kLanes) {
      const Vec before = load(most_ + r);
      Vec most = before;
      for (int64_t t = 0; t < count; ++t) {
        const Vec s = score(load(scores_ + t * kRows + r), t, r);
        store(scores_ + t * kRows + r, s);
        most = max(s, most);
      }
      Vec total = zero();
      for (int64_t t = 0; t < count; ++t) {
        const Vec weight = exp(load(scores_ + t * kRows + r) - most);
        store(scores_ + t * kRows + r, weight);
        total = total + weight;
      }
      const Vec correction = exp(before - most);
      store(most_ + r, most);
      store(total_ + r, fma(load(total_ + r), correction, total));
      for (int64_t d = 0; d < depth_; ++d) store(out_ + d * kRows + r, load(out_ + d * kRows + r) * correction);
    }
    tile_product({.rows = depth_,
                  .depth = count,
                  .columns = lanes_,
                  .a = values_,
                  .a_row = 1,
                  .a_column = padded_,
                  .b = scores_,
                  .b_row = kRows,
                  .c = out_,
                  .c_row = kRows,
                  .add = true});
  }

  // Writes the tile's rows: out[d, r] / total[r], or zero if the row saw no key.
  template <class T>
  void get_output(T* out, int64_t pitch) {
    transpose_tile(out_, kRows, padded_, lanes_, keys_, padded_);
    for (int64_t r = 0; r < rows_; ++r) {
      const Vec scale = splat(total_[r] == 0.0f ? 0.0f : 1.0f / total_[r]);
      for_each_vector(depth_, [&](int64_t d, auto lanes) {
        store(out + r * pitch + d, load(keys_ + r * padded_ + d) * scale, lanes);
      });
    }
  }

 private:
  int64_t depth_, padded_;  // D, and D rounded up to whole vectors
  int64_t rows_, lanes_;    // query rows, and their number rounded up to whole vectors
  float* queries_;          // [D, kRows]
  float* out_;              // [D, kRows]
  float* most_;             // [kRows]
  float* total_;            // [kRows]
  float* scores_;           // [kKeys, kRows]
  float* keys_;             // [kKeys, D]; at the beginning the tile's queries as rows, at the end its outputs
  float* values_;           // [kKeys, D]
};

}  // namespace sana::cpu::SANA_ISA
