#include "binding/arguments.h"

#include <cmath>
#include <cstring>

namespace pipo::binding {
namespace {

constexpr std::size_t kShownCharacters = 40;

std::string in_words(const Napi::Value& value) {
  if (value.IsUndefined()) return "missing";
  if (value.IsNull()) return "null";
  if (value.IsString()) {
    std::string text = value.As<Napi::String>().Utf8Value();
    if (text.size() > kShownCharacters) text = text.substr(0, kShownCharacters) + "…";
    return "\"" + text + "\"";
  }
  if (value.IsNumber() || value.IsBoolean()) return value.ToString().Utf8Value();
  if (value.IsArray()) return "an array";
  if (value.IsFunction()) return "a function";
  if (value.IsTypedArray()) return "another typed array";
  return value.IsObject() ? "an object" : "something else";
}

}  // namespace

void Argument::refuse(const std::string& wanted) const {
  throw Error(ErrorCode::kBadRequest, name_ + " must be " + wanted + ", but is " + in_words(value_) + ".");
}

Argument Argument::field(const char* key) const {
  if (!value_.IsObject()) refuse("an object");
  return {value_.As<Napi::Object>().Get(key), name_ + "." + key};
}

std::vector<Argument> Argument::elements() const {
  if (!value_.IsArray()) refuse("an array");
  const auto array = value_.As<Napi::Array>();
  std::vector<Argument> result;
  result.reserve(array.Length());
  for (std::uint32_t i = 0; i < array.Length(); i++)
    result.emplace_back(array.Get(i), name_ + "[" + std::to_string(i) + "]");
  return result;
}

bool Argument::boolean() const {
  if (!value_.IsBoolean()) refuse("true or false");
  return value_.As<Napi::Boolean>().Value();
}

double Argument::number() const {
  if (!value_.IsNumber()) refuse("a number");
  const double result = value_.As<Napi::Number>().DoubleValue();
  if (!std::isfinite(result)) refuse("a finite number");
  return result;
}

std::int64_t Argument::integer(std::int64_t least, std::int64_t most) const {
  const double number = value_.IsNumber() ? value_.As<Napi::Number>().DoubleValue() : std::nan("");
  // Comparing before converting: out-of-range doubles have no integer.
  if (!(number >= static_cast<double>(least) && number <= static_cast<double>(most)) || number != std::floor(number)) {
    refuse("an integer from " + std::to_string(least) + " to " + std::to_string(most));
  }
  return static_cast<std::int64_t>(number);
}

std::string Argument::string() const {
  if (!value_.IsString()) refuse("a string");
  return value_.As<Napi::String>().Utf8Value();
}

Napi::Function Argument::function() const {
  if (!value_.IsFunction()) refuse("a function");
  return value_.As<Napi::Function>();
}

std::vector<std::int32_t> Argument::int32_array() const {
  if (!value_.IsTypedArray() || value_.As<Napi::TypedArray>().TypedArrayType() != napi_int32_array) {
    refuse("an Int32Array");
  }
  const auto array = value_.As<Napi::Int32Array>();
  return {array.Data(), array.Data() + array.ElementLength()};
}

std::vector<std::uint8_t> Argument::uint8_array() const {
  if (!value_.IsTypedArray() || value_.As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array) {
    refuse("a Uint8Array");
  }
  const auto array = value_.As<Napi::Uint8Array>();
  return {array.Data(), array.Data() + array.ElementLength()};
}

}  // namespace pipo::binding
