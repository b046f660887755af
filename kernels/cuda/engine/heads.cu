#include "kernels/cuda/engine/heads.h"

#include <cmath>

#include "kernels/cuda/engine/forward.h"

namespace pipo::cuda {
namespace {

Run one_row(const Model& model) {
  Run run;
  run.queue = model.queue();
  return run;
}

float read_sigmoid(Session& session) {
  float logit = 0.0f;
  read(session, session.model().workspace().scalar, 1, &logit);
  return 1.0f / (1.0f + std::exp(-logit));
}

}  // namespace

void draft(Session& session, int position, int next_slot, int first_visible) {
  const Model& model = session.model();
  const Workspace& ws = model.workspace();
  if (!model.is_pair()) fail(kPipoCudaUnsupported, "this model has no draft head; use plain mode");
  if (position < 0 || position >= session.capacity()) fail(kPipoCudaUnsupported, "the position was never executed");
  const std::int32_t words[] = {next_slot, position, first_visible};
  check(runtime::copy(ws.words, words, sizeof words, model.queue().stream), "take ids");
  Run run = one_row(model);
  run.position = ws.words + 1;
  run.first_visible = ws.words + 2;
  run.splits = model.splits(position + 1);
  run.rotation = ws.rotation;
  check(rotation(run.queue, ws.inv_freq, model.config().rotary_dim / 2, run.position, 0, ws.rotation),
        "rotate positions");
  run_draft(session, run, ws.words, session.hidden(), ws.draft);
}

float confidence(Session& session, const float* hidden, const float* draft) {
  const Model& model = session.model();
  if (!model.is_pair()) fail(kPipoCudaUnsupported, "this model has no confidence head; use plain mode");
  confidence_logit(model, one_row(model), hidden, draft, model.workspace().scalar);
  return read_sigmoid(session);
}

float pre_gate(Session& session, const float* hidden) {
  const Model& model = session.model();
  if (!model.config().has_pre_gate) fail(kPipoCudaUnsupported, "this model has no pre-gate");
  pre_gate_logit(model, one_row(model), hidden, model.workspace().scalar);
  return read_sigmoid(session);
}

void logits(Session& session, const float* hidden, float* out) {
  const Model& model = session.model();
  output_logits(model, one_row(model), hidden);
  read(session, model.workspace().logits, model.config().vocab_size, out);
}

void read(Session& session, const float* vector, int count, float* out) {
  const Stream stream = session.model().queue().stream;
  check(runtime::copy(out, vector, 4ll * count, stream), "read a vector");
  check(runtime::synchronize(stream), "run the model");
}

}  // namespace pipo::cuda
