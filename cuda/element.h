// Elements of activations: f32 in registers; f32, bf16 or f16 in memory.

#pragma once

#include <cstring>
#include <type_traits>

#include "cuda/kernel.h"
#include "cuda/machine/machine.h"

namespace sana::cuda {

__device__ __forceinline__ float to_float(float x) {
  return x;
}
__device__ __forceinline__ float to_float(bf16 x) {
  return __bfloat162float(x);
}
__device__ __forceinline__ float to_float(f16 x) {
  return __half2float(x);
}

// Rounds to nearest even.
template <class T>
__device__ __forceinline__ T from_float(float x);

template <>
__device__ __forceinline__ float from_float<float>(float x) {
  return x;
}
template <>
__device__ __forceinline__ bf16 from_float<bf16>(float x) {
  return __float2bfloat16_rn(x);
}
template <>
__device__ __forceinline__ f16 from_float<f16>(float x) {
  return __float2half_rn(x);
}

// The largest memory access of one instruction: 16 bytes.
template <class T, int N>
struct alignas(sizeof(T) * N < 16 ? sizeof(T) * N : 16) Vector {
  T elements[N];
};

// Loads or stores N successive elements, N a power of two. The address is a multiple of their size, or of 16 bytes if
// they are larger.
template <int N, class T>
__device__ __forceinline__ void load(const T* from, float (&to)[N]) {
  const Vector<T, N> vector = *reinterpret_cast<const Vector<T, N>*>(from);
#pragma unroll
  for (int i = 0; i < N; ++i) to[i] = to_float(vector.elements[i]);
}

template <int N, class T>
__device__ __forceinline__ void store(T* to, const float (&from)[N]) {
  Vector<T, N> vector;
#pragma unroll
  for (int i = 0; i < N; ++i) vector.elements[i] = from_float<T>(from[i]);
  *reinterpret_cast<Vector<T, N>*>(to) = vector;
}

// Integers, unconverted.
template <int N>
__device__ __forceinline__ void load(const int32_t* from, int32_t (&to)[N]) {
  const Vector<int32_t, N> vector = *reinterpret_cast<const Vector<int32_t, N>*>(from);
#pragma unroll
  for (int i = 0; i < N; ++i) to[i] = vector.elements[i];
}

template <int N>
__device__ __forceinline__ void store(int32_t* to, const int32_t (&from)[N]) {
  Vector<int32_t, N> vector;
#pragma unroll
  for (int i = 0; i < N; ++i) vector.elements[i] = from[i];
  *reinterpret_cast<Vector<int32_t, N>*>(to) = vector;
}

// N successive elements in their memory format, to be converted when they are used: 16-bit elements take half the
// registers. Stored as 32-bit words, because the device's compiler splits and recombines 16-bit registers.
template <class T, int N>
struct alignas(sizeof(T) * N < 16 ? sizeof(T) * N : 16) Packed {
  using Word = std::conditional_t<sizeof(T) * N % 4 == 0, uint32_t, uint16_t>;
  static constexpr int kWordElements = sizeof(Word) / sizeof(T);
  Word words[N / kWordElements] = {};

  __device__ __forceinline__ Packed() {}
  // The address is a multiple of the size of the elements (or of 16 bytes if larger). If not `valid`, nothing is read
  // and the elements are zero.
  __device__ __forceinline__ explicit Packed(const T* from, bool valid = true) {
    if (valid) *this = *reinterpret_cast<const Packed*>(from);
  }

  __device__ __forceinline__ float operator[](int i) const {
    const Word word = words[i / kWordElements];
    const int shift = i % kWordElements * 16;
    if constexpr (std::is_same_v<T, f16>) {
      const auto bits = static_cast<uint16_t>(word >> shift);
      f16 element;
      memcpy(static_cast<void*>(&element), &bits, sizeof element);
      return to_float(element);
    } else {  // f32, or bf16, which is the upper half of an f32
      const uint32_t bits = sizeof(T) == 4 ? word : shift ? word & 0xffff0000u : uint32_t{word} << 16;
      float element;
      memcpy(&element, &bits, sizeof element);
      return element;
    }
  }
};

__device__ __forceinline__ float activate(Activation function, float x) {
  switch (function) {
    case Activation::kSilu:
      return x / (1.0f + expf(-x));
    case Activation::kGeluTanh: {
      // x sigmoid(2 u) is x / 2 (1 + tanh(u))
      const float u = 0.7978845608028654f * (x + 0.044715f * x * x * x);
      return x / (1.0f + expf(-2.0f * u));
    }
    case Activation::kRelu:
      return x > 0.0f || x != x ? x : 0.0f;
    default:
      return x;
  }
}

template <class T>
struct TypeTag {
  using Type = T;
};

// Calls body(TypeTag<T>) for the type of an activation.
template <class Body>
void with_type(DType dtype, Body&& body) {
  switch (dtype) {
    case DType::kF32:
      return body(TypeTag<float>());
    case DType::kBF16:
      return body(TypeTag<bf16>());
    case DType::kF16:
      return body(TypeTag<f16>());
    default:
      throw Error("ERR_SANA_PROGRAM", "no kernel for the dtype %u", static_cast<unsigned>(dtype));
  }
}

// Calls body for the type of quantised rows.
template <class Body>
void with_quantized_type(DType dtype, Body&& body) {
  if (dtype == DType::kF8) return body(TypeTag<f8>());
  body(TypeTag<int8_t>());
}

// Calls body(TypeTag<X>, TypeTag<Out>): out has x's type, or one of the two is f32.
template <class Body>
void with_types(DType x, DType out, Body&& body) {
  if (x == out) return with_type(x, [&](auto tag) { body(tag, tag); });
  if (out == DType::kF32) return with_type(x, [&](auto tag) { body(tag, TypeTag<float>()); });
  if (x == DType::kF32) return with_type(out, [&](auto tag) { body(TypeTag<float>(), tag); });
  throw Error("ERR_SANA_PROGRAM", "no kernel from bf16 to f16 or back: convert to f32 between them");
}

// Whether every row of the operands starts at a multiple of `elements` elements, so that rows can be read as vectors.
inline bool vector_rows(int64_t elements, std::initializer_list<const View*> views) {
  for (const View* view : views) {
    if (!*view) continue;
    const size_t bytes = static_cast<size_t>(element_bytes(view->dtype));
    const size_t alignment = elements * bytes < 16 ? elements * bytes : 16;
    if (view->columns() % elements || view->pitch % elements) return false;
    if (reinterpret_cast<uintptr_t>(view->data) % alignment) return false;
  }
  return true;
}

}  // namespace sana::cuda
