/// The packed file: used when fresh, made again when anything about it is wrong, and never left half-written.
#include "weights/packed_file.h"

#include <atomic>
#include <fstream>
#include <thread>

#include "native/engine_fixture.h"
#include "pipo/random_model.h"
#include "platform/files.h"
#include "weights/byte_stream.h"
#include "weights/config_document.h"

using namespace pipo;
using test::greedy;

namespace {

LoadOptions into(const std::string& file, WeightDtype dtype = WeightDtype::kInt8) {
  LoadOptions options = test::load_options(dtype);
  options.packed_file = file;
  return options;
}

std::vector<std::int32_t> tokens_of(Engine& engine) {
  return engine.create_session(128)->generate(greedy(test::random_ids(engine.config(), 20, 1), 16)).slots;
}

std::string read_all(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void write_all(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

}  // namespace

TEST("a fresh packed file is mapped and gives the same tokens, also without its sources") {
  for (const WeightDtype dtype : {WeightDtype::kF32, WeightDtype::kBf16, WeightDtype::kInt8, WeightDtype::kInt4,
                                  WeightDtype::kMix}) {
    const test::TempFolder folder;
    const std::string file = folder.file("model.pipo");
    const auto memory = test::load_golden("tiny-9b", test::load_options(dtype));
    const auto packed = test::load_golden("tiny-9b", into(file, dtype));
    CHECK(!packed->info().from_packed_file && packed->info().packed_file_note.empty());
    const auto mapped = test::load_golden("tiny-9b", into(file, dtype));
    CHECK(mapped->info().from_packed_file);
    const auto alone = Engine::load_packed(file, test::load_options());
    CHECK(alone->info().dtype == dtype && alone->info().name == "tiny-9b");
    const auto expected = tokens_of(*memory);
    CHECK(tokens_of(*packed) == expected && tokens_of(*mapped) == expected && tokens_of(*alone) == expected);
    CHECK(folder.n_files() == 1);
  }
}

TEST("a packed file holds the pre-gate where there is one") {
  const test::TempFolder folder;
  const std::string file = folder.file("model.pipo");
  ModelDescription model = test::read_description(test::golden_directory("tiny-pregate"));
  GenerateRequest request = greedy(test::random_ids(model.config, 40, 2), 40, 0.0f);
  request.pre_gate_threshold = 0.5f;
  const GenerateResult expected = Engine::load(model, into(file))->create_session(128)->generate(request);
  CHECK(expected.stats.drafts_skipped > 0);
  const auto alone = Engine::load_packed(file, test::load_options());
  CHECK(alone->config() == model.config);
  CHECK(alone->create_session(128)->generate(request).slots == expected.slots);
  // The same sources without the pre-gate are another model.
  std::erase_if(model.tensors, [](const TensorSource& t) { return t.name.starts_with("pre_gate."); });
  model.config.pipo->pre_gate = false;
  CHECK(!Engine::load(model, into(file))->info().from_packed_file);
}

TEST("packed files look as when their version was new") {
  for (const auto& [name, expected] : {std::pair{"tiny-08b", 0x346d069b78bbcc84ull}, std::pair{"tiny-qwen2", 0xb9c4abd04621ae5dull}}) {
    const ModelDescription model = test::read_description(test::golden_directory(name));
    const PackedHeader header = plan_packed(model.name, model.fingerprint, model.config, WeightDtype::kInt8, 32);
    CHECK_MESSAGE(checksum(encode_header(header)) == expected, std::string(name) + ": another header, " +
                                                               std::to_string(checksum(encode_header(header))));
  }
}

TEST("another fingerprint, dtype, group or config makes it stale") {
  const test::TempFolder folder;
  const std::string file = folder.file("model.pipo");
  const ModelDescription model = test::read_description(test::golden_directory("tiny-08b"));
  Engine::load(model, into(file));
  const auto is_fresh = [&](const ModelDescription& m, const LoadOptions& o) {
    return Engine::load(m, o)->info().from_packed_file;
  };
  CHECK(is_fresh(model, into(file)));
  CHECK(!is_fresh(model, into(file, WeightDtype::kInt4)));
  CHECK(is_fresh(model, into(file, WeightDtype::kInt4)));
  LoadOptions wide = into(file, WeightDtype::kInt4);
  wide.group_size = 64;
  CHECK(!is_fresh(model, wide));
  ModelDescription changed = model;
  changed.fingerprint += "!";
  CHECK(!is_fresh(changed, wide));
  ModelDescription other_rope = changed;
  other_rope.config.rope_theta = 5e5;
  CHECK(!is_fresh(other_rope, wide));
  CHECK(is_fresh(other_rope, wide));
}

TEST("a config comes back from its document as it went in, and a damaged document says which field") {
  for (const char* name : test::kAllCheckpoints) {
    ModelConfig config = test::read_description(test::golden_directory(name)).config;
    config.rope_scaling = RopeScaling{RopeScalingType::kYarn, 4.0, 32768, 0.0, 0.0, 32.0, 1.0, 1.138};
    CHECK(read_config_document(write_config_document(config)) == config);
  }
  const std::string good = write_config_document(released_config("0.8b"));
  const auto refused = [&](const std::string& from, const std::string& to, const std::string& named) {
    std::string document = good, words;
    document.replace(document.find(from), from.size(), to);
    CHECK(test::error_of([&] { read_config_document(document); }, &words) == ErrorCode::kBadFile);
    CHECK_MESSAGE(words.find(named) != std::string::npos, words);
  };
  refused("hiddenSize 1024\n", "", "hiddenSize is missing");
  refused("hiddenSize 1024", "hiddenSize 99999999999", "hiddenSize is out of range");
  refused("hiddenSize 1024", "hiddenSize 1024\nhiddenSize 1024", "hiddenSize appears twice");
  refused("queryKeyNorm true", "queryKeyNorm yes", "queryKeyNorm");
  refused("normWeight zeroCentred", "normWeight strange", "normWeight");
  refused("pipo.compressor mlp", "pipo.compressor mlp\ncolour blue", "colour");
}

TEST("a damaged or half-written file is noticed and made again") {
  const test::TempFolder folder;
  const std::string file = folder.file("model.pipo");
  const auto expected = tokens_of(*test::load_golden("tiny-08b", into(file)));
  const std::string good = read_all(file);
  std::vector<std::string> bad = {"", "PIPO", good.substr(0, good.size() / 2), good.substr(0, good.size() - 1),
                                  good + "x"};
  // One flipped bit anywhere: magic, version, sizes, header, tables, weights.
  for (const std::size_t at : {0ul, 9ul, 17ul, 25ul, 40ul, 60ul, 300ul, 3000ul, good.size() / 2, good.size() - 70}) {
    bad.push_back(good);
    bad.back()[at] ^= 0x10;
  }
  for (std::size_t i = 0; i < bad.size(); ++i) {
    write_all(file, bad[i]);
    std::string words;
    CHECK(test::error_of([&] { Engine::load_packed(file, test::load_options()); }, &words) == ErrorCode::kBadFile);
    CHECK(words.find(file) != std::string::npos);
    const auto engine = test::load_golden("tiny-08b", into(file));
    CHECK_MESSAGE(!engine->info().from_packed_file, "bad file " + std::to_string(i) + " was used");
    CHECK(tokens_of(*engine) == expected);
    CHECK_MESSAGE(read_all(file) == good, "bad file " + std::to_string(i) + " was not made again");
  }
}

TEST("a file that cannot be written leaves nothing behind and loading goes on in memory") {
  const test::TempFolder folder;
  write_all(folder.file("blocker"), "a file, not a folder");
  const auto engine = test::load_golden("tiny-08b", into(folder.file("blocker/model.pipo")));
  CHECK(engine->info().packed_file_note.find("model.pipo") != std::string::npos);
  CHECK(tokens_of(*engine) == tokens_of(*test::load_golden("tiny-08b", test::load_options(WeightDtype::kInt8))));
  CHECK(folder.n_files() == 1);
}

TEST("a full disk leaves no file and loading goes on in memory") {
  const test::TempFolder folder;
  const test::FileSizeLimit limit(64 << 10);
  const auto engine = test::load_golden("tiny-08b", into(folder.file("model.pipo")));
  CHECK(!engine->info().packed_file_note.empty());
  CHECK(folder.n_files() == 0);
  CHECK(!tokens_of(*engine).empty());
}

TEST("leftovers of crashed writers are removed, those of others are not") {
  const test::TempFolder folder;
  const std::string file = folder.file("model.pipo");
  write_all(file + ".tmp-1-0", "half of a model");
  write_all(folder.file("other.pipo.tmp-1-0"), "another model's");
  write_all(file + ".tmp-notes.txt", "somebody's");
  test::load_golden("tiny-08b", into(file));
  CHECK(!std::filesystem::exists(file + ".tmp-1-0"));
  CHECK(std::filesystem::exists(folder.file("other.pipo.tmp-1-0")));
  CHECK(std::filesystem::exists(file + ".tmp-notes.txt"));
}

TEST("several writers of one file at once do not disturb each other") {
  const test::TempFolder folder;
  const std::string file = folder.file("model.pipo");
  std::vector<std::thread> threads;
  std::vector<std::vector<std::int32_t>> tokens(4);
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    threads.emplace_back([&, i] { tokens[i] = tokens_of(*test::load_golden("tiny-4b", into(file))); });
  }
  for (std::thread& thread : threads) thread.join();
  for (const auto& t : tokens) CHECK(t == tokens[0] && !t.empty());
  CHECK(folder.n_files() == 1);
  CHECK(test::load_golden("tiny-4b", into(file))->info().from_packed_file);
}

TEST("a file that was just begun is not taken for one that was left behind") {
  const test::TempFolder folder;
  const std::string file = folder.file("model.pipo");
  std::vector<std::thread> threads;
  std::atomic<int> lost{0};
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int n = 0; n < 300; ++n) {
        const AtomicFile begun(file);
        if (!file_exists(begun.temporary_path())) ++lost;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK_MESSAGE(lost == 0, std::to_string(lost) + " of 1200 were lost");
  CHECK(folder.n_files() == 0);
}

TEST("packing reports progress and can be cancelled without a trace") {
  const test::TempFolder folder;
  const std::string file = folder.file("model.pipo");
  const ModelDescription model = test::read_description(test::golden_directory("tiny-4b"));
  double last = -1;
  bool ready = false;
  Engine::load(model, into(file), [&](LoadStage stage, double fraction) {
    CHECK(fraction >= last && fraction <= 1.0);
    last = fraction;
    ready = stage == LoadStage::kReady;
  });
  CHECK(ready && last == 1.0);
  std::filesystem::remove(file);
  const std::atomic<bool> cancelled{true};
  CHECK(test::error_of([&] { Engine::load(model, into(file), {}, &cancelled); }) == ErrorCode::kCancelled);
  CHECK(folder.n_files() == 0);
}

TEST("a random model of any released shape is planned, and the tiny one runs") {
  for (const char* size : {"0.8b", "2b", "4b", "9b"}) {
    const PackedHeader header = plan_packed(size, "", released_config(size), WeightDtype::kInt4, 64);
    CHECK(header.file_bytes > 400'000'000u && header.file_bytes < 8'000'000'000u);
  }
  const test::TempFolder folder;
  const std::string file = folder.file("random.pipo");
  write_random_packed_file(file, "random", released_config("tiny"), WeightDtype::kInt4, 32, 2);
  const auto engine = Engine::load_packed(file, test::load_options());
  CHECK(tokens_of(*engine).size() >= 16);
}

int main(int argc, char** argv) { return pipo::test::run(argc, argv); }
