#include "kernels/cuda/engine/device_rates.h"
#include "kernels/cuda/engine/extend.h"
#include "kernels/cuda/engine/heads.h"
#include "kernels/cuda/engine/request.h"
#include "kernels/cuda_memory.h"

/// The entry of the shared library: its table of functions, each of which turns what the engine throws into a status
/// and words.
namespace {

using namespace pipo::cuda;

Model& of(PipoCudaModel* model) { return *reinterpret_cast<Model*>(model); }
Session& of(PipoCudaSession* session) { return *reinterpret_cast<Session*>(session); }

PipoCudaStatus device(PipoCudaDevice* out, PipoCudaError* error) { return runtime::describe(out, error); }

PipoCudaStatus plan(const PipoCudaConfig* config, const PipoCudaTensor* tensors, int32_t n_tensors,
                    int32_t max_positions, int32_t n_snapshots, PipoCudaMemory* out, PipoCudaError* error) {
  return guarded(error, [&] {
    *out = pipo::kernels::plan_cuda_memory(*config, tensors, n_tensors, max_positions, n_snapshots);
  });
}

PipoCudaStatus model_create(const PipoCudaConfig* config, const PipoCudaTensor* tensors, int32_t n_tensors,
                            int32_t (*keep_going)(void*, double), void* context, PipoCudaModel** out,
                            PipoCudaError* error) {
  return guarded(error, [&] {
    *out = reinterpret_cast<PipoCudaModel*>(new Model(*config, tensors, n_tensors, keep_going, context));
  });
}
void model_destroy(PipoCudaModel* model) { delete reinterpret_cast<Model*>(model); }
int32_t max_rows(const PipoCudaModel*) { return kChunkRows; }

PipoCudaStatus session_create(PipoCudaModel* model, PipoCudaSession** out, PipoCudaError* error) {
  return guarded(error, [&] { *out = reinterpret_cast<PipoCudaSession*>(new Session(of(model))); });
}
void session_destroy(PipoCudaSession* session) { delete reinterpret_cast<Session*>(session); }

PipoCudaStatus reserve(PipoCudaSession* session, int32_t positions, int32_t used, PipoCudaError* error) {
  return guarded(error, [&] { of(session).reserve(positions, used); });
}
PipoCudaStatus session_clear(PipoCudaSession* session, PipoCudaError* error) {
  return guarded(error, [&] { of(session).clear(); });
}

PipoCudaStatus snapshot_create(PipoCudaSession* session, PipoCudaSnapshot** out, PipoCudaError* error) {
  return guarded(error, [&] { *out = reinterpret_cast<PipoCudaSnapshot*>(new Snapshot(of(session).model())); });
}
void snapshot_destroy(PipoCudaSnapshot* snapshot) { delete reinterpret_cast<Snapshot*>(snapshot); }
PipoCudaStatus restore(PipoCudaSession* session, const PipoCudaSnapshot* snapshot, PipoCudaError* error) {
  return guarded(error, [&] { of(session).restore(*reinterpret_cast<const Snapshot*>(snapshot)); });
}

PipoCudaStatus extend_session(PipoCudaSession* session, const PipoCudaExtend* chunk, PipoCudaError* error) {
  return guarded(error, [&] { extend(of(session), *chunk); });
}
PipoCudaStatus draft_of(PipoCudaSession* session, int32_t position, int32_t next_slot, int32_t first_visible,
                        PipoCudaError* error) {
  return guarded(error, [&] { draft(of(session), position, next_slot, first_visible); });
}

const float* hidden(PipoCudaSession* session) { return of(session).hidden(); }
const float* hidden_row(PipoCudaSession* session, int32_t row) {
  const Model& model = of(session).model();
  return model.workspace().hidden + std::int64_t{row + 1} * model.config().hidden_size;
}
const float* draft_row(PipoCudaSession* session, int32_t row) {
  const Model& model = of(session).model();
  return model.workspace().draft + std::int64_t{row} * model.config().hidden_size;
}

PipoCudaStatus confidence_of(PipoCudaSession* session, const float* hidden, const float* draft, float* out,
                             PipoCudaError* error) {
  return guarded(error, [&] { *out = confidence(of(session), hidden, draft); });
}
PipoCudaStatus pre_gate_of(PipoCudaSession* session, const float* hidden, float* out, PipoCudaError* error) {
  return guarded(error, [&] { *out = pre_gate(of(session), hidden); });
}
PipoCudaStatus logits_of(PipoCudaSession* session, const float* hidden, float* out, PipoCudaError* error) {
  return guarded(error, [&] { logits(of(session), hidden, out); });
}
PipoCudaStatus read_vector(PipoCudaSession* session, const float* vector, int32_t count, float* out,
                           PipoCudaError* error) {
  return guarded(error, [&] { read(of(session), vector, count, out); });
}

PipoCudaStatus request_begin(PipoCudaSession* session, const PipoCudaRequest* request, PipoCudaError* error) {
  return guarded(error, [&] { begin_request(of(session), *request); });
}
PipoCudaStatus step_launch(PipoCudaSession* session, PipoCudaError* error) {
  return guarded(error, [&] { launch_step(of(session)); });
}
PipoCudaStatus step_first(PipoCudaSession* session, int32_t* any, int32_t* first, PipoCudaError* error) {
  return guarded(error, [&] { *any = first_of_step(of(session), first); });
}
PipoCudaStatus step_take(PipoCudaSession* session, int32_t* any, PipoCudaStep* out, PipoCudaError* error) {
  return guarded(error, [&] { *any = take_step(of(session), out); });
}
void request_cancel(PipoCudaSession* session) { *of(session).cancel() = 1; }

PipoCudaStatus measure_copy(int64_t bytes, double* out, PipoCudaError* error) {
  return guarded(error, [&] { *out = measure_copy_rate(bytes); });
}
PipoCudaStatus measure_matrix(double* out, PipoCudaError* error) {
  return guarded(error, [&] { *out = measure_matrix_rate(); });
}

const PipoCudaApi kApi = [] {
  PipoCudaApi api{};
  api.version = PIPO_CUDA_API_VERSION;
  api.device = device;
  api.plan = plan;
  api.model_create = model_create;
  api.model_destroy = model_destroy;
  api.max_rows = max_rows;
  api.session_create = session_create;
  api.session_destroy = session_destroy;
  api.reserve = reserve;
  api.session_clear = session_clear;
  api.snapshot_create = snapshot_create;
  api.snapshot_destroy = snapshot_destroy;
  api.restore = restore;
  api.extend = extend_session;
  api.draft = draft_of;
  api.hidden = hidden;
  api.hidden_row = hidden_row;
  api.draft_row = draft_row;
  api.confidence = confidence_of;
  api.pre_gate = pre_gate_of;
  api.logits = logits_of;
  api.read = read_vector;
  api.request_begin = request_begin;
  api.step_launch = step_launch;
  api.step_first = step_first;
  api.step_take = step_take;
  api.request_cancel = request_cancel;
  api.measure_copy = measure_copy;
  api.measure_matrix = measure_matrix;
  return api;
}();

}  // namespace

extern "C" __attribute__((visibility("default"))) const PipoCudaApi* pipo_cuda_api(std::uint32_t version) {
  return version == PIPO_CUDA_API_VERSION ? &kApi : nullptr;
}
