#include "model/confidence_head.h"

#include <cmath>
#include <cstring>

#include "model/layers/linear.h"

namespace pipo {

Status confidence_of(const Forward& f, const ConfidenceHeadWeights& w, const float* hidden, const float* draft,
                     float* confidence) {
  Workspace& ws = f.ws;
  const std::int32_t size = f.hidden_size;
  std::memcpy(ws.embeddings, hidden, size * sizeof(float));
  std::memcpy(ws.embeddings + size, draft, size * sizeof(float));
  PIPO_TRY(f.ops.rms_norm(ws.embeddings, w.norm, f.eps, 1, 2 * size, ws.normed));
  PIPO_TRY(linear(f, ws.normed, 1, {{w.fc1, ws.inner}}));
  PIPO_TRY(f.ops.silu(size, ws.inner));
  PIPO_TRY(linear(f, ws.inner, 1, {{w.fc2, ws.scalar}}));
  *confidence = 1.0f / (1.0f + std::exp(-ws.scalar[0]));
  return Status::kOk;
}

}  // namespace pipo
