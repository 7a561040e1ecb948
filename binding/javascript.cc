#include "binding/javascript.h"

#include <cmath>
#include <cstring>

#include "binding/instance.h"
#include "core/dtypes.h"

namespace sana {
namespace {

constexpr double kMostSafeInteger = 9007199254740991;  // 2^53 - 1

std::string describe(Napi::Value value) {
  char text[96];
  switch (value.Type()) {
    case napi_undefined:
      return "undefined";
    case napi_null:
      return "null";
    case napi_boolean:
      return value.As<Napi::Boolean>().Value() ? "true (boolean)" : "false (boolean)";
    case napi_number:
      std::snprintf(text, sizeof text, "%.17g (number)", value.As<Napi::Number>().DoubleValue());
      return text;
    case napi_string: {
      size_t length = 0;
      napi_get_value_string_utf8(value.Env(), value, text, 61, &length);
      return "'" + std::string(text, length) + "' (string)";
    }
    case napi_symbol:
      return "a symbol";
    case napi_function:
      return "a function";
    case napi_bigint:
      return "a bigint";
    default:
      return value.IsArray() ? "an array of " + std::to_string(value.As<Napi::Array>().Length()) : "an object";
  }
}

[[noreturn]] void refuse(Napi::Value value, const char* name, const char* expected) {
  throw Error("ERR_SANA_ARGUMENT", "Expected `%s` to be %s, got %s", name, expected, describe(value).c_str());
}

}  // namespace

napi_value error_to_js(napi_env env, const Error& error) {
  napi_value code, message, result;
  if (napi_create_string_utf8(env, error.code(), NAPI_AUTO_LENGTH, &code) != napi_ok ||
      napi_create_string_utf8(env, error.what(), NAPI_AUTO_LENGTH, &message) != napi_ok ||
      napi_create_error(env, code, message, &result) != napi_ok) {
    return nullptr;
  }
  // The package's error class, if it has been set.
  const auto* instance = Napi::Env(env).GetInstanceData<std::shared_ptr<Instance>>();
  if (!instance || (*instance)->make_error.IsEmpty()) return result;
  napi_value undefined, made, ignored;
  const napi_value arguments[] = {code, message};
  napi_get_undefined(env, &undefined);
  if (napi_call_function(env, undefined, (*instance)->make_error.Value(), 2, arguments, &made) == napi_ok) return made;
  napi_get_and_clear_last_exception(env, &ignored);
  return result;
}

double read_number(Napi::Value value, const char* name) {
  if (!value.IsNumber()) refuse(value, name, "a finite number");
  const double number = value.As<Napi::Number>().DoubleValue();
  if (!std::isfinite(number)) refuse(value, name, "a finite number");
  return number;
}

int64_t read_integer(Napi::Value value, const char* name, int64_t least, int64_t most) {
  const double number = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : NAN;
  // Also false for NaN. Both bounds are at most 2^53 - 1, so the comparison in double is exact.
  if (!(number >= double(least) && number <= double(most)) || number != std::floor(number)) {
    char expected[80];
    std::snprintf(expected, sizeof expected, "an integer from %lld to %lld", static_cast<long long>(least),
                  static_cast<long long>(most));
    refuse(value, name, expected);
  }
  return static_cast<int64_t>(number);
}

uint64_t read_bytes(Napi::Value value, const char* name, uint64_t least) {
  return static_cast<uint64_t>(read_integer(value, name, int64_t(least), int64_t(kMostSafeInteger)));
}

std::string read_text(Napi::Value value, const char* name) {
  if (!value.IsString()) refuse(value, name, "a string");
  return value.As<Napi::String>().Utf8Value();
}

Napi::Object read_object(Napi::Value value, const char* name) {
  if (!value.IsObject()) refuse(value, name, "an object");
  return value.As<Napi::Object>();
}

Napi::Array read_array(Napi::Value value, const char* name, uint32_t longest) {
  if (!value.IsArray()) refuse(value, name, "an array");
  const Napi::Array array = value.As<Napi::Array>();
  if (array.Length() > longest) {
    const std::string expected = "an array of at most " + std::to_string(longest);
    refuse(value, name, expected.c_str());
  }
  return array;
}

uint32_t read_choice(Napi::Value value, const char* name, const char* names) {
  const std::string given = value.IsString() ? value.As<Napi::String>().Utf8Value() : "";
  uint32_t index = 0;
  for (const char* choice = names; value.IsString();) {
    const size_t length = std::strcspn(choice, "|");
    if (given.size() == length && given.compare(0, length, choice, length) == 0) return index;
    if (choice[length] == 0) break;
    choice += length + 1;
    ++index;
  }
  refuse(value, name, (std::string("one of ") + names).c_str());
}

SanaDType read_dtype(Napi::Value value, const char* name) {
  return static_cast<SanaDType>(read_choice(value, name, kDTypeChoices));
}

SanaLayout read_layout(Napi::Value value, const char* name) {
  return static_cast<SanaLayout>(read_choice(value, name, kLayoutChoices));
}

uint32_t read_shape(Napi::Value value, const char* name, int64_t (&shape)[kSanaMaxRank]) {
  const Napi::Array sizes = read_array(value, name, kSanaMaxRank);
  const uint32_t rank = sizes.Length();
  if (rank == 0) refuse(value, name, "a shape of 1 to 4 sizes");
  for (uint32_t i = 0; i < rank; ++i) shape[i] = read_integer(sizes.Get(i), name, 1, int64_t(1) << 40);
  return rank;
}

SanaTensor read_tensor(Napi::Object object) {
  SanaTensor tensor{};
  tensor.offset = read_bytes(object.Get("offset"), "offset");
  tensor.dtype = read_dtype(object.Get("dtype"), "dtype");
  tensor.layout = read_layout(object.Get("layout"), "layout");
  tensor.rank = read_shape(object.Get("shape"), "shape", tensor.shape);
  tensor.pitch = read_integer(object.Get("pitch"), "pitch", 1, int64_t(1) << 40);
  return tensor;
}

}  // namespace sana
