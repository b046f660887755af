#include "binding/read_arguments.h"

#include <limits>

namespace pipo::binding {
namespace {

constexpr std::int64_t kMostInt32 = std::numeric_limits<std::int32_t>::max();
/// Number.MAX_SAFE_INTEGER
constexpr std::int64_t kMostExact = (std::int64_t{1} << 53) - 1;
constexpr std::int64_t kMostThreads = 1024;

std::int32_t int32_field(const Argument& object, const char* key, std::int64_t least = 1) {
  return static_cast<std::int32_t>(object.field(key).integer(least, kMostInt32));
}

float float_field(const Argument& object, const char* key) { return static_cast<float>(object.field(key).number()); }

TensorRef read_tensor_ref(const Argument& tensor) {
  TensorRef ref;
  ref.file = tensor.field("file").string();
  ref.offset = static_cast<std::uint64_t>(tensor.field("offset").integer(0, kMostExact));
  ref.bytes = static_cast<std::uint64_t>(tensor.field("bytes").integer(0, kMostExact));
  ref.dtype = tensor.field("dtype").choice<DiskDtype>(schema::kDiskDtypes);
  for (const Argument& dim : tensor.field("shape").elements()) ref.shape.push_back(dim.integer(0, kMostExact));
  if (const Argument heads = tensor.field("interleavedHeads"); !heads.is_absent()) {
    ref.interleaved_heads = static_cast<std::int32_t>(heads.integer(1, kMostInt32));
  }
  return ref;
}

TensorSource read_tensor(const Argument& tensor) {
  TensorSource source{tensor.field("name").string(), read_tensor_ref(tensor), std::nullopt};
  if (const Argument lora = tensor.field("lora"); !lora.is_absent()) {
    source.lora =
        LoraRef{read_tensor_ref(lora.field("a")), read_tensor_ref(lora.field("b")), lora.field("scale").number()};
  }
  return source;
}

/// Fills a config from a JavaScript object, field by field as the schema lists them.
class ConfigReader {
 public:
  explicit ConfigReader(Argument object) : object_(std::move(object)) {}

  void text(const char* name, std::string& value) { value = object_.field(name).string(); }
  void integer(const char* name, std::int32_t& value, std::int32_t least) { value = int32_field(object_, name, least); }
  void number(const char* name, double& value) { value = object_.field(name).number(); }
  void flag(const char* name, bool& value) { value = object_.field(name).boolean(); }
  void flag_or_absent(const char* name, bool& value) {
    if (!object_.field(name).is_absent()) flag(name, value);
  }
  template <class Enum>
  void choice(const char* name, Enum& value, schema::Words<Enum> words) {
    value = object_.field(name).choice<Enum>(words);
  }
  template <class Enum>
  void choices(const char* name, std::vector<Enum>& values, schema::Words<Enum> words) {
    for (const Argument& element : object_.field(name).elements()) values.push_back(element.choice<Enum>(words));
  }
  template <class Object, class Visit>
  void optional(const char* name, std::optional<Object>& object, Visit visit) {
    const Argument field = object_.field(name);
    if (field.is_absent()) return;
    ConfigReader inner(field);
    visit(inner, object.emplace());
  }

 private:
  Argument object_;
};

SamplingOptions read_sampling(const Argument& sampling) {
  SamplingOptions result;
  result.temperature = float_field(sampling, "temperature");
  result.top_k = int32_field(sampling, "topK", 0);
  result.top_p = float_field(sampling, "topP");
  result.min_p = float_field(sampling, "minP");
  result.presence_penalty = float_field(sampling, "presencePenalty");
  result.repetition_penalty = float_field(sampling, "repetitionPenalty");
  result.seed = static_cast<std::uint64_t>(sampling.field("seed").integer(0, kMostExact));
  return result;
}

DraftContext read_draft_context(const Argument& context) {
  if (context.is_absent()) return DraftContext::kFull;
  return context.choice<DraftContext>(schema::kDraftContexts);
}

}  // namespace

ModelConfig read_config(const Argument& config) {
  ModelConfig result;
  ConfigReader reader(config);
  schema::visit_config(reader, result);
  return result;
}

ModelDescription read_model(const Argument& model) {
  ModelDescription result;
  result.name = model.field("name").string();
  result.config = read_config(model.field("config"));
  for (const Argument& tensor : model.field("tensors").elements()) result.tensors.push_back(read_tensor(tensor));
  result.fingerprint = model.field("fingerprint").string();
  return result;
}

LoadOptions read_load_options(const Argument& options) {
  LoadOptions result;
  result.dtype = options.field("dtype").choice<WeightDtype>(schema::kWeightDtypes);
  const Argument group = options.field("groupSize");
  result.group_size = static_cast<std::int32_t>(group.integer(1, kMostInt32));
  if (result.group_size != 32 && result.group_size != 64) group.refuse("32 or 64");
  result.threads = static_cast<std::int32_t>(options.field("threads").integer(0, kMostThreads));
  if (const Argument file = options.field("packedFile"); !file.is_absent()) result.packed_file = file.string();
  if (const Argument kernels = options.field("kernels"); !kernels.is_absent()) result.kernels = kernels.string();
  return result;
}

DecodeMode read_decode_mode(const Argument& mode) {
  return mode.choice<DecodeMode>(schema::kDecodeModes);
}

GenerateRequest read_generate_request(const Argument& request) {
  GenerateRequest result;
  result.mode = read_decode_mode(request.field("mode"));
  result.prompt_ids = request.field("promptIds").int32_array();
  result.max_new_tokens = int32_field(request, "maxNewTokens");
  if (const Argument fewest = request.field("minNewTokens"); !fewest.is_absent()) {
    result.min_new_tokens = static_cast<std::int32_t>(fewest.integer(0, kMostInt32));
  }
  result.threshold = float_field(request, "threshold");
  if (const Argument pre_gate = request.field("preGateThreshold"); !pre_gate.is_absent()) {
    result.pre_gate_threshold = static_cast<float>(pre_gate.number());
  }
  result.sampling = read_sampling(request.field("sampling"));
  for (const Argument& id : request.field("stopIds").elements()) {
    result.stop_ids.push_back(static_cast<std::int32_t>(id.integer(0, kMostInt32)));
  }
  if (const Argument allowed = request.field("allowedIds"); !allowed.is_absent()) {
    result.allowed_ids = allowed.uint8_array();
    if (result.allowed_ids.empty()) allowed.refuse("a Uint8Array with one bit per id");
  }
  result.draft_context = read_draft_context(request.field("draftContext"));
  if (const Argument logprobs = request.field("logprobs"); !logprobs.is_absent()) result.logprobs = logprobs.boolean();
  return result;
}

}  // namespace pipo::binding
