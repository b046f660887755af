/// Where a model runs when nothing but the CPU is there, and what is said about it.
#include "native/engine_fixture.h"

using namespace pipo;

namespace {

LoadOptions without_driver(const std::string& kernels) {
  LoadOptions options = test::load_options(WeightDtype::kF32, kernels);
  options.cuda.driver = "libno-such-driver.so.1";
  options.cuda.least_weight_bytes = 0;
  return options;
}

}  // namespace

TEST("without a driver an automatic choice is the best CPU target, and the note says why") {
  const EngineInfo info = test::load_golden("tiny-08b", without_driver("auto"))->info();
  CHECK(info.backend == kernels::available_backends().front());
  CHECK(info.device.empty() && info.threads == 2);
  CHECK(info.backend_note == "running on the CPU: there is no NVIDIA driver on this machine (libno-such-driver.so.1)");
}

TEST("a small model does not wake the device") {
  LoadOptions options = without_driver("auto");
  options.cuda.least_weight_bytes = LoadOptions().cuda.least_weight_bytes;
  CHECK(test::load_golden("tiny-08b", options)->info().backend_note == "running on the CPU: the model is small");
}

TEST("a CPU by wish needs no note") {
  for (const std::string& name : {std::string("cpu"), kernels::available_backends().back()}) {
    const EngineInfo info = test::load_golden("tiny-08b", without_driver(name))->info();
    CHECK(info.backend == (name == "cpu" ? kernels::available_backends().front() : name));
    CHECK(info.backend_note.empty());
  }
}

TEST("CUDA by wish is refused with the reason where it cannot be had") {
  std::string words;
  CHECK(test::error_of([] { test::load_golden("tiny-08b", without_driver("cuda")); }, &words) ==
        ErrorCode::kUnsupported);
  CHECK_MESSAGE(words.find("CUDA cannot be used: there is no NVIDIA driver") == 0, words);
}

int main(int argc, char** argv) { return pipo::test::run(argc, argv); }
