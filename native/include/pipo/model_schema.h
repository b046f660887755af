#pragma once

#include <span>

#include "pipo/engine.h"
#include "pipo/error.h"
#include "pipo/model_description.h"
#include "pipo/request.h"
#include "pipo/result.h"

/// The one listing of what a model's description holds: its fields by name; and of the words of every enum that crosses
/// the addon. What crosses it, what a packed file stores and what the goldens' config.txt says are read and written
/// through it; a test holds server/src/engine/addon.ts equal.
namespace pipo::schema {

/// The word for one value of an enum.
template <class Enum>
struct Word {
  const char* word;
  Enum value;
};

inline constexpr Word<LayerType> kLayerTypes[] = {{"full_attention", LayerType::kFullAttention},
                                                  {"linear_attention", LayerType::kLinearAttention}};
inline constexpr Word<CompressorType> kCompressorTypes[] = {{"linear", CompressorType::kLinear},
                                                            {"mlp", CompressorType::kMlp}};
inline constexpr Word<NormWeight> kNormWeights[] = {{"plain", NormWeight::kPlain},
                                                    {"zeroCentred", NormWeight::kZeroCentred}};
inline constexpr Word<RopeScalingType> kRopeScalingTypes[] = {
    {"linear", RopeScalingType::kLinear}, {"llama3", RopeScalingType::kLlama3}, {"yarn", RopeScalingType::kYarn}};
inline constexpr Word<DiskDtype> kDiskDtypes[] = {
    {"F32", DiskDtype::kF32},   {"BF16", DiskDtype::kBf16}, {"F16", DiskDtype::kF16},   {"Q8_0", DiskDtype::kQ8_0},
    {"Q4_0", DiskDtype::kQ4_0}, {"Q4_1", DiskDtype::kQ4_1}, {"Q5_0", DiskDtype::kQ5_0}, {"Q5_1", DiskDtype::kQ5_1},
    {"Q2_K", DiskDtype::kQ2K},  {"Q3_K", DiskDtype::kQ3K},  {"Q4_K", DiskDtype::kQ4K},  {"Q5_K", DiskDtype::kQ5K},
    {"Q6_K", DiskDtype::kQ6K},  {"IQ4_NL", DiskDtype::kIq4Nl}};
inline constexpr Word<WeightDtype> kWeightDtypes[] = {{"f32", WeightDtype::kF32},   {"bf16", WeightDtype::kBf16},
                                                      {"int8", WeightDtype::kInt8}, {"int4", WeightDtype::kInt4},
                                                      {"mix", WeightDtype::kMix},   {"stored", WeightDtype::kStored}};
inline constexpr Word<DecodeMode> kDecodeModes[] = {{"pair", DecodeMode::kPair}, {"plain", DecodeMode::kPlain}};
inline constexpr Word<DraftContext> kDraftContexts[] = {
    {"full", DraftContext::kFull}, {"generated", DraftContext::kGenerated}, {"self", DraftContext::kSelf}};
inline constexpr Word<LoadStage> kLoadStages[] = {{"checking", LoadStage::kChecking},
                                                  {"packing", LoadStage::kPacking},
                                                  {"mapping", LoadStage::kMapping},
                                                  {"uploading", LoadStage::kUploading},
                                                  {"ready", LoadStage::kReady}};
inline constexpr Word<StopReason> kStopReasons[] = {{"stopId", StopReason::kStopId},
                                                    {"maxNewTokens", StopReason::kMaxNewTokens},
                                                    {"cancelled", StopReason::kCancelled},
                                                    {"contextFull", StopReason::kContextFull},
                                                    {"listenerStopped", StopReason::kListenerStopped},
                                                    {"engineClosed", StopReason::kEngineClosed}};
inline constexpr Word<ErrorCode> kErrorCodes[] = {{"badFile", ErrorCode::kBadFile},
                                                  {"badConfig", ErrorCode::kBadConfig},
                                                  {"missingTensor", ErrorCode::kMissingTensor},
                                                  {"badShape", ErrorCode::kBadShape},
                                                  {"notEnoughMemory", ErrorCode::kNotEnoughMemory},
                                                  {"unsupported", ErrorCode::kUnsupported},
                                                  {"badRequest", ErrorCode::kBadRequest},
                                                  {"busy", ErrorCode::kBusy},
                                                  {"closed", ErrorCode::kClosed},
                                                  {"io", ErrorCode::kIo},
                                                  {"cancelled", ErrorCode::kCancelled},
                                                  {"internal", ErrorCode::kInternal}};

template <class Enum>
using Words = std::span<const Word<Enum>>;

/// The word of a value that is one of the list's; never null.
template <class Enum>
constexpr const char* word_of(Words<Enum> words, Enum value) {
  for (const Word<Enum>& word : words) {
    if (word.value == value) return word.word;
  }
  return words[0].word;
}

/// Calls a visitor for every field in order. It has, for a name and a field each, `text`, `integer` (with the least
/// value), `number`, `flag`, `choice` (with the words), `choices` for lists of words, and `optional` for a nested object
/// that may be absent, with the function that visits it. `Config` is const where fields are only read.
template <class Visitor, class Scaling>
void visit_rope_scaling(Visitor& v, Scaling& s) {
  v.choice("type", s.type, Words<RopeScalingType>(kRopeScalingTypes));
  v.number("factor", s.factor);
  v.integer("originalMaxPositions", s.original_max_positions, 0);
  v.number("lowFrequencyFactor", s.low_frequency_factor);
  v.number("highFrequencyFactor", s.high_frequency_factor);
  v.number("betaFast", s.beta_fast);
  v.number("betaSlow", s.beta_slow);
  v.number("attentionFactor", s.attention_factor);
}

template <class Visitor, class Pipo>
void visit_pipo(Visitor& v, Pipo& p) {
  v.choice("compressor", p.compressor, Words<CompressorType>(kCompressorTypes));
  v.integer("padTokenId", p.pad_token_id, 0);
  v.flag_or_absent("preGate", p.pre_gate);
}

template <class Visitor, class Config>
void visit_config(Visitor& v, Config& c) {
  v.text("family", c.family);
  v.integer("vocabSize", c.vocab_size, 1);
  v.integer("realVocabSize", c.real_vocab_size, 1);
  v.integer("hiddenSize", c.hidden_size, 1);
  v.integer("intermediateSize", c.intermediate_size, 1);
  v.choices("layerTypes", c.layer_types, Words<LayerType>(kLayerTypes));
  v.integer("numAttentionHeads", c.num_attention_heads, 1);
  v.integer("numKeyValueHeads", c.num_key_value_heads, 1);
  v.integer("headDim", c.head_dim, 1);
  v.choice("normWeight", c.norm_weight, Words<NormWeight>(kNormWeights));
  v.number("rmsNormEps", c.rms_norm_eps);
  v.flag("queryKeyNorm", c.query_key_norm);
  v.flag("outputGate", c.output_gate);
  v.flag("attentionBias", c.attention_bias);
  v.integer("rotaryDim", c.rotary_dim, 1);
  v.number("ropeTheta", c.rope_theta);
  v.optional("ropeScaling", c.rope_scaling, [](Visitor& inner, auto& scaling) { visit_rope_scaling(inner, scaling); });
  v.integer("linearConvKernelDim", c.linear_conv_kernel_dim, 0);
  v.integer("linearKeyHeadDim", c.linear_key_head_dim, 0);
  v.integer("linearValueHeadDim", c.linear_value_head_dim, 0);
  v.integer("linearNumKeyHeads", c.linear_num_key_heads, 0);
  v.integer("linearNumValueHeads", c.linear_num_value_heads, 0);
  v.flag("tieWordEmbeddings", c.tie_word_embeddings);
  v.integer("maxPositions", c.max_positions, 1);
  v.optional("pipo", c.pipo, [](Visitor& inner, auto& pipo) { visit_pipo(inner, pipo); });
}

}  // namespace pipo::schema
