#pragma once

#include <utility>

#include "kernels/cuda/engine/failure.h"

/// Owners of what the runtime hands out.
namespace pipo::cuda {

/// One allocation of device memory.
class DeviceMemory {
 public:
  DeviceMemory() = default;
  explicit DeviceMemory(std::int64_t bytes) : bytes_(bytes) {
    if (bytes > 0) check(runtime::allocate(&at_, bytes), "allocate memory");
  }
  ~DeviceMemory() { runtime::release(at_); }
  DeviceMemory(DeviceMemory&& other) noexcept { swap(other); }
  DeviceMemory& operator=(DeviceMemory&& other) noexcept {
    swap(other);
    return *this;
  }
  void* get() const { return at_; }
  std::int64_t bytes() const { return bytes_; }

 private:
  void swap(DeviceMemory& other) {
    std::swap(at_, other.at_);
    std::swap(bytes_, other.bytes_);
  }
  void* at_ = nullptr;
  std::int64_t bytes_ = 0;
};

/// Host memory that the device reads and writes too.
class PinnedMemory {
 public:
  explicit PinnedMemory(std::int64_t bytes) {
    check(runtime::allocate_pinned(&at_, bytes), "allocate pinned memory of this machine");
  }
  ~PinnedMemory() { runtime::release_pinned(at_); }
  PinnedMemory(const PinnedMemory&) = delete;
  PinnedMemory& operator=(const PinnedMemory&) = delete;
  void* get() const { return at_; }

 private:
  void* at_ = nullptr;
};

class OwnedStream {
 public:
  OwnedStream() { check(runtime::create_stream(&stream_), "make a queue"); }
  ~OwnedStream() { runtime::destroy_stream(stream_); }
  OwnedStream(const OwnedStream&) = delete;
  OwnedStream& operator=(const OwnedStream&) = delete;
  Stream get() const { return stream_; }

 private:
  Stream stream_ = {};
};

class OwnedEvent {
 public:
  OwnedEvent() { check(runtime::create_event(&event_), "make an event"); }
  ~OwnedEvent() { runtime::destroy_event(event_); }
  OwnedEvent(const OwnedEvent&) = delete;
  OwnedEvent& operator=(const OwnedEvent&) = delete;
  runtime::Event get() const { return event_; }

 private:
  runtime::Event event_ = nullptr;
};

}  // namespace pipo::cuda
