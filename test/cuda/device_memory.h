#pragma once

#include <cstring>
#include <stdexcept>
#include <vector>

#include "kernels/cuda/launchers.h"

/// Device memory of tests: the GPU's where the test is compiled for it, the processor's under emulation.
namespace pipo::test {

#ifdef __CUDACC__
inline void require(cudaError_t code) {
  if (code != cudaSuccess) throw std::runtime_error(cudaGetErrorString(code));
}
inline bool device_present() {
  int count = 0;
  return cudaGetDeviceCount(&count) == cudaSuccess && count > 0;
}
inline void finish(int code) {
  if (code != 0) throw std::runtime_error("a launch failed with code " + std::to_string(code));
  require(cudaDeviceSynchronize());
}
inline int multiprocessors() {
  int count = 1;
  require(cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, 0));
  return count;
}
inline int shared_bytes() {
  int bytes = 0;
  require(cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, 0));
  return bytes;
}
#else
inline bool device_present() { return true; }
inline void finish(int code) {
  if (code != 0) throw std::runtime_error("a launch failed with code " + std::to_string(code));
}
inline int multiprocessors() { return 2; }
inline int shared_bytes() { return 163 << 10; }
#endif

/// `guard` elements behind the end are checked by the destructor's caller through `intact`.
template <class T>
class Device {
 public:
  explicit Device(std::size_t count) : count_(count) { allocate(); }
  explicit Device(const std::vector<T>& values) : count_(values.size()) {
    allocate();
    put(values);
  }
  ~Device() {
#ifdef __CUDACC__
    cudaFree(at_);
#else
    ::operator delete(at_, std::align_val_t(256));
#endif
  }
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  T* get() const { return at_; }
  void put(const std::vector<T>& values) const {
#ifdef __CUDACC__
    require(cudaMemcpy(at_, values.data(), values.size() * sizeof(T), cudaMemcpyHostToDevice));
#else
    std::memcpy(at_, values.data(), values.size() * sizeof(T));
#endif
  }
  std::vector<T> read() const {
    std::vector<T> values(count_);
#ifdef __CUDACC__
    require(cudaMemcpy(values.data(), at_, count_ * sizeof(T), cudaMemcpyDeviceToHost));
#else
    std::memcpy(values.data(), at_, count_ * sizeof(T));
#endif
    return values;
  }

 private:
  void allocate() {
    const std::size_t bytes = (count_ + 1) * sizeof(T);
#ifdef __CUDACC__
    require(cudaMalloc(&at_, bytes));
    require(cudaMemset(at_, 0, bytes));
#else
    at_ = static_cast<T*>(::operator new(bytes, std::align_val_t(256)));
    std::memset(static_cast<void*>(at_), 0, bytes);
#endif
  }
  std::size_t count_;
  T* at_ = nullptr;
};

inline cuda::Queue queue() {
  cuda::Queue q;
  q.multiprocessors = multiprocessors();
  q.shared_bytes = shared_bytes();
  return q;
}

/// A matrix of the engine's packed layout, in device memory.
class DeviceWeights {
 public:
  DeviceWeights(kernels::WeightType type, int group, int n, int k, const std::vector<float>& rows)
      : packed_(static_cast<std::size_t>(kernels::packed_bytes(type, group, n, k))),
        rows_(static_cast<std::size_t>(cuda::weight_bytes(type, n, k))),
        scales_(static_cast<std::size_t>(cuda::scale_bytes(type, group, n, k) / 2)) {
    if (kernels::pack_rows(type, group, n, k, 0, n, rows.data(), packed_.data()) != kernels::Status::kOk)
      throw std::runtime_error("cannot pack");
    host_ = {packed_.data(), type, static_cast<std::uint16_t>(group), n, k};
    matrix_ = {rows_.get(), cuda::is_quantised(type) ? scales_.get() : nullptr, type, group, n, k,
               cuda::padded_inputs(type, k)};
    const Device<std::uint8_t> panels(packed_);
    const int n_panels = (n + kernels::kPanelRows - 1) / kernels::kPanelRows;
    finish(cuda::repack(queue(), panels.get(), 0, n_panels, static_cast<std::int64_t>(packed_.size()) / n_panels, matrix_));
  }
  const cuda::Matrix& matrix() const { return matrix_; }
  const kernels::PackedMatrix& host() const { return host_; }

 private:
  std::vector<std::uint8_t> packed_;
  Device<std::uint8_t> rows_;
  Device<std::uint16_t> scales_;
  kernels::PackedMatrix host_;
  cuda::Matrix matrix_;
};

/// ctest takes this exit status as "skipped".
inline constexpr int kSkipped = 77;

}  // namespace pipo::test
