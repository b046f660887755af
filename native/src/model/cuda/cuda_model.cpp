#include "model/cuda/cuda_model.h"

#include "cache/snapshot_store.h"
#include "kernels/cuda_memory.h"
#include "model/cuda/cuda_states.h"
#include "pipo/error.h"

namespace pipo {
namespace {

PipoCudaSession* session_of(Timeline& timeline) { return static_cast<CudaStates&>(timeline.states()).session(); }

std::vector<PipoCudaPoint> points_of(std::span<const SnapshotPoint> points) {
  std::vector<PipoCudaPoint> out;
  for (const SnapshotPoint& point : points) {
    out.push_back({point.rows, static_cast<const CudaSnapshot*>(point.snapshot)->get()});
  }
  return out;
}

std::int32_t asks_to_stop(void* signal) { return static_cast<const StopSignal*>(signal)->requested() ? 1 : 0; }

std::int32_t keeps_going(void* keep_going, double fraction) {
  return (*static_cast<const CudaModel::KeepGoing*>(keep_going))(fraction) ? 1 : 0;
}

ErrorCode load_error(PipoCudaStatus status) {
  switch (status) {
    case kPipoCudaOutOfMemory:
      return ErrorCode::kNotEnoughMemory;
    case kPipoCudaUnusable:
    case kPipoCudaUnsupported:
      return ErrorCode::kUnsupported;
    case kPipoCudaCancelled:
      return ErrorCode::kCancelled;
    default:
      return ErrorCode::kInternal;
  }
}

/// What the library plans for the model and one session; throws kUnsupported when it has no kernels for it.
PipoCudaMemory plan(const PipoCudaApi& api, const CudaDescription& d, std::int32_t max_positions,
                    std::int32_t n_snapshots) {
  PipoCudaMemory memory{};
  PipoCudaError error{};
  const PipoCudaStatus status =
      api.plan(&d.config, d.tensors.data(), d.n_tensors(), max_positions, n_snapshots, &memory, &error);
  if (status != kPipoCudaOk) throw Error(load_error(status), error.words);
  return memory;
}

/// Asked anew every time: other programs come and go.
std::int64_t free_bytes(const PipoCudaApi& api) {
  PipoCudaDevice device{};
  PipoCudaError error{};
  if (api.device(&device, &error) != kPipoCudaOk) throw Error(ErrorCode::kInternal, error.words);
  return device.free_bytes;
}

}  // namespace

CudaModel::CudaModel(const ModelConfig& config, std::vector<PipoCudaTensor> tensors, const StateShape& shape,
                     std::shared_ptr<kernels::CudaLibrary> library, DeviceStepping stepping,
                     const KeepGoing& keep_going)
    : config_(config),
      shape_(shape),
      calls_(std::move(library)),
      description_(config, std::move(tensors), shape.kv_type),
      stepping_(stepping),
      steps_(calls_, stepping == DeviceStepping::kGraph, config.vocab_size),
      logits_(static_cast<std::size_t>(config.vocab_size)) {
  const PipoCudaStatus status =
      calls_.status(&PipoCudaApi::model_create, &description_.config, description_.tensors.data(),
                    description_.n_tensors(), keep_going ? keeps_going : nullptr,
                    const_cast<void*>(static_cast<const void*>(&keep_going)), &model_);
  if (status == kPipoCudaCancelled) throw Error(ErrorCode::kCancelled, "loading cancelled");
  if (status != kPipoCudaOk) throw Error(load_error(status), calls_.last_error());
  description_.forget_data();
  max_rows_ = calls_.api().max_rows(model_);
}

CudaModel::~CudaModel() {
  if (model_ != nullptr) calls_.destroy(&PipoCudaApi::model_destroy, model_);
}

std::unique_ptr<TimelineStates> CudaModel::make_states() {
  return std::make_unique<CudaStates>(calls_, model_, shape_);
}

RunResult CudaModel::extend(Timeline& timeline, std::span<const std::int32_t> slots,
                            std::span<const SnapshotPoint> points, const StopSignal* stop) {
  return extend(timeline, slots, points, stop, kPipoDraftCache);
}

RunResult CudaModel::extend_with_drafts(Timeline& timeline, std::span<const std::int32_t> slots,
                                        const StopSignal* stop) {
  return extend(timeline, slots, {}, stop, kPipoDraftHidden);
}

RunResult CudaModel::extend(Timeline& timeline, std::span<const std::int32_t> slots,
                            std::span<const SnapshotPoint> points, const StopSignal* stop,
                            PipoCudaDraftRows draft_rows) {
  const bool pair_mode = timeline.mode() == DecodeMode::kPair;
  const bool row_before_done = draft_rows == kPipoDraftCache && timeline.draft_row_slot() == slots[0];
  const std::vector<PipoCudaPoint> device_points = points_of(points);
  PipoCudaExtend e{};
  e.pair_mode = pair_mode ? 1 : 0;
  e.slots = slots.data();
  e.rows = static_cast<std::int32_t>(slots.size()) / timeline.slots_per_position();
  e.first_position = timeline.positions();
  e.points = device_points.data();
  e.n_points = static_cast<std::int32_t>(device_points.size());
  e.draft_rows = pair_mode ? draft_rows : kPipoDraftNone;
  e.skip_row_before = timeline.positions() == 0 || row_before_done ? 1 : 0;
  e.stop = stop != nullptr ? asks_to_stop : nullptr;
  e.stop_context = const_cast<StopSignal*>(stop);
  timeline.begin_change();
  const PipoCudaStatus status = calls_.status(&PipoCudaApi::extend, session_of(timeline), &e);
  if (status == kPipoCudaCancelled) return {Status::kOk, true};
  if (status == kPipoCudaOk) timeline.commit(slots);
  return {CudaCalls::to_status(status)};
}

Status CudaModel::draft(Timeline& timeline, std::int32_t next_slot, std::int32_t first_visible) {
  const Status status = calls_.run(&PipoCudaApi::draft, session_of(timeline), timeline.positions() - 1, next_slot,
                                   first_visible);
  if (status == Status::kOk) timeline.set_draft_row_slot(next_slot);
  return status;
}

Status CudaModel::confidence(Timeline& timeline, const float* hidden, const float* draft, float* confidence) {
  return calls_.run(&PipoCudaApi::confidence, session_of(timeline), hidden, draft, confidence);
}

Status CudaModel::pre_gate(Timeline& timeline, const float* hidden, float* g) {
  return calls_.run(&PipoCudaApi::pre_gate, session_of(timeline), hidden, g);
}

Status CudaModel::compute_logits(Timeline& timeline, const float* hidden) {
  return calls_.run(&PipoCudaApi::logits, session_of(timeline), hidden, logits_.data());
}

const float* CudaModel::hidden_row(Timeline& timeline, std::int32_t row) {
  return calls_.api().hidden_row(session_of(timeline), row);
}

const float* CudaModel::draft_row(Timeline& timeline, std::int32_t row) {
  return calls_.api().draft_row(session_of(timeline), row);
}

Status CudaModel::read(Timeline& timeline, const float* vector, std::span<float> out) {
  return calls_.run(&PipoCudaApi::read, session_of(timeline), vector, static_cast<std::int32_t>(out.size()),
                    out.data());
}

std::string CudaModel::session_refusal(std::int32_t max_positions) const {
  const std::int32_t n_snapshots = SnapshotStore::capacity(shape_.snapshot_bytes());
  const PipoCudaMemory memory = plan(calls_.api(), description_, max_positions, n_snapshots);
  // The model is there already; what it took counts as free.
  const std::int64_t available = free_bytes(calls_.api()) + memory.weights + memory.workspace;
  return kernels::memory_refusal(memory, available, max_positions);
}

std::string cuda_load_refusal(const kernels::CudaLibrary& library, const ModelConfig& config,
                              std::vector<PipoCudaTensor> shapes, const StateShape& shape,
                              std::int32_t max_positions) {
  const CudaDescription description(config, std::move(shapes), shape.kv_type);
  const std::int32_t n_snapshots = SnapshotStore::capacity(shape.snapshot_bytes());
  const PipoCudaMemory memory = plan(library.api(), description, max_positions, n_snapshots);
  return kernels::memory_refusal(memory, free_bytes(library.api()), max_positions);
}

}  // namespace pipo
