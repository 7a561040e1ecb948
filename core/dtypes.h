// Traits of the dtypes and layouts that core/generated/types.h lists. CPU kernels include this header once per
// instruction set, so functions are always inlined.

#pragma once

#include <stdint.h>

#include "core/backend.h"

namespace sana {

#define SANA_ENUMERATOR(name, ...) k##name,
enum class DType : uint32_t { SANA_DTYPES(SANA_ENUMERATOR) };
#undef SANA_ENUMERATOR

// `kQuantized`: one-byte elements with one scale per row of a matrix; only weights can have such a dtype.
enum class DTypeKind { kActivation, kInteger, kQuantized };

#define SANA_NAME(name, text, ...) text,
inline constexpr const char* kDTypeNames[] = {SANA_DTYPES(SANA_NAME)};
inline constexpr const char* kLayoutNames[] = {SANA_LAYOUTS(SANA_NAME)};
#undef SANA_NAME

// The same names as one list of choices: "f32|bf16|...".
#define SANA_CHOICE(name, text, ...) "|" text
inline constexpr const char* kDTypeChoices = &(SANA_DTYPES(SANA_CHOICE))[1];
inline constexpr const char* kLayoutChoices = &(SANA_LAYOUTS(SANA_CHOICE))[1];
#undef SANA_CHOICE

// Sets of dtypes.
#define SANA_MASK(name, ...) kDType##name = 1u << kSana##name,
#define SANA_ACTIVATION(name, text, bytes, kind) \
  | (DTypeKind::k##kind == DTypeKind::kActivation ? uint32_t{kDType##name} : 0u)
enum DTypes : uint32_t { SANA_DTYPES(SANA_MASK) kDTypeAny = ~0u };
inline constexpr uint32_t kDTypeActivation = 0u SANA_DTYPES(SANA_ACTIVATION);
#undef SANA_MASK
#undef SANA_ACTIVATION

[[gnu::always_inline]] constexpr DTypeKind kind_of(DType dtype) {
  switch (dtype) {
#define SANA_KIND(name, text, bytes, kind) \
  case DType::k##name:                     \
    return DTypeKind::k##kind;
    SANA_DTYPES(SANA_KIND)
#undef SANA_KIND
  }
  return {};
}

[[gnu::always_inline]] constexpr int64_t element_bytes(DType dtype) {
  switch (dtype) {
#define SANA_BYTES(name, text, bytes, kind) \
  case DType::k##name:                      \
    return bytes;
    SANA_DTYPES(SANA_BYTES)
#undef SANA_BYTES
  }
  return 0;
}
[[gnu::always_inline]] constexpr uint64_t element_bytes(uint32_t dtype) {
  return static_cast<uint64_t>(element_bytes(static_cast<DType>(dtype)));
}

[[gnu::always_inline]] constexpr bool is_activation(DType dtype) {
  return kind_of(dtype) == DTypeKind::kActivation;
}
[[gnu::always_inline]] constexpr bool is_activation(uint32_t dtype) {
  return is_activation(static_cast<DType>(dtype));
}
[[gnu::always_inline]] constexpr bool is_quantized(DType dtype) {
  return kind_of(dtype) == DTypeKind::kQuantized;
}
[[gnu::always_inline]] constexpr bool is_quantized(uint32_t dtype) {
  return is_quantized(static_cast<DType>(dtype));
}

// The number of dimensions of the logical shape of a tensor of this layout; 0: any number.
[[gnu::always_inline]] constexpr uint32_t layout_rank(uint32_t layout) {
#define SANA_RANK(name, text, rank, dtypes) rank,
  constexpr uint32_t ranks[] = {SANA_LAYOUTS(SANA_RANK)};
#undef SANA_RANK
  return ranks[layout];
}

// The dtypes that a tensor of this layout can have.
[[gnu::always_inline]] constexpr uint32_t layout_dtypes(uint32_t layout) {
#define SANA_DTYPES_OF(name, text, rank, dtypes) dtypes,
  constexpr uint32_t masks[] = {SANA_LAYOUTS(SANA_DTYPES_OF)};
#undef SANA_DTYPES_OF
  return masks[layout];
}

}  // namespace sana
