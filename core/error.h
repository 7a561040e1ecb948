// The one exception type of the native side, and the macros that throw it. It never crosses N-API or the backend
// table: the addon's wrapper turns it into a JavaScript error, a backend's into a SanaFailure.

#pragma once

#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <exception>

namespace sana {

class Error : public std::exception {
 public:
  // `code` is a string literal, one of the ERR_SANA_* names of the public surface.
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
  // -1: it is about no call.
  int32_t first_call() const noexcept { return first_call_; }
  int32_t last_call() const noexcept { return last_call_; }

 private:
  const char* code_;
  char message_[1024];
  int32_t first_call_ = -1, last_call_ = -1;
};

}  // namespace sana

// SANA_CHECK(k % 2 == 0, "linear: K=%d must be even", k): a contract between the layers was broken.
#define SANA_CHECK(condition, ...)                                          \
  do {                                                                      \
    if (!(condition)) throw ::sana::Error("ERR_SANA_PROGRAM", __VA_ARGS__); \
  } while (0)
