#include "kernels/cuda/engine/forward.h"

namespace pipo::cuda {
namespace {

/// Rows of fp32 may stand beside those of any other type.
bool share_a_launch(const Matrix& first, const Matrix& other) {
  if (first.k != other.k) return false;
  return other.type == WeightType::kF32 || (first.type == other.type && first.group == other.group);
}

/// One row: as few launches as the types and widths of its terms allow.
void multiply_row(const Run& run, const GemvArgs& args) {
  bool done[kGemvTerms] = {};
  for (int t = 0; t < args.n_terms; ++t) {
    if (done[t]) continue;
    GemvArgs group = args;
    group.n_terms = 0;
    for (int other = t; other < args.n_terms; ++other) {
      if (done[other] || !share_a_launch(args.terms[t].w, args.terms[other].w)) continue;
      group.terms[group.n_terms++] = args.terms[other];
      done[other] = true;
    }
    check(gemv(run.queue, group), "run a product");
  }
}

bool has_two_parts(Input input) { return input == Input::kPairNorm || input == Input::kJointNorm; }

void multiply_gate_up_plainly(const Run& run, GemvArgs args) {
  args.x_stride = args.terms[0].w.k;
  args.y_stride = args.terms[0].w.n;
  check(gemv(run.queue, args, run.rows), "run a product");
}

void multiply_rows_plainly(const Run& run, const GemvArgs& args, const GemvTerm& term) {
  GemvArgs one = args;
  one.terms[0] = term;
  one.n_terms = 1;
  one.x_stride = has_two_parts(args.input) ? term.w.k / 2 : term.w.k;
  one.y_stride = term.w.n;
  check(gemv(run.queue, one, run.rows), "run a product");
}

RowsInput rows_input(const GemvArgs& args, int rows, const Matrix& w, std::uint16_t* to) {
  RowsInput input;
  input.input = args.input;
  input.x = args.x;
  input.x2 = args.x2;
  input.norm = args.norm;
  input.norm2 = args.norm2;
  input.eps = args.eps;
  input.head_dim = args.head_dim;
  input.rows = rows;
  input.k = w.k;
  input.k_padded = w.k_padded;
  input.to = to;
  return input;
}

GemmArgs product_of(const std::uint16_t* x, const Matrix& w, int rows) {
  GemmArgs product;
  product.x = x;
  product.w = w;
  product.m = rows;
  return product;
}

}  // namespace

void multiply(const Model& model, const Run& run, GemvArgs args) {
  args.eps = model.config().eps;
  args.enabled = run.enabled;
  args.ahead = run.ahead;
  if (run.rows == 1) return multiply_row(run, args);
  if (args.gate_up) return multiply_gate_up_plainly(run, args);
  std::uint16_t* inputs = model.workspace().inputs;
  int prepared = 0;  // k_padded of what lies in `inputs`
  for (int t = 0; t < args.n_terms; ++t) {
    const GemvTerm& term = args.terms[t];
    if (term.w.type == WeightType::kF32) {
      multiply_rows_plainly(run, args, term);
      continue;
    }
    if (prepared != term.w.k_padded) {
      check(prepare_rows(run.queue, rows_input(args, run.rows, term.w, inputs)), "prepare a product");
      prepared = term.w.k_padded;
    }
    GemmArgs product = product_of(inputs, term.w, run.rows);
    product.bias = term.bias;
    product.y = term.y;
    product.y_stride = term.w.n;
    product.accumulate = term.accumulate;
    product.silu_output = args.silu_output;
    check(gemm(run.queue, product), "run a product");
  }
}

void multiply_gated(const Model& model, const Run& run, GemvArgs gate_up, const Matrix& down, float* y) {
  if (down.type == WeightType::kF32) fail(kPipoCudaUnsupported, "the GPU has no kernel for this mix of weight types");
  const Workspace& ws = model.workspace();
  const Matrix &gate = gate_up.terms[0].w, &up = gate_up.terms[1].w;
  gate_up.eps = model.config().eps;
  check(prepare_rows(run.queue, rows_input(gate_up, run.rows, gate, ws.inputs)), "prepare a product");
  GemmArgs inner = product_of(ws.inputs, gate, run.rows);
  inner.up = up;
  inner.y_bf16 = ws.mlp_inner;
  inner.y_stride = inner.y_bf16_columns = down.k_padded;
  check(gemm(run.queue, inner), "run a product");
  GemmArgs outer = product_of(ws.mlp_inner, down, run.rows);
  outer.y = y;
  outer.y_stride = down.n;
  outer.accumulate = true;
  check(gemm(run.queue, outer), "run a product");
}

}  // namespace pipo::cuda
