#pragma once

#include <vector>

#include "model/cuda/cuda_calls.h"
#include "model/device_steps.h"

namespace pipo {

/// The steps of the CUDA library.
class CudaSteps final : public DeviceSteps {
 public:
  CudaSteps(CudaCalls& calls, bool use_graph, std::int32_t vocab_size)
      : calls_(calls), use_graph_(use_graph), vocab_size_(vocab_size) {}

  bool can_run(const GenerateRequest& request) const override;
  Status begin(Timeline& timeline, const GenerateRequest& request, std::int32_t banned_id) override;
  Status launch(Timeline& timeline) override;
  Status wait_first(Timeline& timeline, bool* any) override;
  Status take(Timeline& timeline, bool* any, DeviceStep* out) override;
  void cancel(Timeline& timeline) override;

 private:
  /// Ids that can be produced; others never stop anything.
  std::vector<std::int32_t> possible_stop_ids(const GenerateRequest& request) const;

  CudaCalls& calls_;
  bool use_graph_;
  std::int32_t vocab_size_;
};

}  // namespace pipo
