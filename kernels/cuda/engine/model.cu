#include "kernels/cuda/engine/model.h"

#include "kernels/cuda/engine/upload.h"
#include "kernels/cuda/weight_layout.h"

namespace pipo::cuda {
namespace {

/// Fewer positions than this are not worth a block of their own.
constexpr int kPositionsPerSplit = 32;

static_assert(kProductBytes == kWorkspaceBytes);
static_assert(kMostPartials == kMostSplits);

PipoCudaConfig with_own_layers(const PipoCudaConfig& config, std::vector<std::uint8_t>& types) {
  types.assign(config.layer_types, config.layer_types + config.n_layers);
  PipoCudaConfig own = config;
  own.layer_types = types.data();
  own.inv_freq = nullptr;  // lies in the workspace
  return own;
}

}  // namespace

Model::Model(const PipoCudaConfig& config, const PipoCudaTensor* tensors, int n_tensors,
             int32_t (*keep_going)(void*, double), void* context)
    : config_(with_own_layers(config, layer_types_)), widths_(config_) {
  PipoCudaDevice device{};
  PipoCudaError words{};
  const PipoCudaStatus found = runtime::describe(&device, &words);
  if (found != kPipoCudaOk) fail(found, words.words);
  queue_.stream = stream_.get();
  queue_.multiprocessors = device.multiprocessors;
  check(runtime::most_shared_bytes(&queue_.shared_bytes), "tell its shared memory");
  can_overlap_ = device.capability_major >= 9;

  weight_memory_ = DeviceMemory(count_weight_bytes(tensors, n_tensors));
  workspace_memory_ = DeviceMemory(Workspace::bytes(config_));
  const std::vector<PlacedTensor> placed = place_tensors(tensors, n_tensors, weight_memory_.get());
  weights_ = bind_weights(config_, placed);
  upload(placed, workspace_memory_.get(), device.multiprocessors, keep_going, context);

  Layout layout(workspace_memory_.get());
  workspace_ = Workspace(config_, layout);
  queue_.workspace = workspace_.products;
  check(runtime::fill(workspace_.products, 0, kProductBytes, queue_.stream), "clear memory");
  check(runtime::fill(workspace_.arrived, 0, 4ll * config_.n_kv_heads, queue_.stream), "clear memory");
  check(runtime::fill(workspace_.sampling, 0, sample_scratch_bytes(config_.real_vocab_size), queue_.stream),
        "clear memory");
  check(runtime::copy(workspace_.inv_freq, config.inv_freq, 2ll * config_.rotary_dim, queue_.stream), "take weights");
  check(runtime::synchronize(queue_.stream), "take weights");
}

Model::~Model() { runtime::synchronize(queue_.stream); }

int Model::splits(int positions) const {
  const int busy = std::min(kMostPartials, std::max(1, 2 * queue_.multiprocessors / config_.n_kv_heads));
  return std::clamp((positions + kPositionsPerSplit - 1) / kPositionsPerSplit, 1, busy);
}

}  // namespace pipo::cuda
