#include "kernels/cuda/engine/step.h"

#include "kernels/cuda/engine/forward.h"

namespace pipo::cuda {
namespace {

/// One step in the order of its launches. Each looks at a word of the state that says whether it runs.
class Step {
 public:
  Step(Session& session, const Queue& queue, const StepKind& kind)
      : s_(session), m_(session.model()), ws_(m_.workspace()), state_(session.step_state()), kind_(kind) {
    run_.queue = queue;
    run_.position = &state_->position;
    run_.splits = kind.splits;
    run_.rotation = ws_.rotation;
  }

  void queue() {
    decide(step_begin_kernel);
    rotate(0, ws_.rotation);
    if (kind_.pair) rotate(-1, draft_rotation());
    choose_first();
    if (kind_.pair && kind_.proposes) {
      choose_second();
    } else {
      if (kind_.pair) run_draft_rows(s_, draft_run(&state_->run_row), &state_->first, s_.hidden());
      decide(step_commit_kernel);
    }
    backbone();
    decide(step_advance_kernel);
  }

 private:
  void decide(void (*kernel)(StepState*)) {
    const Shape one{dim3(1), dim3(1), 0, run_.queue.stream, run_.queue.overlap};
    check(launch(one, kernel, state_), "run a step");
  }
  float* draft_rotation() const { return ws_.rotation + m_.config().rotary_dim; }
  void rotate(int offset, float* table) {
    check(rotation(run_.queue, ws_.inv_freq, m_.config().rotary_dim / 2, run_.position, offset, table),
          "rotate positions");
  }
  Run enabled_by(const int* word) const {
    Run run = run_;
    run.enabled = word;
    return run;
  }
  /// The draft head runs at the last position.
  Run draft_run(const int* word) const {
    Run run = enabled_by(word);
    run.offset = -1;
    run.rotation = draft_rotation();
    run.first_visible = &state_->first_visible_row;
    return run;
  }

  void sample_token(int number, int* id, float* logprob, const int* enabled, StepDecision then) {
    SampleArgs args;
    args.logits = ws_.logits;
    args.vocab = m_.config().real_vocab_size;
    args.request = s_.sample_request();
    args.slot = &state_->slot;
    args.slot_offset = number;
    args.produced = &state_->tokens;
    args.produced_offset = number;
    args.draws = kind_.draws;
    args.scratch = ws_.sampling;
    args.id = id;
    args.logprob = logprob;
    args.enabled = enabled;
    args.then = then;
    args.step = state_;
    check(sample(run_.queue, args), "choose a token");
  }

  void choose_first() {
    const Run run = enabled_by(&state_->run_first);
    if (kind_.pre_gate) pre_gate_logit(m_, run, s_.hidden(), &state_->pre_gate_logit);
    output_logits(m_, run, s_.hidden());
    sample_token(0, &state_->first, &state_->first_logprob, run.enabled, StepDecision::kChoose);
  }

  void choose_second() {
    const Run run = draft_run(&state_->run_draft);
    run_draft_or_row(s_, run, &state_->first, s_.hidden(), ws_.draft, &state_->run_join, &state_->run_row);
    confidence_logit(m_, run, s_.hidden(), ws_.draft, &state_->confidence_logit);
    decide(step_judge_kernel);
    Run second = enabled_by(&state_->run_second);
    second.ahead = false;  // it often stays closed
    output_logits(m_, second, ws_.draft);
    sample_token(1, &state_->second, &state_->second_logprob, second.enabled, StepDecision::kCommit);
  }

  void backbone() {
    const Run run = enabled_by(&state_->run_backbone);
    const std::vector<Segment> one_row = {{1, run.position, nullptr}};
    make_latents(m_, run, kind_.pair, state_->pending, ws_.x);
    for (const LayerWeights& layer : m_.weights().layers) run_layer(s_, run, layer, one_row, ws_.x);
    const PipoCudaConfig& c = m_.config();
    check(rms_norm(run.queue, ws_.x, m_.weights().final_norm, c.eps, 1, c.hidden_size, s_.hidden(), run.enabled),
          "run a norm");
  }

  Session& s_;
  const Model& m_;
  const Workspace& ws_;
  StepState* state_;
  const StepKind& kind_;
  Run run_;
};

}  // namespace

void queue_step(Session& session, const Queue& queue, const StepKind& kind) { Step(session, queue, kind).queue(); }

}  // namespace pipo::cuda
