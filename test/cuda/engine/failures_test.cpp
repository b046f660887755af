/// What is said and done when the device is too small, full, or breaks.
#include "cuda/engine/failures.h"

#include <dlfcn.h>

#include "cuda/engine/device_engine.h"

using namespace pipo;
using test::Failure;
using test::greedy;

namespace {

constexpr const char* kModel = "tiny-08b";

void order(Failure failure) {
  void* library = dlopen(PIPO_FAILING_LIBRARY, RTLD_NOW | RTLD_LOCAL);
  reinterpret_cast<void (*)(Failure)>(dlsym(library, "pipo_cuda_order"))(failure);
}

LoadOptions options(const std::string& kernels) {
  LoadOptions options = test::device_options();
  options.kernels = kernels;
  options.cuda.library = PIPO_FAILING_LIBRARY;
  options.cuda.least_weight_bytes = 0;
  return options;
}

bool contains(const std::string& words, const std::string& part) { return words.find(part) != std::string::npos; }

}  // namespace

TEST("an automatic choice takes the device that will do, and says which") {
  order(Failure::kNone);
  const auto engine = test::load_golden(kModel, options("auto"));
  CHECK(engine->info().backend == "cuda" && !engine->info().device.empty());
  CHECK(engine->info().backend_note.empty());
  CHECK(engine->create_session(16)->generate(greedy({1, 2}, 2)).stats.tokens == 2);
}

TEST("a model that does not fit runs on the CPU with the figures in the note, or is refused with them") {
  order(Failure::kSmallDevice);
  const auto engine = test::load_golden(kModel, options("auto"));
  const EngineInfo& info = engine->info();
  CHECK(info.backend != "cuda" && info.device.empty());
  for (const char* word : {"running on the CPU", "weights 9.0 GB", "300 MB is free"}) {
    CHECK_MESSAGE(contains(info.backend_note, word), info.backend_note);
  }
  CHECK(engine->create_session(16)->generate(greedy({1, 2}, 2)).stats.tokens == 2);
  std::string words;
  CHECK(test::error_of([] { test::load_golden(kModel, options("cuda")); }, &words) == ErrorCode::kNotEnoughMemory);
  CHECK_MESSAGE(contains(words, "9.0 GB"), words);
  order(Failure::kUpload);
  CHECK(contains(test::load_golden(kModel, options("auto"))->info().backend_note, "this failure was ordered"));
}

TEST("a device that computes other results than the CPU is not used, and the note says which") {
  LoadOptions verified = options("auto");
  verified.cuda.verify = true;
  order(Failure::kNone);
  for (const char* model : {kModel, "tiny-plain"}) CHECK(test::load_golden(model, verified)->info().backend == "cuda");
  order(Failure::kWrongChunks);
  const EngineInfo chunks = test::load_golden(kModel, verified)->info();
  CHECK(chunks.backend != "cuda");
  CHECK_MESSAGE(contains(chunks.backend_note, "in a longer prompt (agreement"), chunks.backend_note);
  order(Failure::kWrongSteps);
  verified.kernels = "cuda";
  std::string words;
  CHECK(test::error_of([&] { test::load_golden(kModel, verified); }, &words) == ErrorCode::kUnsupported);
  CHECK_MESSAGE(contains(words, "CUDA cannot be used") && contains(words, "other tokens"), words);
}

TEST("a prompt beyond the device's memory is refused, and a long answer takes what room there is") {
  order(Failure::kNone);
  const auto engine = test::load_golden(kModel, options("cuda"));
  order(Failure::kRoom);
  const auto session = engine->create_session(512);
  CHECK(test::error_of([&] { session->generate(greedy(std::vector<std::int32_t>(800, 1), 1)); }) ==
        ErrorCode::kNotEnoughMemory);
  int steps = 0;
  const GenerateResult result =
      session->generate(greedy({1, 2, 3, 4}, 500), [&](const Step&) { return ++steps < 2; });
  CHECK(result.stop_reason == StopReason::kListenerStopped && result.stats.steps == 2);
}

TEST("loading can be cancelled while the model is uploaded") {
  order(Failure::kNone);
  std::atomic<bool> cancelled{false};
  const auto progress = [&](LoadStage stage, double) { cancelled = cancelled || stage == LoadStage::kUploading; };
  CHECK(test::error_of([&] {
          Engine::load(test::read_description(test::golden_directory(kModel)), options("auto"), progress, &cancelled);
        }) == ErrorCode::kCancelled);
}

TEST("a device that breaks ends the request with its words and what to do") {
  for (const Failure failure : {Failure::kExtend, Failure::kStep}) {
    order(Failure::kNone);
    const auto engine = test::load_golden(kModel, options("cuda"));
    const auto session = engine->create_session(16);
    order(failure);
    std::string words;
    CHECK(test::error_of([&] { session->generate(greedy({1, 2, 3}, 4)); }, &words) == ErrorCode::kInternal);
    CHECK_MESSAGE(contains(words, "this failure was ordered") && contains(words, "restart the engine"), words);
    order(Failure::kNone);
    const auto expected = test::load_on_cpu(kModel)->create_session(16)->generate(greedy({1, 2, 3}, 4)).slots;
    CHECK(session->generate(greedy({1, 2, 3}, 4)).slots == expected);
  }
}

int main(int argc, char** argv) { return test::run_on_device(argc, argv); }
