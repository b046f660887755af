#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>

namespace pipo::test {

/// Zeroed bytes aligned as a packed matrix in a mapped file is.
class AlignedBytes {
 public:
  AlignedBytes() = default;
  explicit AlignedBytes(std::int64_t size)
      : data_(static_cast<std::byte*>(::operator new(static_cast<std::size_t>(size), std::align_val_t{kAlign}))),
        size_(size) {
    std::memset(data_.get(), 0, static_cast<std::size_t>(size));
  }

  std::byte* data() { return data_.get(); }
  const std::byte* data() const { return data_.get(); }
  std::int64_t size() const { return size_; }

 private:
  static constexpr std::size_t kAlign = 64;
  struct Free {
    void operator()(std::byte* memory) const { ::operator delete(memory, std::align_val_t{kAlign}); }
  };
  std::unique_ptr<std::byte, Free> data_;
  std::int64_t size_ = 0;
};

}  // namespace pipo::test
