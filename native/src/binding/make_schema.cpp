#include "binding/make_schema.h"

#include <optional>
#include <string>
#include <vector>

#include "pipo/model_schema.h"

namespace pipo::binding {
namespace {

/// Collects the names of fields, nested ones as `outer.inner`.
class FieldLister {
 public:
  template <class Value>
  void text(const char* name, const Value&) {
    add(name);
  }
  template <class Value>
  void integer(const char* name, const Value&, std::int32_t) {
    add(name);
  }
  template <class Value>
  void number(const char* name, const Value&) {
    add(name);
  }
  template <class Value>
  void flag(const char* name, const Value&) {
    add(name);
  }
  template <class Value>
  void flag_or_absent(const char* name, const Value&) {
    add(name);
  }
  template <class Value, class Words>
  void choice(const char* name, const Value&, const Words&) {
    add(name);
  }
  template <class Value, class Words>
  void choices(const char* name, const Value&, const Words&) {
    add(name);
  }
  template <class Object, class Visit>
  void optional(const char* name, const std::optional<Object>&, Visit visit) {
    prefix_ = std::string(name) + ".";
    const Object object;
    visit(*this, object);
    prefix_.clear();
  }
  const std::vector<std::string>& fields() const { return fields_; }

 private:
  void add(const char* name) { fields_.push_back(prefix_ + name); }

  std::string prefix_;
  std::vector<std::string> fields_;
};

template <class Enum>
Napi::Array words_of(Napi::Env env, schema::Words<Enum> words) {
  auto array = Napi::Array::New(env, words.size());
  for (std::uint32_t i = 0; i < words.size(); i++) array.Set(i, words[i].word);
  return array;
}

Napi::Array config_fields(Napi::Env env) {
  FieldLister lister;
  const ModelConfig config;
  schema::visit_config(lister, config);
  auto array = Napi::Array::New(env, lister.fields().size());
  for (std::uint32_t i = 0; i < lister.fields().size(); i++) array.Set(i, lister.fields()[i]);
  return array;
}

}  // namespace

Napi::Object make_schema(Napi::Env env) {
  auto object = Napi::Object::New(env);
  object.Set("config", config_fields(env));
  object.Set("layerTypes", words_of<LayerType>(env, schema::kLayerTypes));
  object.Set("compressorTypes", words_of<CompressorType>(env, schema::kCompressorTypes));
  object.Set("normWeights", words_of<NormWeight>(env, schema::kNormWeights));
  object.Set("ropeScalingTypes", words_of<RopeScalingType>(env, schema::kRopeScalingTypes));
  object.Set("diskDtypes", words_of<DiskDtype>(env, schema::kDiskDtypes));
  object.Set("weightDtypes", words_of<WeightDtype>(env, schema::kWeightDtypes));
  object.Set("decodeModes", words_of<DecodeMode>(env, schema::kDecodeModes));
  object.Set("draftContexts", words_of<DraftContext>(env, schema::kDraftContexts));
  object.Set("loadStages", words_of<LoadStage>(env, schema::kLoadStages));
  object.Set("stopReasons", words_of<StopReason>(env, schema::kStopReasons));
  object.Set("errorCodes", words_of<ErrorCode>(env, schema::kErrorCodes));
  return object;
}

}  // namespace pipo::binding
