// The boundary between C++ and JavaScript: the wrapper around every exported function, and the reading of arguments.
// Arguments are untrusted: getters may throw, lengths may be huge, numbers may be NaN.

#pragma once

#include <napi.h>

#include <cstdint>
#include <exception>
#include <new>
#include <string>

#include "core/backend.h"
#include "core/error.h"

namespace sana {

// A JavaScript Error with `code`, or null if the environment can no longer create one.
napi_value error_to_js(napi_env, const Error&);

// Runs `body` and converts its exceptions to Napi::Error, which node-addon-api throws in JavaScript.
template <class Body>
Napi::Value guarded(Napi::Env env, Body&& body) {
  const auto raise = [env](const Error& error) { throw Napi::Error(env, error_to_js(env, error)); };
  try {
    return body();
  } catch (const Napi::Error&) {
    throw;
  } catch (const Error& error) {
    raise(error);
  } catch (const std::bad_alloc&) {
    raise(Error("ERR_SANA_MEMORY", "out of host memory"));
  } catch (const std::exception& error) {
    raise(Error("ERR_SANA_ADDON", "%s", error.what()));
  }
  return env.Undefined();
}

// Like guarded(), for functions that return a promise: the promise rejects with the exception of `body`.
template <class Body>
Napi::Value promised(Napi::Env env, Body&& body) {
  try {
    return guarded(env, body);
  } catch (const Napi::Error& error) {
    const Napi::Promise::Deferred deferred = Napi::Promise::Deferred::New(env);
    deferred.Reject(error.Value());
    return deferred.Promise();
  }
}

// -- arguments: each function throws ERR_SANA_ARGUMENT with the expected and the given value ------------------------

double read_number(Napi::Value, const char* name);
int64_t read_integer(Napi::Value, const char* name, int64_t least, int64_t most);
uint64_t read_bytes(Napi::Value, const char* name, uint64_t least = 0);
std::string read_text(Napi::Value, const char* name);
Napi::Object read_object(Napi::Value, const char* name);
Napi::Array read_array(Napi::Value, const char* name, uint32_t longest);
// The index of the string in `names`, which are separated by '|'.
uint32_t read_choice(Napi::Value, const char* name, const char* names);

SanaDType read_dtype(Napi::Value, const char* name);
SanaLayout read_layout(Napi::Value, const char* name);
// {offset, dtype, layout, shape, pitch}; leaves `buffer` 0.
SanaTensor read_tensor(Napi::Object);
uint32_t read_shape(Napi::Value, const char* name, int64_t (&shape)[kSanaMaxRank]);

}  // namespace sana
