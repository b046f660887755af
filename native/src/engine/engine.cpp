#include "cache/state_shape.h"
#include "core/words.h"
#include "engine/engine_core.h"
#include "engine/memory_preflight.h"
#include "engine/session_core.h"
#include "pipo/error.h"
#include "platform/clock.h"
#include "platform/memory.h"
#include "weights/check_model.h"

namespace pipo {
namespace {

std::unique_ptr<kernels::Backend> open_backend(const LoadOptions& options) {
  std::string reason;
  auto backend = kernels::make_backend({options.kernels, options.threads}, &reason);
  if (!backend) throw Error(ErrorCode::kUnsupported, "no kernels: " + reason);
  return backend;
}

/// Bytes of a phase's matrices: what one step of it reads.
std::int64_t phase_bytes(const PackedHeader& header, WeightPhase phase) {
  ModelWeights unused;
  const std::vector<WeightSpec> specs = map_weights(header.config, unused);
  std::int64_t sum = 0;
  for (std::size_t i = 0; i < specs.size(); ++i) {
    if (specs[i].phase == phase && specs[i].is_matrix()) sum += static_cast<std::int64_t>(header.tensors[i].bytes);
  }
  return sum;
}

std::int64_t count_parameters(const ModelConfig& config) {
  ModelWeights unused;
  std::int64_t sum = 0;
  for (const WeightSpec& spec : map_weights(config, unused)) sum += spec.elements();
  return sum;
}

EngineInfo describe(const LoadedWeights& loaded, const kernels::Backend& backend) {
  const PackedHeader& h = loaded.header;
  EngineInfo info;
  info.name = h.name;
  info.backend = backend.name();
  info.threads = backend.threads();
  info.dtype = h.dtype;
  info.group_size = h.group_size;
  info.weight_bytes = static_cast<std::int64_t>(h.file_bytes - h.header_bytes);
  info.backbone_bytes_per_step = phase_bytes(h, WeightPhase::kBackbone);
  info.draft_bytes_per_step = phase_bytes(h, WeightPhase::kDraft);
  info.head_bytes = phase_bytes(h, h.config.tie_word_embeddings ? WeightPhase::kEmbedding : WeightPhase::kHead);
  info.parameters = count_parameters(h.config);
  if (h.config.pipo) info.modes.push_back(DecodeMode::kPair);
  info.modes.push_back(DecodeMode::kPlain);
  info.from_packed_file = loaded.from_packed_file;
  info.packed_file_note = loaded.packed_file_note;
  return info;
}

void check_memory(const ModelDescription& model, const LoadOptions& options) {
  const PackedHeader planned =
      plan_packed(model.name, model.fingerprint, model.config, options.dtype, options.group_size);
  require_memory_for_load(static_cast<std::int64_t>(planned.file_bytes), Workspace::bytes(model.config), options.dtype,
                          available_memory());
}

kernels::KvType kv_type(WeightDtype dtype) {
  return dtype == WeightDtype::kF32 ? kernels::KvType::kF32 : kernels::KvType::kBf16;
}

}  // namespace

std::shared_ptr<Engine> Engine::load(const ModelDescription& model, const LoadOptions& options,
                                     const LoadProgressFn& progress, const std::atomic<bool>* cancelled) {
  const Stopwatch clock;
  if (progress) progress(LoadStage::kChecking, 0.0);
  check_config(model.config);
  check_memory(model, options);
  auto backend = open_backend(options);
  LoadedWeights loaded = load_weights(model, options, progress, cancelled);
  auto engine = std::make_shared<EngineCore>(std::move(loaded), std::move(backend));
  engine->set_load_ms(clock.ms());
  if (progress) progress(LoadStage::kReady, 1.0);
  return engine;
}

std::shared_ptr<Engine> Engine::load_packed(const std::string& path, const LoadOptions& options) {
  const Stopwatch clock;
  LoadedWeights loaded = map_packed_file(path);
  loaded.from_packed_file = true;
  check_config(loaded.header.config);
  require_memory_for_load(static_cast<std::int64_t>(loaded.header.file_bytes), Workspace::bytes(loaded.header.config),
                          loaded.header.dtype, available_memory());
  auto engine = std::make_shared<EngineCore>(std::move(loaded), open_backend(options));
  engine->set_load_ms(clock.ms());
  return engine;
}

void Engine::pack(const ModelDescription& model, const LoadOptions& options, const LoadProgressFn& progress,
                  const std::atomic<bool>* cancelled) {
  if (progress) progress(LoadStage::kChecking, 0.0);
  check_config(model.config);
  write_packed_file(model, options, progress, cancelled);
  if (progress) progress(LoadStage::kReady, 1.0);
}

EngineCore::EngineCore(LoadedWeights loaded, std::unique_ptr<kernels::Backend> backend)
    : loaded_(std::move(loaded)),
      backend_(std::move(backend)),
      model_(loaded_.header.config, loaded_.weights, *backend_),
      info_(describe(loaded_, *backend_)) {}

std::unique_ptr<Session> EngineCore::create_session(std::int32_t max_positions) {
  if (closed_) throw Error(ErrorCode::kClosed, "the engine is closed; load the model again");
  if (max_positions < 1 || max_positions > config().max_positions) {
    throw Error(ErrorCode::kBadRequest, "a context of " + std::to_string(max_positions) +
                                            " positions is out of range; the model allows 1 to " +
                                            std::to_string(config().max_positions));
  }
  const StateShape shape = StateShape::of(config(), kv_type(info_.dtype));
  require_memory_for_session(shape, max_positions, loaded_.is_mapped() ? info_.weight_bytes : 0, available_memory());
  return std::make_unique<SessionCore>(std::static_pointer_cast<EngineCore>(shared_from_this()), shape, max_positions);
}

void EngineCore::close() {
  closed_ = true;
  turns_.wake();
}

}  // namespace pipo
