#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "cache/state_shape.h"
#include "model/cuda/cuda_calls.h"
#include "model/cuda/cuda_description.h"
#include "model/cuda/cuda_steps.h"
#include "model/model.h"
#include "pipo/engine.h"

namespace pipo {

/// The model on an NVIDIA device: vectors and states lie there, logits come to the host.
class CudaModel final : public Model {
 public:
  /// Hears the fraction uploaded; a false answer ends the upload.
  using KeepGoing = std::function<bool(double fraction)>;

  /// Uploads the tensors, whose data are not needed afterwards. Throws kNotEnoughMemory, kUnsupported,
  /// kCancelled, and kInternal when the device fails.
  CudaModel(const ModelConfig& config, std::vector<PipoCudaTensor> tensors, const StateShape& shape,
            std::shared_ptr<kernels::CudaLibrary> library, DeviceStepping stepping, const KeepGoing& keep_going);
  ~CudaModel() override;
  CudaModel(const CudaModel&) = delete;
  CudaModel& operator=(const CudaModel&) = delete;

  std::unique_ptr<TimelineStates> make_states() override;
  RunResult extend(Timeline& timeline, std::span<const std::int32_t> slots, std::span<const SnapshotPoint> points,
                   const StopSignal* stop) override;
  RunResult extend_with_drafts(Timeline& timeline, std::span<const std::int32_t> slots,
                               const StopSignal* stop) override;
  Status draft(Timeline& timeline, std::int32_t next_slot, std::int32_t first_visible) override;
  Status confidence(Timeline& timeline, const float* hidden, const float* draft, float* confidence) override;
  Status pre_gate(Timeline& timeline, const float* hidden, float* g) override;
  Status compute_logits(Timeline& timeline, const float* hidden) override;
  std::span<float> logits() override { return logits_; }

  const float* draft_result(Timeline& timeline) override { return draft_row(timeline, 0); }
  const float* hidden_row(Timeline& timeline, std::int32_t row) override;
  const float* draft_row(Timeline& timeline, std::int32_t row) override;
  Status read(Timeline& timeline, const float* vector, std::span<float> out) override;

  const ModelConfig& config() const override { return config_; }
  std::int32_t max_rows() const override { return max_rows_; }
  DeviceSteps* device_steps() override { return stepping_ == DeviceStepping::kEager ? nullptr : &steps_; }
  std::string last_error() const override { return calls_.last_error(); }
  std::string session_refusal(std::int32_t max_positions) const override;

 private:
  RunResult extend(Timeline& timeline, std::span<const std::int32_t> slots, std::span<const SnapshotPoint> points,
                   const StopSignal* stop, PipoCudaDraftRows draft_rows);

  ModelConfig config_;
  StateShape shape_;
  mutable CudaCalls calls_;
  CudaDescription description_;
  DeviceStepping stepping_;
  CudaSteps steps_;
  std::vector<float> logits_;
  PipoCudaModel* model_ = nullptr;
  std::int32_t max_rows_ = 0;
};

/// Why the device's free memory does not hold this model and a session of `max_positions`; empty when it does. Says so
/// from shapes alone: the tensors need no data.
std::string cuda_load_refusal(const kernels::CudaLibrary& library, const ModelConfig& config,
                              std::vector<PipoCudaTensor> shapes, const StateShape& shape,
                              std::int32_t max_positions);

}  // namespace pipo
