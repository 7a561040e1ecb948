#include "core/tensor.h"

#include <algorithm>
#include <iterator>

#include "core/device.h"
#include "core/error.h"

namespace sana {
namespace {

constexpr uint64_t kPackedAlignment = 64;

static_assert(kMostRank == kSanaMaxRank && kMostListLength == kSanaMaxList);

// "f32, bf16 or f16"
std::string names_of(uint32_t dtypes) {
  std::string text;
  for (uint32_t dtype = 0; dtype < std::size(kDTypeNames); ++dtype) {
    if ((dtypes >> dtype & 1) == 0) continue;
    const bool last = dtypes >> dtype == 1;
    text += (text.empty() ? "" : last ? " or " : ", ") + std::string(kDTypeNames[dtype]);
  }
  return text;
}

void check_layout(const SanaTensor& tensor) {
  const std::string text = to_text(tensor);
  const int64_t* shape = tensor.shape;
  if (tensor.layout == kSanaDense) return;
  const uint32_t rank = layout_rank(tensor.layout), dtypes = layout_dtypes(tensor.layout);
  SANA_CHECK(tensor.rank == rank, "%s must have %u dimensions", text.c_str(), rank);
  SANA_CHECK(dtypes >> tensor.dtype & 1, "%s must be %s", text.c_str(), names_of(dtypes).c_str());
  if (tensor.layout == kSanaGatedLinear) {
    SANA_CHECK(shape[0] % 2 == 0, "%s must have an even number of rows", text.c_str());
  }
  if (tensor.layout == kSanaUpsampleConv2d) {
    SANA_CHECK(shape[1] == 3 && shape[2] == 3, "%s must be [O, 3, 3, I]", text.c_str());
  }
}

// A tensor as `rows` pieces of `width` bytes, `pitch` bytes apart.
struct Rectangle {
  int64_t start, width, rows, pitch;
  int64_t end() const { return start + (rows - 1) * pitch + width; }
};

Rectangle rectangle(const Device& device, const SanaTensor& tensor) {
  const int64_t start = int64_t(tensor.offset), size = int64_t(element_bytes(tensor.dtype));
  if (tensor.layout != kSanaDense || tensor.pitch == columns(tensor)) {
    return {start, int64_t(span_bytes(device, tensor)), 1, 0};
  }
  return {start, columns(tensor) * size, rows(tensor), tensor.pitch * size};
}

}  // namespace

std::string to_text(const SanaTensor& tensor) {
  std::string text = kDTypeNames[tensor.dtype];
  if (tensor.layout != kSanaDense) text += std::string(" ") + kLayoutNames[tensor.layout];
  for (uint32_t i = 0; i < tensor.rank; ++i) text += (i ? ", " : " [") + std::to_string(tensor.shape[i]);
  text += "]";
  if (tensor.layout == kSanaDense && tensor.pitch != columns(tensor)) text += " pitch " + std::to_string(tensor.pitch);
  return text;
}

int64_t columns(const SanaTensor& tensor) {
  return tensor.shape[tensor.rank - 1];
}

int64_t rows(const SanaTensor& tensor) {
  int64_t rows = 1;
  for (uint32_t i = 0; i + 1 < tensor.rank; ++i) rows *= tensor.shape[i];
  return rows;
}

int64_t elements(const SanaTensor& tensor) {
  return rows(tensor) * columns(tensor);
}

void check_shape(const SanaTensor& tensor) {
  SANA_CHECK(tensor.rank >= 1 && tensor.rank <= kSanaMaxRank, "a tensor must have 1 to 4 dimensions, got %u",
             tensor.rank);
  int64_t count = 1;
  for (uint32_t i = 0; i < tensor.rank; ++i) {
    SANA_CHECK(tensor.shape[i] >= 1 && tensor.shape[i] < kMostElements / count,
               "%s must have sizes of at least 1 and fewer than 2^40 elements", to_text(tensor).c_str());
    count *= tensor.shape[i];
  }
  check_layout(tensor);
}

void check_tensor(const Device& device, const SanaTensor& tensor, uint64_t buffer_bytes) {
  check_shape(tensor);
  const std::string text = to_text(tensor);
  const bool dense = tensor.layout == kSanaDense;
  SANA_CHECK(tensor.pitch == columns(tensor) || (dense && tensor.pitch > columns(tensor)),
             "%s must have a pitch of %s%lld elements, got %lld", text.c_str(), dense ? "at least " : "",
             static_cast<long long>(columns(tensor)), static_cast<long long>(tensor.pitch));
  // rows * pitch < 2^40, hence every address below fits.
  SANA_CHECK(tensor.pitch < kMostElements / rows(tensor), "%s is too large", text.c_str());
  const uint64_t alignment = dense ? element_bytes(tensor.dtype) : kPackedAlignment;
  SANA_CHECK(tensor.offset % alignment == 0, "%s must start at a multiple of %llu bytes, got offset %llu", text.c_str(),
             static_cast<unsigned long long>(alignment), static_cast<unsigned long long>(tensor.offset));
  const uint64_t span = span_bytes(device, tensor);
  SANA_CHECK(span <= buffer_bytes && tensor.offset <= buffer_bytes - span,
             "%s takes %llu bytes at offset %llu, outside its buffer of %llu bytes", text.c_str(),
             static_cast<unsigned long long>(span), static_cast<unsigned long long>(tensor.offset),
             static_cast<unsigned long long>(buffer_bytes));
}

uint64_t span_bytes(const Device& device, const SanaTensor& tensor) {
  if (tensor.layout == kSanaDense) {
    return uint64_t((rows(tensor) - 1) * tensor.pitch + columns(tensor)) * element_bytes(tensor.dtype);
  }
  uint64_t bytes;
  SanaFailure failure;
  check(device.backend().tensor_bytes(device.handle(), tensor.dtype, tensor.layout, tensor.rank, tensor.shape, &bytes,
                                      &failure),
        failure);
  return bytes;
}

bool overlap(const Device& device, const SanaTensor& one, const SanaTensor& other) {
  const Rectangle a = rectangle(device, one), b = rectangle(device, other);
  if (a.end() <= b.start || b.end() <= a.start) return false;
  if (a.rows > 1 && b.rows > 1 && a.pitch != b.pitch) return true;  // conservative: no program needs this case
  // Row i of a meets row j of b when (i - j) pitch lies strictly between distance - a.width and distance + b.width.
  const int64_t pitch = a.rows > 1 ? a.pitch : b.rows > 1 ? b.pitch : 1;
  const int64_t distance = b.start - a.start;
  const int64_t low = distance - a.width;  // find the smallest multiple of `pitch` above it
  const int64_t above = low >= 0 ? low / pitch + 1 : -((-low - 1) / pitch);
  const int64_t difference = std::max(above, -(b.rows - 1));
  return difference <= a.rows - 1 && difference * pitch < distance + b.width;
}

bool same_place(const SanaTensor& a, const SanaTensor& b) {
  return a.buffer == b.buffer && a.offset == b.offset && a.dtype == b.dtype && a.layout == b.layout &&
         a.rank == b.rank && a.pitch == b.pitch && std::equal(a.shape, a.shape + a.rank, b.shape);
}

}  // namespace sana
