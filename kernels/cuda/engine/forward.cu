#include "kernels/cuda/engine/forward.h"

namespace pipo::cuda {
namespace {

GemvArgs plain(const float* x) {
  GemvArgs args;
  args.x = x;
  return args;
}
GemvArgs normed(const float* x, const float* norm) {
  GemvArgs args = plain(x);
  args.input = Input::kNorm;
  args.norm = norm;
  return args;
}
void add(GemvArgs& args, const Matrix& w, float* y, const float* bias = nullptr, bool accumulate = false) {
  args.terms[args.n_terms++] = {w, bias, y, accumulate};
}

void project(const Model& model, const Run& run, const LayerWeights& layer, bool with_queries, const float* x) {
  const Workspace& ws = model.workspace();
  GemvArgs args = normed(x, layer.input_norm);
  if (with_queries) add(args, layer.attention.q, ws.q_gate);
  add(args, layer.attention.k, ws.k);
  add(args, layer.attention.v, ws.v);
  multiply(model, run, args);
}

/// What attention of one and of many rows have in common.
template <class Args>
Args attention_args(const Session& session, const LayerWeights& layer, bool with_queries) {
  const PipoCudaConfig& c = session.model().config();
  const Workspace& ws = session.model().workspace();
  const KvPlanes kv = session.kv(layer.place);
  Args args;
  args.n_heads = c.n_heads;
  args.n_kv_heads = c.n_kv_heads;
  args.head_dim = c.head_dim;
  args.rotary_dim = c.rotary_dim;
  args.eps = c.eps;
  args.kv_f32 = c.kv_type == 0;
  args.q_gate = with_queries ? ws.q_gate : nullptr;
  args.k = ws.k;
  args.v = ws.v;
  args.q_norm = layer.attention.q_norm;
  args.k_norm = layer.attention.k_norm;
  args.keys = kv.keys;
  args.values = kv.values;
  args.out = ws.attended;
  return args;
}

void attend_row(const Session& session, const Run& run, const LayerWeights& layer, bool with_queries) {
  const Workspace& ws = session.model().workspace();
  auto args = attention_args<AttentionStepArgs>(session, layer, with_queries);
  args.rotation = run.rotation;
  args.position = run.position;
  args.position_offset = run.offset;
  args.first_visible = run.first_visible;
  args.splits = with_queries ? run.splits : 1;
  args.partial = ws.partial;
  args.arrived = ws.arrived;
  args.enabled = run.enabled;
  check(attention_step(run.queue, args), "run attention");
}

void attend_rows(const Session& session, const Run& run, const LayerWeights& layer, bool with_queries) {
  const Workspace& ws = session.model().workspace();
  auto args = attention_args<AttentionRowsArgs>(session, layer, with_queries);
  args.first_position = run.first_position + run.offset;
  args.rows = run.rows;
  args.inv_freq = ws.inv_freq;
  args.queries = ws.queries;
  args.partial = run.queue.multiprocessors <= kMostMultiprocessors ? ws.shared_attention : nullptr;
  check(attention_rows(run.queue, args), "run attention");
}

void attend(const Session& session, const Run& run, const LayerWeights& layer, bool with_queries) {
  if (run.rows == 1) attend_row(session, run, layer, with_queries);
  else attend_rows(session, run, layer, with_queries);
}

void add_attended(const Model& model, const Run& run, const LayerWeights& layer, float* x) {
  GemvArgs args = plain(model.workspace().attended);
  add(args, layer.attention.o, x, nullptr, true);
  multiply(model, run, args);
}

DeltaStepArgs delta_args(const Model& model, const LayerWeights& layer, const DeltaState& state) {
  const PipoCudaConfig& c = model.config();
  const DeltaWeights& w = layer.delta;
  DeltaStepArgs args;
  args.shape = {c.n_key_heads, c.n_value_heads, c.key_dim, c.value_dim, c.conv_kernel};
  args.conv = w.conv;
  args.neg_exp_a_log = w.neg_exp_a_log;
  args.dt_bias = w.dt_bias;
  args.ring = state.ring;
  args.state = state.recurrent;
  args.mixed = model.workspace().mixed;
  args.gates = model.workspace().gates;
  args.scratch = model.workspace().delta_scratch;
  args.scratch_bytes = delta_chunk_bytes(c);
  args.exact = w.qkv.type == WeightType::kF32;
  return args;
}

/// The delta rule stops where a snapshot is wanted; its projections do not.
void scan(const Session& session, const Run& run, const LayerWeights& layer, const std::vector<Segment>& segments) {
  const Model& model = session.model();
  const Workspace& ws = model.workspace();
  const Widths& width = model.widths();
  const std::int64_t heads = model.config().n_value_heads;
  DeltaStepArgs args = delta_args(model, layer, session.states().layer(layer.place));
  args.enabled = run.enabled;
  std::int64_t done = 0;
  for (const Segment& segment : segments) {
    args.qkv = ws.qkv + done * width.channels;
    args.a = ws.a + done * heads;
    args.b = ws.b + done * heads;
    args.out = ws.recalled + done * width.value;
    args.position = segment.position;
    args.rows = segment.rows;
    if (segment.rows > 0) check(delta_net_step(run.queue, args), "run the delta rule");
    done += segment.rows;
    if (segment.copy_after == nullptr) continue;
    check(runtime::copy(segment.copy_after->layer_base(layer.place), session.states().layer_base(layer.place),
                        States::layer_bytes(model.config()), run.queue.stream),
          "take a snapshot");
  }
}

void delta_block(const Session& session, const Run& run, const LayerWeights& layer,
                 const std::vector<Segment>& segments, float* x) {
  const Model& model = session.model();
  const Workspace& ws = model.workspace();
  GemvArgs in = normed(x, layer.input_norm);
  add(in, layer.delta.qkv, ws.qkv);
  add(in, layer.delta.z, ws.z);
  add(in, layer.delta.a, ws.a);
  add(in, layer.delta.b, ws.b);
  multiply(model, run, in);
  scan(session, run, layer, segments);
  GemvArgs out = plain(ws.recalled);
  out.input = Input::kGatedNorm;
  out.x2 = ws.z;
  out.norm = layer.delta.norm;
  out.head_dim = model.config().value_dim;
  add(out, layer.delta.out, x, nullptr, true);
  multiply(model, run, out);
}

void mlp_block(const Model& model, const Run& run, const LayerWeights& layer, float* x) {
  const Workspace& ws = model.workspace();
  if (layer.gate.type != layer.up.type || layer.gate.group != layer.up.group) {
    fail(kPipoCudaUnsupported, "the GPU has no kernel for this mix of weight types; use the CPU");
  }
  GemvArgs in = normed(x, layer.post_attention_norm);
  add(in, layer.gate, ws.mlp_gate);
  add(in, layer.up, ws.mlp_up);
  in.gate_up = true;
  if (run.rows > 1 && layer.gate.type != WeightType::kF32) return multiply_gated(model, run, in, layer.down, x);
  multiply(model, run, in);
  GemvArgs out = plain(ws.mlp_gate);
  add(out, layer.down, x, nullptr, true);
  multiply(model, run, out);
}

/// x [rows, H] = W_fc [norm(E next) ; norm(hidden)]
void join_draft_input(const Session& session, const Run& run, const int* next_ids, const float* hidden) {
  const Model& model = session.model();
  const Workspace& ws = model.workspace();
  const Weights& w = model.weights();
  check(embed(run.queue, w.embedding, next_ids, run.rows, ws.embeddings, run.enabled), "embed ids");
  GemvArgs args = plain(ws.embeddings);
  args.input = Input::kPairNorm;
  args.x2 = hidden;
  args.norm = w.draft_embedding_norm;
  args.norm2 = w.draft_hidden_norm;
  add(args, w.draft_fc, ws.x);
  multiply(model, run, args);
}

void finish_draft(const Session& session, const Run& run, float* draft) {
  const Model& model = session.model();
  const Weights& w = model.weights();
  const PipoCudaConfig& c = model.config();
  float* x = model.workspace().x;
  add_attended(model, run, w.draft_layer, x);
  mlp_block(model, run, w.draft_layer, x);
  check(rms_norm(run.queue, x, w.draft_norm, c.eps, run.rows, c.hidden_size, draft, run.enabled), "run a norm");
}

}  // namespace

void make_latents(const Model& model, const Run& run, bool pairs, const int* ids, float* x) {
  const Workspace& ws = model.workspace();
  const Weights& w = model.weights();
  float* embeddings = pairs ? ws.embeddings : x;
  check(embed(run.queue, w.embedding, ids, run.rows * (pairs ? 2 : 1), embeddings, run.enabled), "embed ids");
  if (!pairs) return;
  if (model.config().compressor == 1) {
    GemvArgs inner = plain(embeddings);
    inner.silu_output = true;
    add(inner, w.compressor_inner, ws.inner, w.compressor_inner_bias);
    multiply(model, run, inner);
    embeddings = ws.inner;
  }
  GemvArgs outer = plain(embeddings);
  add(outer, w.compressor_outer, x, w.compressor_outer_bias);
  multiply(model, run, outer);
}

void run_layer(const Session& session, const Run& run, const LayerWeights& layer, const std::vector<Segment>& segments,
               float* x) {
  const Model& model = session.model();
  if (layer.is_delta) {
    delta_block(session, run, layer, segments, x);
  } else {
    project(model, run, layer, true, x);
    attend(session, run, layer, true);
    add_attended(model, run, layer, x);
  }
  mlp_block(model, run, layer, x);
}

void run_draft(const Session& session, const Run& run, const int* next_ids, const float* hidden, float* draft) {
  const Model& model = session.model();
  const LayerWeights& layer = model.weights().draft_layer;
  join_draft_input(session, run, next_ids, hidden);
  project(model, run, layer, true, model.workspace().x);
  attend(session, run, layer, true);
  finish_draft(session, run, draft);
}

void run_draft_rows(const Session& session, const Run& run, const int* next_ids, const float* hidden) {
  const Model& model = session.model();
  const LayerWeights& layer = model.weights().draft_layer;
  join_draft_input(session, run, next_ids, hidden);
  project(model, run, layer, false, model.workspace().x);
  attend(session, run, layer, false);
}

void run_draft_or_row(const Session& session, const Run& run, const int* next_ids, const float* hidden, float* draft,
                      const int* joined, const int* row_only) {
  const Model& model = session.model();
  const LayerWeights& layer = model.weights().draft_layer;
  Run both = run, row = run;
  both.enabled = joined;
  row.enabled = row_only;
  join_draft_input(session, both, next_ids, hidden);
  project(model, both, layer, true, model.workspace().x);
  attend(session, row, layer, false);
  attend(session, run, layer, true);
  finish_draft(session, run, draft);
}

void confidence_logit(const Model& model, const Run& run, const float* hidden, const float* draft, float* out) {
  const Workspace& ws = model.workspace();
  const Weights& w = model.weights();
  GemvArgs inner = plain(hidden);
  inner.input = Input::kJointNorm;
  inner.x2 = draft;
  inner.norm = w.confidence_norm;
  inner.silu_output = true;
  add(inner, w.confidence_fc1, ws.inner);
  multiply(model, run, inner);
  GemvArgs outer = plain(ws.inner);
  add(outer, w.confidence_fc2, out);
  multiply(model, run, outer);
}

void pre_gate_logit(const Model& model, const Run& run, const float* hidden, float* out) {
  GemvArgs args = plain(hidden);
  add(args, model.weights().pre_gate, out, model.weights().pre_gate_bias);
  multiply(model, run, args);
}

void output_logits(const Model& model, const Run& run, const float* hidden) {
  GemvArgs args = plain(hidden);
  add(args, model.weights().lm_head, model.workspace().logits);
  multiply(model, run, args);
}

}  // namespace pipo::cuda
