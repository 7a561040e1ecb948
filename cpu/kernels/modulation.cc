// out[r, b] = table[r] + embedding[b, r mod rows]
//
// table [R, C] f32, embedding [B, rows C], out [R, B, C] f32. Bound by memory.

#include "cpu/kernels/kernels.h"
#include "cpu/parallel.h"

namespace sana::cpu::SANA_ISA {

void modulation(const Arguments& arguments, Workers& workers) {
  const View& table = arguments.operands[op::Modulation::kTable];
  const View& embedding = arguments.operands[op::Modulation::kEmbedding];
  const float* base = table.as<float>();                              // [R, C]
  float* out = arguments.operands[op::Modulation::kOut].as<float>();  // [R, B, C]
  const int64_t columns = table.columns(), batch = embedding.shape[0];
  const int64_t embedding_rows = embedding.columns() / columns;

  with_types(embedding, [&](const auto* add) {
    parallel_rows(workers, table.rows() * batch, columns, [&](int64_t row, int) {
      const int64_t r = row / batch, item = row % batch;
      const auto* extra = add + (item * embedding_rows + r % embedding_rows) * columns;
      for_each_vector(columns, [&](int64_t c, auto lanes) {
        store(out + row * columns + c, load(base + r * columns + c, lanes) + load(extra + c, lanes), lanes);
      });
    });
  });
}

}  // namespace sana::cpu::SANA_ISA
