/// The goals that the engine's bench prints for a device are worked out from the shapes and the times.
#include <cmath>
#include <stdexcept>

#include "engine_bench/goals.h"
#include "engine_bench/work.h"
#include "pipo/random_model.h"
#include "support/check.h"

using namespace pipo;
using namespace pipo::bench;

namespace {

bool is_near(double a, double b) { return std::abs(a - b) <= 1e-3 * std::abs(b); }

/// A 4B of bf16 whose decode and first tokens take the times given.
Report report_of(double plain_ms, double kept_ms, double dropped_ms, double plain_first_ms, double pair_first_ms) {
  Options o;
  o.prompts = {8192};
  o.context = 1024;
  Report r;
  r.size = "4b";
  r.dtype = "bf16";
  r.config = released_config("4b");
  r.info.dtype = WeightDtype::kBf16;
  r.info.head_bytes = 1271398400;
  r.info.device = "a device";
  r.context = o.context;
  r.pass = 3e12;
  r.matrix = 600e12;
  r.decode = decode_segments(o, r.info);
  r.prefill = prefill_segments(o);
  for (Segment& s : r.decode) {
    s.ms_per_step = {s.name == kPlain ? plain_ms : s.name == kAllKept ? kept_ms : dropped_ms};
    s.idle_us = {2.0, 3.0, s.name == kPlain ? 4.0 : 11.0};
  }
  r.prefill[0].first_token_ms = {plain_first_ms};
  r.prefill[1].first_token_ms = {pair_first_ms};
  return r;
}

Goal goal(const Report& r, const std::string& beginning) {
  for (const Goal& g : goals_of(r)) {
    if (g.name.starts_with(beginning)) return g;
  }
  throw std::runtime_error("no goal begins with " + beginning);
}

}  // namespace

TEST("a plain step of the 4B reads its weights and what the context has left") {
  EngineInfo info;
  info.dtype = WeightDtype::kBf16;
  info.head_bytes = 1271398400;
  const StepBytes bytes = plain_step_bytes(released_config("4b"), info, 1024);
  CHECK(is_near(static_cast<double>(bytes.weights), 8.417e9));
  CHECK(bytes.states == 2ll * 24 * 32 * 128 * 128 * 4);
  CHECK(bytes.cache == 1024ll * 8 * 2 * 4 * 256 * 2);
}

TEST("a prompt's work is its products and its attention; pairs add theirs") {
  const ModelConfig config = released_config("4b");
  const double plain = prefill_ops(config, DecodeMode::kPlain, 2048);
  const double pair = prefill_ops(config, DecodeMode::kPair, 2048);
  CHECK(is_near(plain, 2048 * (2 * 3569.1e6 + 4.0 * 8 * 16 * 256 * 1024.5)));
  CHECK(is_near(pair - plain, 2048 * 2.0 * (39.3216e6 + 2 * 2560.0 * 2560 + 2 * 1024.0 * 2560)));
}

TEST("goals are met by ratios, not by times") {
  const Report r = report_of(3.1, 3.6, 3.5, 250, 130);
  CHECK(is_near(*goal(r, "bf16 plain decode").measured, (8.417e9 + 100.66e6 + 33.55e6) / 3.1e-3 / 3e12));
  CHECK(goal(r, "bf16 plain decode").met());
  CHECK(!goal(r, "pair step / plain step, all drafts rejected").met());
  CHECK(goal(r, "pair step / plain step, all drafts kept").met());
  CHECK(is_near(*goal(r, "first token of 8192").measured, 250.0 / 130) && goal(r, "first token of 8192").met());
  CHECK(goal(r, "prefill of 8192 positions, plain").counts && goal(r, "prefill of 4096 positions, pair").counts);
  CHECK(!goal(r, "prefill of 8192 positions, plain").met());
  CHECK(*goal(r, "idle between plain").measured == 4.0 && goal(r, "idle between plain").met());
  CHECK(!goal(r, "idle between pair").met());
}

TEST("a faster product of another library is what prefill is a share of") {
  Report r = report_of(3.1, 3.6, 3.5, 250, 130);
  const double alone = *goal(r, "prefill of 4096").measured;
  r.other_matrix = 900e12;
  CHECK(is_near(*goal(r, "prefill of 4096").measured, alone * 600 / 900));
}

TEST("what was not timed, and what is no goal of a model, says why") {
  Report r = report_of(3.1, 3.6, 3.5, 250, 130);
  r.prefill.clear();
  for (Segment& s : r.decode) s.idle_us.clear();
  for (const char* name : {"prefill", "first token", "idle between plain"}) {
    CHECK(!goal(r, name).measured && !goal(r, name).met() && !goal(r, name).note.empty());
  }
  r.size = "0.8b";
  CHECK(!goal(r, "pair step").counts && goal(r, "pair step").note.ends_with("a goal for 4b and 9b"));
  r.size = "4b";
  r.dtype = "int8";
  CHECK(!goal(r, "int8 plain decode").counts && goal(r, "pair step").counts);
}

int main(int argc, char** argv) { return pipo::test::run(argc, argv); }
