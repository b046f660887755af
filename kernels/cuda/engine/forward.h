#pragma once

#include "kernels/cuda/engine/session.h"

/// The parts of a pass through the model, for one row (a decode step, fused kernels) or many (a chunk, tensor cores).
/// All of them only queue work; they throw when a launch fails.
namespace pipo::cuda {

/// Rows that go through the layers together.
struct Run {
  Queue queue;
  int rows = 1;
  const int* position = nullptr;  ///< device word: position of row 0 is that plus `offset`
  int offset = 0;
  int first_position = 0;              ///< the same on the host; many rows only
  const float* rotation = nullptr;     ///< of the position; one row only
  int splits = 1;                      ///< one row only
  const int* first_visible = nullptr;  ///< device word, null: all rows are seen; one row only
  const int* enabled = nullptr;        ///< device word; one row only
  bool ahead = true;                   ///< products ask for weights before they know whether they are enabled
};

/// y = W x for the rows of a run, for up to kGemvTerms matrices that share x. `args` as for gemv with one position;
/// x has rows of the matrices' k (of half of it where the input has two parts), y rows of n.
void multiply(const Model& model, const Run& run, GemvArgs args);

/// y += down(SiLU(gate u) * (up u)) for many rows on the tensor cores; u and the two matrices as `gate_up` says.
void multiply_gated(const Model& model, const Run& run, GemvArgs gate_up, const Matrix& down, float* y);

/// Latents from embeddings: `x` [rows, H] from the ids at `ids` (device), 2 per row where `pairs`.
void make_latents(const Model& model, const Run& run, bool pairs, const int* ids, float* x);

/// x += attention or gated delta rule of norm(x), then x += MLP of norm(x). `points` split the delta rule's rows: after
/// each, its state is copied into the snapshot.
struct Segment {
  int rows = 0;                         ///< from the one before
  const int* position = nullptr;        ///< device word of its first row
  const States* copy_after = nullptr;
};
void run_layer(const Session& session, const Run& run, const LayerWeights& layer, const std::vector<Segment>& segments,
               float* x);

/// draft [rows, H] = draft head of (next ids, hidden [rows, H]).
void run_draft(const Session& session, const Run& run, const int* next_ids, const float* hidden, float* draft);
/// Only its rows of keys and values.
void run_draft_rows(const Session& session, const Run& run, const int* next_ids, const float* hidden);

/// The same for one row of a step, in which `joined` enables what both of them do, `row_only` the second alone and
/// run.enabled the rest of the first.
void run_draft_or_row(const Session& session, const Run& run, const int* next_ids, const float* hidden, float* draft,
                      const int* joined, const int* row_only);

/// Logits of the heads, one float each.
void confidence_logit(const Model& model, const Run& run, const float* hidden, const float* draft, float* out);
void pre_gate_logit(const Model& model, const Run& run, const float* hidden, float* out);
/// logits [V]
void output_logits(const Model& model, const Run& run, const float* hidden);

}  // namespace pipo::cuda
