#include "engine/model_opener.h"

#include <algorithm>

#include "engine/device_check.h"
#include "engine/memory_preflight.h"
#include "model/cpu_model.h"
#include "model/cuda/cuda_model.h"
#include "platform/memory.h"

namespace pipo {
namespace {

constexpr const char *kCuda = "cuda", *kCpu = "cpu";
/// A device that holds the model with a context shorter than this is no place for it.
constexpr std::int32_t kUsualPositions = 4096;

std::vector<PipoCudaTensor> tensor_shapes(const PackedHeader& header) {
  ModelWeights weights;
  bind_weights(header, nullptr, weights);
  return device_tensors(header.config, weights);
}

/// What the CUDA kernels compute so far: gated attention with normed queries and keys, in the formats rounded here.
bool runs_on_device(const PackedHeader& planned) {
  const ModelConfig& c = planned.config;
  if (!c.output_gate || !c.query_key_norm || c.attention_bias || c.rope_scaling) return false;
  return std::ranges::all_of(planned.tensors, [](const PackedTensor& t) { return t.type <= kernels::WeightType::kInt4; });
}

}  // namespace

StateShape state_shape(const PackedHeader& header) {
  return StateShape::of(header.config,
                        header.dtype == WeightDtype::kF32 ? kernels::KvType::kF32 : kernels::KvType::kBf16);
}

ModelOpener::ModelOpener(const LoadOptions& options) : options_(options), wanted_(kernels::wanted_kernels(options.kernels)) {
  if (wanted_ != kCuda && wanted_ != kernels::kAutomatic) open_cpu();
}

void ModelOpener::open_device(const PackedHeader& planned) {
  const auto weight_bytes = static_cast<std::int64_t>(planned.file_bytes);
  if (wanted_ == kernels::kAutomatic && weight_bytes < options_.cuda.least_weight_bytes) {
    return give_up_device(Error(ErrorCode::kUnsupported, "the model is small"));
  }
  std::string reason;
  cuda_ = kernels::open_cuda_library({options_.cuda.library, options_.cuda.driver}, &reason);
  if (!cuda_) return give_up_device(Error(ErrorCode::kUnsupported, reason));
  if (!runs_on_device(planned)) {
    give_up_device(Error(ErrorCode::kUnsupported, "models of the family " + planned.config.family +
                                                             " and weights kept as a file stores them have no CUDA " +
                                                             "kernels yet"));
  }
}

void ModelOpener::open_cpu() {
  std::string reason;
  cpu_ = kernels::make_backend({wanted_, options_.threads}, &reason);
  if (!cpu_) throw Error(ErrorCode::kUnsupported, "no kernels: " + reason);
}

void ModelOpener::give_up_device(const Error& why) {
  if (wanted_ == kCuda) throw Error(why.code(), std::string("CUDA cannot be used: ") + why.what());
  note_ = std::string("running on the CPU: ") + why.what();
  cuda_.reset();
  open_cpu();
}

void ModelOpener::check_fit(const PackedHeader& planned) {
  if (!cpu_) open_device(planned);
  if (cuda_) {
    try {
      const std::int32_t positions = std::min(kUsualPositions, planned.config.max_positions);
      const std::string refusal =
          cuda_load_refusal(*cuda_, planned.config, tensor_shapes(planned), state_shape(planned), positions);
      if (!refusal.empty()) throw Error(ErrorCode::kNotEnoughMemory, refusal);
    } catch (const Error& why) {
      give_up_device(why);
    }
  }
  require_host_memory(planned);
}

void ModelOpener::require_host_memory(const PackedHeader& planned) const {
  if (cuda_ && !options_.packed_file.empty()) return;  // the image is read through a mapping, piece by piece
  require_memory_for_load(static_cast<std::int64_t>(planned.file_bytes), cuda_ ? 0 : Workspace::bytes(planned.config),
                          planned.dtype, available_memory());
}

OpenedModel ModelOpener::open(LoadedWeights& loaded, const LoadProgressFn& progress,
                              const std::atomic<bool>* cancelled) {
  if (cuda_) {
    try {
      return open_on_device(loaded, progress, cancelled);
    } catch (const Error& why) {
      if (why.code() == ErrorCode::kCancelled) throw;
      give_up_device(why);
      require_host_memory(loaded.header);
    }
  }
  return open_on_cpu(loaded);
}

OpenedModel ModelOpener::open_on_device(LoadedWeights& loaded, const LoadProgressFn& progress,
                                        const std::atomic<bool>* cancelled) {
  const double begin = loaded.from_packed_file ? 0.0 : 0.95;
  const auto keep_going = [&](double fraction) {
    if (progress) progress(LoadStage::kUploading, begin + (1.0 - begin) * fraction);
    return cancelled == nullptr || !*cancelled;
  };
  OpenedModel opened;
  opened.model = std::make_unique<CudaModel>(loaded.header.config, device_tensors(loaded.header.config, loaded.weights),
                                             state_shape(loaded.header), cuda_,
                                             options_.cuda.stepping, keep_going);
  opened.backend_name = kCuda;
  opened.device = cuda_->device().name;
  if (options_.cuda.verify) verify(*opened.model, loaded);
  loaded.release_image();
  return opened;
}

void ModelOpener::verify(Model& device, const LoadedWeights& loaded) const {
  std::string reason;
  const auto backend = kernels::make_backend({kCpu, options_.threads}, &reason);
  if (!backend) throw Error(ErrorCode::kUnsupported, "no kernels: " + reason);
  CpuModel cpu(loaded.header.config, loaded.weights, state_shape(loaded.header), *backend);
  const std::string why = device_disagreement(device, cpu);
  if (why.empty()) return;
  throw Error(ErrorCode::kUnsupported, "the device " + std::string(cuda_->device().name) +
                                           " cannot be relied on with this model: " + why + "; update its driver");
}

OpenedModel ModelOpener::open_on_cpu(const LoadedWeights& loaded) {
  OpenedModel opened;
  opened.backend = std::move(cpu_);
  opened.model =
      std::make_unique<CpuModel>(loaded.header.config, loaded.weights, state_shape(loaded.header), *opened.backend);
  opened.backend_name = opened.backend->name();
  opened.threads = opened.backend->threads();
  opened.note = note_;
  return opened;
}

DeviceInfo device_info() {
  const auto dotted = [](int major, int minor) { return std::to_string(major) + "." + std::to_string(minor); };
  DeviceInfo info;
  const auto library = kernels::open_cuda_library({}, &info.reason);
  if (!library) return info;
  const PipoCudaDevice& device = library->device();
  info.name = device.name;
  info.capability = dotted(device.capability_major, device.capability_minor);
  info.driver = dotted(device.driver_version / 1000, device.driver_version % 1000 / 10);
  info.total_bytes = device.total_bytes;
  info.free_bytes = device.free_bytes;
  return info;
}

}  // namespace pipo
