#include "binding/make_results.h"

#include <algorithm>
#include <cmath>

#include "pipo/model_schema.h"

namespace pipo::binding {
namespace {

Napi::Value number_or_null(Napi::Env env, float value) {
  if (std::isnan(value)) return env.Null();
  return Napi::Number::New(env, value);
}

Napi::Value make_int32_array(Napi::Env env, const std::vector<std::int32_t>& values) {
  auto array = Napi::Int32Array::New(env, values.size());
  std::copy(values.begin(), values.end(), array.Data());
  return array;
}

Napi::Object make_stats(Napi::Env env, const GenerateStats& stats) {
  auto object = Napi::Object::New(env);
  object.Set("promptTokens", stats.prompt_tokens);
  object.Set("cachedPositions", stats.cached_positions);
  object.Set("extendPositions", stats.extend_positions);
  object.Set("steps", stats.steps);
  object.Set("tokens", stats.tokens);
  object.Set("accepted", stats.accepted);
  object.Set("gated", stats.gated);
  object.Set("draftsSkipped", stats.drafts_skipped);
  object.Set("tokensPerStep", stats.steps > 0 ? static_cast<double>(stats.tokens) / stats.steps : 0.0);
  object.Set("ttftMs", stats.ttft_ms);
  object.Set("tpotMs", stats.tpot_ms);
  object.Set("prefillMs", stats.prefill_ms);
  object.Set("totalMs", stats.total_ms);
  return object;
}

Napi::Array make_scored_ids(Napi::Env env, const std::vector<ScoredId>& scored) {
  auto array = Napi::Array::New(env, scored.size());
  for (std::uint32_t i = 0; i < scored.size(); i++) {
    auto entry = Napi::Object::New(env);
    entry.Set("id", scored[i].id);
    entry.Set("logit", scored[i].logit);
    array.Set(i, entry);
  }
  return array;
}

}  // namespace

Napi::Object make_info(Napi::Env env, const EngineInfo& info) {
  auto bytes = Napi::Object::New(env);
  bytes.Set("backbone", static_cast<double>(info.backbone_bytes_per_step));
  bytes.Set("draft", static_cast<double>(info.draft_bytes_per_step));
  bytes.Set("head", static_cast<double>(info.head_bytes));
  auto modes = Napi::Array::New(env, info.modes.size());
  for (std::uint32_t i = 0; i < info.modes.size(); i++)
    modes.Set(i, schema::word_of<DecodeMode>(schema::kDecodeModes, info.modes[i]));
  auto object = Napi::Object::New(env);
  object.Set("name", info.name);
  object.Set("backend", info.backend);
  if (!info.device.empty()) object.Set("device", info.device);
  if (!info.backend_note.empty()) object.Set("backendNote", info.backend_note);
  object.Set("threads", info.threads);
  object.Set("dtype", schema::word_of<WeightDtype>(schema::kWeightDtypes, info.dtype));
  object.Set("groupSize", info.group_size);
  object.Set("weightBytes", static_cast<double>(info.weight_bytes));
  object.Set("bytesPerStep", bytes);
  object.Set("parameters", static_cast<double>(info.parameters));
  object.Set("modes", modes);
  object.Set("fromPackedFile", info.from_packed_file);
  if (!info.packed_file_note.empty()) object.Set("packedFileNote", info.packed_file_note);
  object.Set("loadMs", info.load_ms);
  return object;
}

Napi::Array make_tensor_table(Napi::Env env, const std::vector<TensorSpec>& tensors) {
  auto table = Napi::Array::New(env, tensors.size());
  for (std::uint32_t i = 0; i < tensors.size(); i++) {
    const Napi::HandleScope scope(env);
    auto shape = Napi::Array::New(env, tensors[i].shape.size());
    for (std::uint32_t d = 0; d < tensors[i].shape.size(); d++) shape.Set(d, static_cast<double>(tensors[i].shape[d]));
    auto entry = Napi::Object::New(env);
    entry.Set("name", tensors[i].name);
    entry.Set("shape", shape);
    table.Set(i, entry);
  }
  return table;
}

Napi::Object make_progress(Napi::Env env, LoadStage stage, double fraction) {
  auto object = Napi::Object::New(env);
  object.Set("stage", schema::word_of<LoadStage>(schema::kLoadStages, stage));
  object.Set("fraction", std::clamp(fraction, 0.0, 1.0));
  return object;
}

Napi::Object make_step(Napi::Env env, const Step& step) {
  auto object = Napi::Object::New(env);
  object.Set("first", step.first);
  object.Set("second", step.second == kNoToken ? env.Null() : Napi::Number::New(env, step.second));
  object.Set("confidence", number_or_null(env, step.confidence));
  object.Set("firstLogprob", number_or_null(env, step.first_logprob));
  object.Set("secondLogprob", number_or_null(env, step.second_logprob));
  object.Set("firstAtMs", step.first_at_ms);
  object.Set("doneAtMs", step.done_at_ms);
  return object;
}

Napi::Object make_generate_result(Napi::Env env, const GenerateResult& result) {
  auto object = Napi::Object::New(env);
  object.Set("tokens", make_int32_array(env, result.tokens));
  object.Set("slots", make_int32_array(env, result.slots));
  object.Set("stopReason", schema::word_of<StopReason>(schema::kStopReasons, result.stop_reason));
  object.Set("stats", make_stats(env, result.stats));
  return object;
}

Napi::Array make_inspection(Napi::Env env, const std::vector<InspectedPosition>& positions) {
  auto array = Napi::Array::New(env, positions.size());
  for (std::uint32_t i = 0; i < positions.size(); i++) {
    const InspectedPosition& position = positions[i];
    Napi::HandleScope scope(env);
    auto entry = Napi::Object::New(env);
    entry.Set("index", position.index);
    entry.Set("first", make_scored_ids(env, position.first));
    entry.Set("second", position.second.empty() ? env.Null() : Napi::Value(make_scored_ids(env, position.second)));
    entry.Set("confidence", number_or_null(env, position.confidence));
    entry.Set("preGate", number_or_null(env, position.pre_gate));
    if (!position.logits.empty()) {
      auto logits = Napi::Float32Array::New(env, position.logits.size());
      std::copy(position.logits.begin(), position.logits.end(), logits.Data());
      entry.Set("logits", logits);
    }
    array.Set(i, entry);
  }
  return array;
}

}  // namespace pipo::binding
