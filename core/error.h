// The only exception type of the native code, and the macro that throws it. It never crosses N-API or the backend
// table: the addon turns it into a JavaScript error (binding/javascript.h), a backend into a SanaFailure
// (core/attempt.h).

#pragma once

#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <exception>

namespace sana {

class Error : public std::exception {
 public:
  // `code` is a string literal, one of the ERR_SANA_* codes of the public API.
  __attribute__((format(printf, 3, 4))) Error(const char* code, const char* format, ...) : code_(code) {
    va_list arguments;
    va_start(arguments, format);
    std::vsnprintf(message_, sizeof message_, format, arguments);
    va_end(arguments);
  }

  const char* what() const noexcept override { return message_; }
  const char* code() const noexcept { return code_; }

  // The same error, about calls `first` to `last` of a program.
  Error in_calls(int64_t first, int64_t last) const {
    Error error = *this;
    error.first_call_ = static_cast<int32_t>(first);
    error.last_call_ = static_cast<int32_t>(last);
    return error;
  }
  Error in_call(int64_t call) const { return in_calls(call, call); }
  // -1: the error is not about a call.
  int32_t first_call() const noexcept { return first_call_; }
  int32_t last_call() const noexcept { return last_call_; }

 private:
  const char* code_;
  char message_[1024];
  int32_t first_call_ = -1, last_call_ = -1;
};

}  // namespace sana

// SANA_CHECK(k % 2 == 0, "linear: K=%d must be even", k): throws ERR_SANA_PROGRAM, because a contract between the
// layers was broken.
#define SANA_CHECK(condition, ...)                                          \
  do {                                                                      \
    if (!(condition)) throw ::sana::Error("ERR_SANA_PROGRAM", __VA_ARGS__); \
  } while (0)
