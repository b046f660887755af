/// The engine against the goldens of test/golden, on every kernel backend of the CPU.
#include "native/golden_checks.h"

using namespace pipo;

namespace {

void check_checkpoint(const std::string& name, const std::string& kernels) {
  const auto session = test::load_golden(name, test::load_options(WeightDtype::kF32, kernels))->create_session(512);
  const int failures_before = test::failures();
  test::check_goldens(*session, test::Golden(test::golden_directory(name)));
  CHECK_MESSAGE(test::failures() == failures_before, name + " on " + kernels + " disagrees with its goldens");
}

}  // namespace

TEST("fp32 agrees with the goldens on every backend") {
  for (const std::string& kernels : kernels::available_backends()) {
    for (const char* name : test::kAllCheckpoints) check_checkpoint(name, kernels);
  }
}

int main(int argc, char** argv) { return pipo::test::run(argc, argv); }
