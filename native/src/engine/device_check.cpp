#include "engine/device_check.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdio>
#include <vector>

#include "decode/decode_context.h"

namespace pipo {
namespace {

constexpr std::int32_t kFew = 4;    ///< positions that the CPU computes, too
constexpr std::int32_t kMany = 40;  ///< enough for the kernels that long prompts go through
constexpr std::int32_t kTokens = 6;
/// Cosine of two hidden vectors. Rounding activations in different places costs thousandths; a wrong kernel costs most.
constexpr double kLeastAgreement = 0.98;

double agreement(const std::vector<float>& a, const std::vector<float>& b) {
  double ab = 0, aa = 0, bb = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    ab += double{a[i]} * b[i];
    aa += double{a[i]} * a[i];
    bb += double{b[i]} * b[i];
  }
  return ab / std::sqrt(aa * bb);
}

/// Ids that are as good as any, without PAD.
std::vector<std::int32_t> some_slots(const ModelConfig& config, std::int32_t count) {
  std::vector<std::int32_t> slots;
  for (std::int64_t i = 0; static_cast<std::int32_t>(slots.size()) < count; ++i) {
    const auto id = static_cast<std::int32_t>((2 + i * 7919) % config.real_vocab_size);
    if (!config.pipo || id != config.pipo->pad_token_id) slots.push_back(id);
  }
  return slots;
}

/// A timeline of its own over the model, always of the same slots.
class Probe {
 public:
  explicit Probe(Model& model)
      : model_(model),
        timeline_(model.make_states(), kMany + kTokens + 1),
        is_pair_(model.config().pipo.has_value()),
        slots_(some_slots(model.config(), 2 * (kMany + 1))) {
    timeline_.reset(is_pair_ ? DecodeMode::kPair : DecodeMode::kPlain);
    timeline_.reserve(timeline_.max_positions());
  }

  /// Goes on until `end`, `at_once` positions at a time.
  void extend_to(std::int32_t end, std::int32_t at_once) {
    const std::int32_t each = timeline_.slots_per_position();
    while (timeline_.positions() < end) {
      const std::int32_t rows = std::min(at_once, end - timeline_.positions());
      const std::span chunk(slots_.data() + timeline_.positions() * each, static_cast<std::size_t>(rows * each));
      require_ok(model_.extend(timeline_, chunk, {}, nullptr).status, model_);
    }
  }

  std::vector<float> hidden() { return read(timeline_.hidden()); }

  /// Of the last position, followed by the next slot. The hidden vector of a model without a draft head.
  std::vector<float> draft() {
    if (!is_pair_) return hidden();
    require_ok(model_.draft(timeline_, slots_[static_cast<std::size_t>(2 * timeline_.positions())], 0), model_);
    return read(model_.draft_result(timeline_));
  }

  /// Slots of a few greedy steps that keep every draft.
  std::vector<std::int32_t> decode(DeviceSteps& steps) {
    GenerateRequest request;
    request.mode = timeline_.mode();
    request.threshold = 0.0f;
    request.max_new_tokens = kTokens;
    Sampler sampler(request.sampling, {model_.config().real_vocab_size, banned()}, {}, {}, false);
    const std::atomic<bool> never{false};
    TurnQueue turns;
    const StepFn no_listener;
    GenerateResult result;
    DecodeContext c{model_,  timeline_, turns,       {&never, &never, nullptr}, request,
                    sampler, banned(),  no_listener, {},                        result};
    decode_on_device(c, steps);
    return result.slots;
  }

  /// Whether operation by operation the same slots could have been chosen. Executes all but the last position.
  bool would_choose(std::span<const std::int32_t> slots) {
    const auto each = static_cast<std::size_t>(timeline_.slots_per_position());
    for (std::size_t at = 0; at < slots.size(); at += each) {
      const std::span position = slots.subspan(at, std::min(each, slots.size() - at));
      if (!is_near_best(timeline_.hidden(), position[0])) return false;
      if (position.size() == 2) {
        require_ok(model_.draft(timeline_, position[0], 0), model_);
        if (!is_near_best(model_.draft_result(timeline_), position[1])) return false;
      }
      if (at + each < slots.size()) require_ok(model_.extend(timeline_, position, {}, nullptr).status, model_);
    }
    return true;
  }

 private:
  std::int32_t banned() const { return is_pair_ ? model_.config().pipo->pad_token_id : kNoToken; }

  /// Among nearly equal ids rounding decides, which is another where positions are shared out otherwise.
  bool is_near_best(const float* hidden, std::int32_t id) {
    constexpr double kNear = 0.1;  // of the way from the best logit to the mean
    require_ok(model_.compute_logits(timeline_, hidden), model_);
    const std::span logits = model_.logits().first(static_cast<std::size_t>(model_.config().real_vocab_size));
    double best = -INFINITY, sum = 0;
    for (std::int32_t other = 0; other < model_.config().real_vocab_size; ++other) {
      sum += logits[other];
      if (other != banned()) best = std::max(best, double{logits[other]});
    }
    return id != banned() && best - logits[id] <= kNear * (best - sum / static_cast<double>(logits.size()));
  }

  std::vector<float> read(const float* vector) {
    std::vector<float> values(static_cast<std::size_t>(model_.config().hidden_size));
    require_ok(model_.read(timeline_, vector, values), model_);
    return values;
  }

  Model& model_;
  Timeline timeline_;
  bool is_pair_;
  std::vector<std::int32_t> slots_;
};

std::string disagreement(const char* where, double found) {
  if (found >= kLeastAgreement) return {};
  char words[160];
  std::snprintf(words, sizeof words, "its results differ from the expected ones %s (agreement %.3f, least %.2f)", where,
                found, kLeastAgreement);
  return words;
}

}  // namespace

std::string device_disagreement(Model& device, Model& cpu) {
  Probe expected(cpu), together(device), singly(device);
  expected.extend_to(kFew, kFew);
  together.extend_to(kFew, kFew);
  singly.extend_to(kFew, 1);
  const std::vector<float> hidden = expected.hidden(), draft = expected.draft();
  for (Probe* probe : {&together, &singly}) {
    const char* way = probe == &together ? "in a prompt" : "in single steps";
    for (const double found : {agreement(probe->hidden(), hidden), agreement(probe->draft(), draft)}) {
      if (const std::string words = disagreement(way, found); !words.empty()) return words;
    }
  }
  together.extend_to(kMany, kMany);
  singly.extend_to(kMany, 1);
  std::string words = disagreement("in a longer prompt", agreement(together.hidden(), singly.hidden()));
  if (!words.empty() || device.device_steps() == nullptr) return words;
  const std::vector<std::int32_t> slots = together.decode(*device.device_steps());
  if (!singly.would_choose(slots)) return "its steps choose other tokens than its single operations";
  return disagreement("after its own steps", agreement(together.hidden(), singly.hidden()));
}

}  // namespace pipo
