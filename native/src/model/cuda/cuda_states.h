#pragma once

#include "cache/state_shape.h"
#include "cache/timeline_states.h"
#include "model/cuda/cuda_calls.h"

namespace pipo {

/// States in device memory.
class CudaSnapshot final : public Snapshot {
 public:
  CudaSnapshot(CudaCalls& calls, PipoCudaSession* session);
  ~CudaSnapshot() override;
  CudaSnapshot(const CudaSnapshot&) = delete;
  CudaSnapshot& operator=(const CudaSnapshot&) = delete;

  PipoCudaSnapshot* get() const { return snapshot_; }

 private:
  CudaCalls& calls_;
  PipoCudaSnapshot* snapshot_ = nullptr;
};

class CudaStates final : public TimelineStates {
 public:
  /// Throws std::bad_alloc, or kInternal when the device fails; so do the others.
  CudaStates(CudaCalls& calls, PipoCudaModel* model, const StateShape& shape);
  ~CudaStates() override;
  CudaStates(const CudaStates&) = delete;
  CudaStates& operator=(const CudaStates&) = delete;

  PipoCudaSession* session() const { return session_; }

  void clear() override;
  void reserve(std::int32_t positions, std::int32_t used, std::int32_t max_positions) override;
  std::int32_t capacity() const override { return capacity_; }
  std::int64_t snapshot_bytes() const override { return snapshot_bytes_; }
  std::unique_ptr<Snapshot> make_snapshot() override;
  void restore(const Snapshot& snapshot) override;
  const float* hidden() override;

 private:
  CudaCalls& calls_;
  PipoCudaSession* session_ = nullptr;
  std::int64_t snapshot_bytes_;
  std::int32_t capacity_ = 0;
};

}  // namespace pipo
