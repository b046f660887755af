#include "model/cuda/cuda_states.h"

namespace pipo {

CudaSnapshot::CudaSnapshot(CudaCalls& calls, PipoCudaSession* session) : calls_(calls) {
  calls_.require(&PipoCudaApi::snapshot_create, session, &snapshot_);
}

CudaSnapshot::~CudaSnapshot() { calls_.destroy(&PipoCudaApi::snapshot_destroy, snapshot_); }

CudaStates::CudaStates(CudaCalls& calls, PipoCudaModel* model, const StateShape& shape)
    : calls_(calls), snapshot_bytes_(shape.snapshot_bytes()) {
  calls_.require(&PipoCudaApi::session_create, model, &session_);
}

CudaStates::~CudaStates() { calls_.destroy(&PipoCudaApi::session_destroy, session_); }

void CudaStates::clear() { calls_.require(&PipoCudaApi::session_clear, session_); }

void CudaStates::reserve(std::int32_t positions, std::int32_t used, std::int32_t max_positions) {
  if (positions <= capacity_) return;
  const std::int32_t room = grown(capacity_, positions, max_positions);
  calls_.require(&PipoCudaApi::reserve, session_, room, used);
  capacity_ = room;
}

std::unique_ptr<Snapshot> CudaStates::make_snapshot() { return std::make_unique<CudaSnapshot>(calls_, session_); }

void CudaStates::restore(const Snapshot& snapshot) {
  const PipoCudaSnapshot* saved = static_cast<const CudaSnapshot&>(snapshot).get();
  calls_.require(&PipoCudaApi::restore, session_, saved);
}

const float* CudaStates::hidden() { return calls_.api().hidden(session_); }

}  // namespace pipo
