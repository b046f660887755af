/// Bad checkpoints and bad requests: each gets its error code and words that name the culprit.
#include <sys/stat.h>

#include <algorithm>
#include <fstream>
#include <limits>

#include "engine/memory_preflight.h"
#include "native/engine_fixture.h"
#include "pipo/random_model.h"
#include "platform/memory.h"

using namespace pipo;
using test::greedy;

namespace {

ModelDescription good() { return test::read_description(test::golden_directory("tiny-08b")); }

TensorSource& tensor(ModelDescription& model, const std::string& name) {
  return *std::find_if(model.tensors.begin(), model.tensors.end(),
                       [&](const TensorSource& t) { return t.name == name; });
}

void remove(ModelDescription& model, const std::string& name) {
  std::erase_if(model.tensors, [&](const TensorSource& t) { return t.name == name; });
}

void check_refused(const ModelDescription& model, ErrorCode code, const std::vector<std::string>& mentioned) {
  std::string words;
  const ErrorCode found = test::error_of([&] { Engine::load(model, test::load_options()); }, &words);
  CHECK_MESSAGE(found == code, "another code for: " + words);
  for (const std::string& word : mentioned)
    CHECK_MESSAGE(words.find(word) != std::string::npos, word + " not in: " + words);
}

void check_bad_request(Session& session, const GenerateRequest& request, const std::string& mentioned) {
  std::string words;
  CHECK(test::error_of([&] { session.generate(request); }, &words) == ErrorCode::kBadRequest);
  CHECK_MESSAGE(words.find(mentioned) != std::string::npos, mentioned + " not in: " + words);
}

const std::string kGate = "model.layers.1.mlp.gate_proj.weight";

}  // namespace

TEST("missing tensors are listed by name") {
  ModelDescription model = good();
  remove(model, "mtp.fc.weight");
  remove(model, "confidence_head.fc1.weight");
  check_refused(model, ErrorCode::kMissingTensor, {"mtp.fc.weight", "confidence_head.fc1.weight"});
  model = good();
  remove(model, "model.layers.0.linear_attn.A_log");
  check_refused(model, ErrorCode::kMissingTensor, {"model.layers.0.linear_attn.A_log"});
  model = good();
  model.config.pipo->pre_gate = true;
  check_refused(model, ErrorCode::kMissingTensor, {"pre_gate.weight", "pre_gate.bias"});
}

TEST("unknown and double tensors are named") {
  ModelDescription model = good();
  model.tensors.push_back(tensor(model, kGate));
  model.tensors.back().name = "model.layers.9.mlp.gate_proj.weight";
  check_refused(model, ErrorCode::kBadConfig, {"model.layers.9.mlp.gate_proj.weight"});
  model.tensors.back().name = kGate;
  check_refused(model, ErrorCode::kBadFile, {kGate, "twice"});
}

TEST("wrong shapes, sizes and places are named with their figures") {
  ModelDescription model = good();
  tensor(model, kGate).ref.shape = {64, 96};
  check_refused(model, ErrorCode::kBadShape, {kGate, "[64, 96]", "[96, 64]"});
  model = good();
  tensor(model, kGate).ref.dtype = DiskDtype::kBf16;  // half the bytes that the table gives
  check_refused(model, ErrorCode::kBadFile, {kGate});
  model = good();
  tensor(model, kGate).ref.offset = 1u << 30;
  check_refused(model, ErrorCode::kBadFile, {kGate, "model.safetensors"});
  model = good();
  tensor(model, kGate).ref.offset = std::numeric_limits<std::uint64_t>::max() - 5;
  check_refused(model, ErrorCode::kBadFile, {kGate});
  model = good();
  tensor(model, kGate).ref.offset = tensor(model, "mtp.fc.weight").ref.offset + 64;
  check_refused(model, ErrorCode::kBadFile, {"overlap"});
}

TEST("vanished and truncated files are named with the tensor they hold") {
  ModelDescription model = good();
  for (TensorSource& t : model.tensors) t.ref.file = "/nonexistent/model.safetensors";
  check_refused(model, ErrorCode::kIo, {"/nonexistent/model.safetensors"});
  const test::TempFolder folder;
  const std::string copy = folder.file("model.safetensors");
  model = good();
  std::filesystem::copy_file(model.tensors[0].ref.file, copy);
  std::filesystem::resize_file(copy, 500000);
  for (TensorSource& t : model.tensors) t.ref.file = copy;
  check_refused(model, ErrorCode::kBadFile, {copy});
  for (TensorSource& t : model.tensors) t.ref.file = folder.file("");
  check_refused(model, ErrorCode::kIo, {});
}

TEST("LoRA factors that do not fit are refused") {
  ModelDescription model = test::read_description(test::golden_directory("tiny-lora"));
  auto& lora = tensor(model, "model.layers.0.mlp.gate_proj.weight").lora;
  CHECK(lora.has_value());
  std::swap(lora->a, lora->b);
  check_refused(model, ErrorCode::kBadShape, {"LoRA", "model.layers.0.mlp.gate_proj.weight"});
}

TEST("a pipe in the place of a file is refused, not waited for") {
  const test::TempFolder folder;
  CHECK(mkfifo(folder.file("pipe").c_str(), 0600) == 0);
  ModelDescription model = good();
  for (TensorSource& source : model.tensors) source.ref.file = folder.file("pipe");
  check_refused(model, ErrorCode::kIo, {"pipe", "not a file"});
}

