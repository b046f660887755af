/// The goldens over the CUDA library: with its own steps, and operation by operation.
#include "cuda/engine/device_engine.h"
#include "native/golden_checks.h"

using namespace pipo;

namespace {

constexpr test::GoldenShare kAll, kSteps{5, 4, 3, false}, kEager{5, 3, 1, false};

void check_checkpoint(const std::string& name, DeviceStepping stepping, const test::GoldenShare& share) {
  const auto session = test::load_on_device(name, stepping)->create_session(512);
  test::check_goldens(*session, test::Golden(test::golden_directory(name)), PIPO_CUDA_EMULATED ? share : kAll);
}

void check_checkpoint(const std::string& name) {
  check_checkpoint(name, DeviceStepping::kGraph, kSteps);
  check_checkpoint(name, DeviceStepping::kEager, kEager);
}

}  // namespace

TEST("tiny-08b") { check_checkpoint("tiny-08b"); }
TEST("tiny-4b") { check_checkpoint("tiny-4b"); }
TEST("tiny-9b") { check_checkpoint("tiny-9b"); }
TEST("tiny-plain") { check_checkpoint("tiny-plain"); }
TEST("tiny-lora") { check_checkpoint("tiny-lora"); }
TEST("tiny-pregate") { check_checkpoint("tiny-pregate"); }

int main(int argc, char** argv) { return test::run_on_device(argc, argv); }
