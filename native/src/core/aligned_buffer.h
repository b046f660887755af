#pragma once

#include <cstddef>
#include <cstring>
#include <memory>
#include <new>

namespace pipo {

/// Uninitialised memory for plain values, aligned for the widest vector registers. Throws std::bad_alloc.
template <class T>
class AlignedBuffer {
 public:
  static constexpr std::size_t kAlign = 64;

  AlignedBuffer() = default;
  explicit AlignedBuffer(std::size_t size)
      : data_(size == 0 ? nullptr : static_cast<T*>(::operator new(size * sizeof(T), std::align_val_t{kAlign}))),
        size_(size) {}

  T* data() { return data_.get(); }
  const T* data() const { return data_.get(); }
  std::size_t size() const { return size_; }
  std::size_t bytes() const { return size_ * sizeof(T); }
  void zero() {
    if (size_ != 0) std::memset(data_.get(), 0, bytes());
  }

 private:
  struct Delete {
    void operator()(T* p) const { ::operator delete(p, std::align_val_t{kAlign}); }
  };
  std::unique_ptr<T, Delete> data_;
  std::size_t size_ = 0;
};

}  // namespace pipo