TEST("configs that contradict themselves are refused before any file is read") {
  const auto refused = [](auto change, ErrorCode code = ErrorCode::kBadConfig) {
    ModelDescription model = good();
    change(model.config);
    check_refused(model, code, {});
  };
  refused([](ModelConfig& c) { c.head_dim = c.rotary_dim = 2048; });
  refused([](ModelConfig& c) { c.rope_scaling = RopeScaling{.factor = 0.5}; });
  refused([](ModelConfig& c) { c.hidden_size = 0; });
  refused([](ModelConfig& c) { c.num_key_value_heads = 3; });
  refused([](ModelConfig& c) { c.linear_num_value_heads = 6; });
  refused([](ModelConfig& c) { c.rotary_dim = 7; });
  refused([](ModelConfig& c) { c.rotary_dim = c.head_dim + 2; });
  refused([](ModelConfig& c) { c.real_vocab_size = c.vocab_size + 1; });
  refused([](ModelConfig& c) { c.layer_types.clear(); });
  refused([](ModelConfig& c) { c.pipo->pad_token_id = c.vocab_size; });
  refused([](ModelConfig& c) { c.hidden_size = 1 << 30; });
}

TEST("unusable options are refused with what to choose") {
  LoadOptions options = test::load_options(WeightDtype::kInt4);
  options.group_size = 48;
  std::string words;
  CHECK(test::error_of([&] { Engine::load(good(), options); }, &words) == ErrorCode::kUnsupported);
  CHECK(words.find("32 or 64") != std::string::npos);
  options = test::load_options(WeightDtype::kInt4, "abacus");
  CHECK(test::error_of([&] { Engine::load(good(), options); }, &words) == ErrorCode::kUnsupported);
  CHECK(words.find("abacus") != std::string::npos);
}

TEST("memory is checked before it is taken, with both figures and a way out") {
  std::string words;
  const auto load = [](std::int64_t available) {
    require_memory_for_load(2'400'000'000, 20'000'000, WeightDtype::kInt8, available);
  };
  load(2'420'000'000);
  CHECK(test::error_of([&] { load(1'900'000'000); }, &words) == ErrorCode::kNotEnoughMemory);
  for (const char* word : {"2.4 GB", "1.9 GB", "int4"}) CHECK(words.find(word) != std::string::npos);

  const StateShape shape = StateShape::of(released_config("4b"), kernels::KvType::kBf16);
  CHECK(shape.kv_bytes_per_position() == 32768 + 4096);  // the published bytes per pair: backbone and draft head
  const auto session = [&](std::int32_t positions) {
    require_memory_for_session(shape, positions, 2'400'000'000, 4'000'000'000);
  };
  session(8192);
  CHECK(test::error_of([&] { session(262144); }, &words) == ErrorCode::kNotEnoughMemory);
  CHECK(words.find("4.0 GB") != std::string::npos && words.find("at most") != std::string::npos);
  require_memory_for_load(1'000'000'000'000, 0, WeightDtype::kInt8, std::nullopt);  // unknown: not refused

  const auto available = available_memory();
  CHECK(!available || *available > 0);
}

TEST("a model larger than the machine is refused in words, not by the system") {
  ModelDescription model = good();
  model.config.intermediate_size = 1 << 22;
  model.config.layer_types.assign(1000, LayerType::kLinearAttention);
  if (available_memory()) check_refused(model, ErrorCode::kNotEnoughMemory, {"GB of memory", "is available"});
}

TEST("bad requests are refused in words and leave the session usable") {
  const auto engine = test::load_golden("tiny-08b");
  const auto session = engine->create_session(64);
  check_bad_request(*session, greedy({}, 4), "empty");
  check_bad_request(*session, greedy({1, 2, engine->config().vocab_size}, 4), "320");
  check_bad_request(*session, greedy({1, -1}, 4), "-1");
  check_bad_request(*session, greedy({1}, -1), "max_new_tokens");
  check_bad_request(*session, greedy({1}, 4, std::nanf("")), "threshold");
  const auto with = [](auto change) {
    GenerateRequest request = greedy({1, 2}, 4);
    change(request);
    return request;
  };
  check_bad_request(*session, with([](auto& r) { r.pre_gate_threshold = std::nanf(""); }), "pre_gate_threshold");
  check_bad_request(*session, with([](auto& r) { r.sampling.temperature = -1; }), "temperature");
  check_bad_request(*session, with([](auto& r) { r.sampling.top_p = 0; }), "top_p");
  check_bad_request(*session, with([](auto& r) { r.sampling.top_k = -2; }), "top_k");
  check_bad_request(*session, with([](auto& r) { r.sampling.min_p = 2; }), "min_p");
  check_bad_request(*session, with([](auto& r) { r.sampling.repetition_penalty = 0; }), "repetition_penalty");
  check_bad_request(*session, with([](auto& r) { r.allowed_ids = {0xff}; }), "allowed_ids");
  check_bad_request(*session, with([](auto& r) { r.allowed_ids.assign(40, 0); }), "allows no id");
  CHECK(session->generate(greedy({1, 2, 3}, 4)).stats.tokens == 4);

  CHECK(test::error_of([&] { engine->create_session(0); }) == ErrorCode::kBadRequest);
  CHECK(test::error_of([&] { engine->create_session(1 << 30); }) == ErrorCode::kBadRequest);
  const auto plain = test::load_golden("tiny-plain")->create_session(64);
  CHECK(test::error_of([&] { plain->generate(greedy({1, 2}, 4)); }) == ErrorCode::kUnsupported);
}

int main(int argc, char** argv) { return pipo::test::run(argc, argv); }
