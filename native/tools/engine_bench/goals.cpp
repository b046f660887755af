#include "engine_bench/goals.h"

#include <algorithm>
#include <cstdio>

#include "core/words.h"
#include "engine_bench/work.h"

namespace pipo::bench {
namespace {

constexpr int kLongPrompt = 2048;        ///< positions from which on prompts are bound by products
constexpr int kFirstTokenPrompt = 8192;  ///< tokens

std::string words(const char* format, double value) {
  char text[96];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

const Segment* find(const std::vector<Segment>& segments, const std::string& name) {
  const auto found = std::find_if(segments.begin(), segments.end(), [&](const Segment& s) { return s.name == name; });
  return found == segments.end() ? nullptr : &*found;
}

bool is_released_size(const Report& r) { return r.size == "4b" || r.size == "9b"; }

/// In the smaller models the fixed costs of launches weigh more than what the goals are about.
Goal of_big_models(const Report& r, Goal goal) {
  if (is_released_size(r) || !goal.counts) return goal;
  goal.counts = false;
  goal.note += std::string(goal.note.empty() ? "" : "; ") + "a goal for 4b and 9b";
  return goal;
}

Goal decode_share(const Report& r) {
  Goal goal{r.dtype + " plain decode, share of the copy rate", false, r.dtype == "bf16" ? 0.85 : 0.70};
  const StepBytes bytes = plain_step_bytes(r.config, r.info, r.context);
  const double seconds = median(find(r.decode, kPlain)->ms_per_step) * 1e-3;
  goal.measured = static_cast<double>(bytes.all()) / seconds / r.pass;
  goal.note = "reads " + bytes_in_words(bytes.weights) + " of weights, moves " + bytes_in_words(bytes.states) +
              " of states and " + bytes_in_words(bytes.cache) + " of keys and values; the weights alone are " +
              words("%.3f", static_cast<double>(bytes.weights) / seconds / r.pass);
  if (r.dtype == "bf16" || r.dtype == "int4") return of_big_models(r, goal);
  goal.counts = false;
  goal.note += "; a goal for bf16 and int4";
  return goal;
}

Goal pair_ratio(const Report& r, const char* segment, const char* which, double required) {
  Goal goal{std::string("pair step / plain step, ") + which, true, required};
  const double plain = median(find(r.decode, kPlain)->ms_per_step), pair = median(find(r.decode, segment)->ms_per_step);
  goal.measured = pair / plain;
  goal.note = words("%.3f ms", pair) + words(" / %.3f ms", plain);
  return of_big_models(r, goal);
}

double matrix_rate(const Report& r) { return std::max(r.matrix, r.other_matrix); }

/// By the time of the first token, which is a little longer than the prompt's.
Goal prefill_share(const Report& r, DecodeMode mode, int tokens) {
  const int positions = mode == DecodeMode::kPair ? tokens / 2 : tokens;
  const std::string mode_name = mode == DecodeMode::kPair ? "pair" : "plain";
  const std::string name = "prefill of " + std::to_string(positions) + " positions, " + mode_name;
  Goal goal{name + ", share of the matrix rate", false, 0.50};
  const double ms = median(find(r.prefill, prefill_name(mode, tokens))->first_token_ms);
  const double rate = prefill_ops(r.config, mode, positions) / (ms * 1e-3);
  goal.measured = rate / matrix_rate(r);
  goal.note = words("%.1f TFLOP/s", rate * 1e-12);
  return of_big_models(r, goal);
}

std::vector<Goal> prefill_shares(const Report& r) {
  std::vector<Goal> goals;
  for (const Segment& s : r.prefill) {
    const auto tokens = static_cast<int>(s.request.prompt_ids.size());
    if (s.request.mode == DecodeMode::kPlain ? tokens >= kLongPrompt : tokens / 2 >= kLongPrompt)
      goals.push_back(prefill_share(r, s.request.mode, tokens));
  }
  if (!goals.empty()) return goals;
  Goal none{"prefill, share of the matrix rate", false, 0.50};
  none.note = "no prompt of " + std::to_string(kLongPrompt) + " positions was timed";
  return {none};
}

Goal first_token_ratio(const Report& r) {
  const std::string tokens = std::to_string(kFirstTokenPrompt);
  Goal goal{"first token of " + tokens + " tokens, plain / pair", false, 1.8};
  const Segment* plain = find(r.prefill, prefill_name(DecodeMode::kPlain, kFirstTokenPrompt));
  const Segment* pair = find(r.prefill, prefill_name(DecodeMode::kPair, kFirstTokenPrompt));
  if (plain == nullptr || pair == nullptr) {
    goal.note = "no prompt of " + tokens + " tokens was timed";
    return goal;
  }
  const double plain_ms = median(plain->first_token_ms), pair_ms = median(pair->first_token_ms);
  goal.measured = plain_ms / pair_ms;
  goal.note = words("%.1f ms", plain_ms) + words(" / %.1f ms", pair_ms);
  return of_big_models(r, goal);
}

Goal idle(const Report& r, const std::string& what, const std::vector<const char*>& segments) {
  Goal goal{"idle between " + what + ", 95 % below", true, 10.0};
  goal.unit = " us";
  std::vector<double> all;
  for (const char* name : segments) {
    const std::vector<double>& some = find(r.decode, name)->idle_us;
    all.insert(all.end(), some.begin(), some.end());
  }
  if (all.empty()) {
    goal.note = "steps did not run wholly on the device";
    return goal;
  }
  goal.measured = quantile(all, 0.95);
  goal.note = words("median %.2f us", median(all)) + ", of " + std::to_string(all.size()) + " gaps";
  return goal;
}

}  // namespace

std::vector<Goal> goals_of(const Report& r) {
  std::vector<Goal> goals = {decode_share(r), pair_ratio(r, kAllDropped, "all drafts rejected", 1.12),
                             pair_ratio(r, kAllKept, "all drafts kept", 1.20)};
  for (const Goal& goal : prefill_shares(r)) goals.push_back(goal);
  goals.push_back(first_token_ratio(r));
  goals.push_back(idle(r, "plain steps", {kPlain}));
  goals.push_back(idle(r, "pair steps", {kAllDropped, kAllKept}));
  return goals;
}

void print_goals(const Report& r) {
  std::printf("\n%s %s on %s: copy %.0f GB/s, matrix rate %.1f TFLOP/s (mma.sync out of registers %.1f", r.size.c_str(),
              r.dtype.c_str(), r.info.device.c_str(), r.pass / 1e9, matrix_rate(r) * 1e-12, r.matrix * 1e-12);
  if (r.other_matrix > 0) std::printf(", another library's product %.1f", r.other_matrix * 1e-12);
  std::printf("), context %d tokens\n\n| goal | required | measured | met | of what |\n|---|---|---|---|---|\n",
              r.context);
  for (const Goal& g : goals_of(r)) {
    const std::string required = (g.at_most ? "<= " : ">= ") + words("%.2f", g.required) + g.unit;
    const std::string measured = g.measured ? words("%.3f", *g.measured) + g.unit : "-";
    std::printf("| %s | %s | %s | %s | %s |\n", g.name.c_str(), g.counts ? required.c_str() : "-", measured.c_str(),
                !g.counts || !g.measured ? "-" : g.met() ? "yes" : "NO", g.note.c_str());
  }
  std::printf("\n");
}

void print_goals_json(const Report& r) {
  std::printf(",\"matrix_tflop_s\":%.2f,\"other_matrix_tflop_s\":%.2f,\"goals\":[", r.matrix * 1e-12,
              r.other_matrix * 1e-12);
  const char* comma = "";
  for (const Goal& g : goals_of(r)) {
    std::printf("%s{\"goal\":\"%s\",\"%s\":%.2f,\"measured\":%s,\"met\":%s,\"note\":\"%s\"}", comma, g.name.c_str(),
                g.at_most ? "at_most" : "at_least", g.required,
                g.measured ? words("%.4f", *g.measured).c_str() : "null",
                !g.counts || !g.measured ? "null" : g.met() ? "true" : "false", g.note.c_str());
    comma = ",";
  }
  std::printf("]");
}

}  // namespace pipo::bench
