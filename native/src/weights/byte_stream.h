#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "pipo/error.h"

namespace pipo {

/// Appends plain values, little-endian as in memory.
class ByteWriter {
 public:
  template <class T>
  void value(T v) {
    static_assert(std::is_arithmetic_v<T> || std::is_enum_v<T>);
    const auto* from = reinterpret_cast<const std::byte*>(&v);
    bytes_.insert(bytes_.end(), from, from + sizeof v);
  }
  void text(const std::string& s) {
    value(static_cast<std::uint32_t>(s.size()));
    const auto* from = reinterpret_cast<const std::byte*>(s.data());
    bytes_.insert(bytes_.end(), from, from + s.size());
  }
  std::vector<std::byte>& bytes() { return bytes_; }

 private:
  std::vector<std::byte> bytes_;
};

/// Reads them back; throws kBadFile at the end of the bytes.
class ByteReader {
 public:
  explicit ByteReader(std::span<const std::byte> bytes) : bytes_(bytes) {}

  template <class T>
  T value() {
    T v{};
    std::memcpy(&v, take(sizeof v), sizeof v);
    return v;
  }
  template <class T>
  void into(T& v) {
    v = value<T>();
  }
  std::string text() {
    const auto size = value<std::uint32_t>();
    return std::string(reinterpret_cast<const char*>(take(size)), size);
  }

 private:
  const std::byte* take(std::size_t size) {
    if (size > bytes_.size()) throw Error(ErrorCode::kBadFile, "its header ends too early");
    const std::byte* at = bytes_.data();
    bytes_ = bytes_.subspan(size);
    return at;
  }

  std::span<const std::byte> bytes_;
};

/// 64-bit checksum (FNV-1a over words, then mixed); finds accidents, not attacks.
inline std::uint64_t checksum(std::span<const std::byte> bytes, std::uint64_t seed = 0xcbf29ce484222325ull) {
  std::uint64_t hash = seed;
  std::size_t i = 0;
  for (; i + 8 <= bytes.size(); i += 8) {
    std::uint64_t word;
    std::memcpy(&word, bytes.data() + i, 8);
    hash = (hash ^ word) * 0x9e3779b97f4a7c15ull;
    hash ^= hash >> 29;
  }
  for (; i < bytes.size(); ++i) hash = (hash ^ static_cast<std::uint64_t>(bytes[i])) * 0x100000001b3ull;
  return hash ^ (hash >> 32);
}

}  // namespace pipo
