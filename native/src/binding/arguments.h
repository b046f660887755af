#pragma once

#include <napi.h>

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "pipo/error.h"
#include "pipo/model_schema.h"

namespace pipo::binding {

/// A JavaScript value together with the name under which messages mention it. Every conversion is strict and throws
/// pipo::Error kBadRequest: "request.maxNewTokens must be an integer from 1 to 9, but is "many"".
class Argument {
 public:
  Argument(Napi::Value value, std::string name) : value_(value), name_(std::move(name)) {}

  const std::string& name() const { return name_; }
  Napi::Value value() const { return value_; }
  bool is_absent() const { return value_.IsUndefined(); }

  /// A property of an object.
  Argument field(const char* key) const;
  /// The elements of an array.
  std::vector<Argument> elements() const;

  bool boolean() const;
  double number() const;
  std::int64_t integer(std::int64_t least, std::int64_t most) const;
  std::string string() const;
  Napi::Function function() const;
  std::vector<std::int32_t> int32_array() const;
  std::vector<std::uint8_t> uint8_array() const;

  /// One of a closed list of words.
  template <class Enum>
  Enum choice(schema::Words<Enum> words) const {
    if (value_.IsString()) {
      const std::string given = string();
      for (const auto& [word, meaning] : words) {
        if (given == word) return meaning;
      }
    }
    std::string wanted;
    for (const auto& [word, meaning] : words) wanted += (wanted.empty() ? "\"" : ", \"") + std::string(word) + "\"";
    refuse("one of " + wanted);
  }

  /// Throws "<name> must be <wanted>, but is <value>".
  [[noreturn]] void refuse(const std::string& wanted) const;

 private:
  Napi::Value value_;
  std::string name_;
};

}  // namespace pipo::binding
