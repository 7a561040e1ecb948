// The 8-bit format e4m3: a sign, four exponent bits with bias 7, three fraction bits. The encodings that mean infinity
// in other formats are numbers too, up to 448; 0x7f and 0xff are NaN.

#pragma once

#include <cstdint>
#include <cstring>
#include <limits>

namespace simt {

struct f8 {
  uint8_t bits;
};

// Rounds to nearest even; magnitudes above 448 become 448, any NaN becomes 0x7f: cvt.rn.satfinite.e4m3x2.f32.
inline f8 to_f8(float x) {
  constexpr uint32_t kLargest = 0x7e;
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  const uint32_t sign = bits >> 24 & 0x80, size = bits & 0x7fffffff;
  if (size > 0x7f800000) return {0x7f};
  uint32_t nearest;
  if (size < 0x3c800000) {  // below 2^-6 the spacing is 2^-9, which is that of f32 at 2^14
    float positive;
    std::memcpy(&positive, &size, sizeof positive);
    const float sum = positive + 16384.0f;
    std::memcpy(&nearest, &sum, sizeof nearest);
    nearest -= 0x46800000;
  } else {  // the exponent's bias changes from 127 to 7
    nearest = ((size + 0x7ffff + (size >> 20 & 1)) >> 20) - (120 << 3);
  }
  return {static_cast<uint8_t>(sign | (nearest < kLargest ? nearest : kLargest))};
}

inline float to_float(f8 x) {
  const int exponent = x.bits >> 3 & 15, fraction = x.bits & 7;
  float size = static_cast<float>(exponent ? 8 + fraction : fraction) * (1.0f / 512);
  if (exponent > 1) size *= static_cast<float>(1 << (exponent - 1));
  if (exponent == 15 && fraction == 7) size = std::numeric_limits<float>::quiet_NaN();
  return x.bits & 0x80 ? -size : size;
}

}  // namespace simt
