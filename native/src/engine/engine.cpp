#include <new>

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

EngineInfo describe(const LoadedWeights& loaded, const OpenedModel& opened) {
  const PackedHeader& h = loaded.header;
  EngineInfo info;
  info.name = h.name;
  info.backend = opened.backend_name;
  info.device = opened.device;
  info.backend_note = opened.note;
  info.threads = opened.threads;
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

}  // namespace

std::shared_ptr<Engine> Engine::load(const ModelDescription& model, const LoadOptions& options,
                                     const LoadProgressFn& progress, const std::atomic<bool>* cancelled) {
  const Stopwatch clock;
  if (progress) progress(LoadStage::kChecking, 0.0);
  check_config(model.config);
  ModelOpener opener(options);
  opener.check_fit(plan_packed(model, options.dtype, options.group_size));
  LoadedWeights loaded = load_weights(model, options, progress, cancelled);
  OpenedModel opened = opener.open(loaded, progress, cancelled);
  auto engine = std::make_shared<EngineCore>(std::move(loaded), std::move(opened));
  engine->set_load_ms(clock.ms());
  if (progress) progress(LoadStage::kReady, 1.0);
  return engine;
}

std::shared_ptr<Engine> Engine::load_packed(const std::string& path, const LoadOptions& options) {
  const Stopwatch clock;
  LoadedWeights loaded = map_packed_file(path);
  loaded.from_packed_file = true;
  check_config(loaded.header.config);
  LoadOptions mapped = options;
  mapped.packed_file = path;
  ModelOpener opener(mapped);
  opener.check_fit(loaded.header);
  OpenedModel opened = opener.open(loaded, {}, nullptr);
  auto engine = std::make_shared<EngineCore>(std::move(loaded), std::move(opened));
  engine->set_load_ms(clock.ms());
  return engine;
}

std::vector<TensorSpec> Engine::tensors(const ModelConfig& config) {
  check_config(config);
  ModelWeights unused;
  std::vector<TensorSpec> tensors;
  for (WeightSpec& spec : map_weights(config, unused)) tensors.push_back({std::move(spec.name), std::move(spec.shape)});
  return tensors;
}

EngineCore::EngineCore(LoadedWeights loaded, OpenedModel opened)
    : loaded_(std::move(loaded)), opened_(std::move(opened)), info_(describe(loaded_, opened_)) {}

std::unique_ptr<Session> EngineCore::create_session(std::int32_t max_positions) {
  if (closed_) throw Error(ErrorCode::kClosed, "the engine is closed; load the model again");
  if (max_positions < 1 || max_positions > config().max_positions) {
    throw Error(ErrorCode::kBadRequest, "a context of " + std::to_string(max_positions) +
                                            " positions is out of range; the model allows 1 to " +
                                            std::to_string(config().max_positions));
  }
  require_memory(max_positions);
  try {
    return std::make_unique<SessionCore>(std::static_pointer_cast<EngineCore>(shared_from_this()), max_positions);
  } catch (const std::bad_alloc&) {
    throw Error(ErrorCode::kNotEnoughMemory, "no memory for another session; close one, or close other programs");
  }
}

void EngineCore::require_memory(std::int32_t max_positions) const {
  if (opened_.backend) {
    require_memory_for_session(state_shape(loaded_.header), max_positions,
                               loaded_.is_mapped() ? info_.weight_bytes : 0, available_memory());
    return;
  }
  const std::string refusal = opened_.model->session_refusal(max_positions);
  if (!refusal.empty()) throw Error(ErrorCode::kNotEnoughMemory, refusal);
}

void EngineCore::close() {
  closed_ = true;
  turns_.wake();
}

}  // namespace pipo
