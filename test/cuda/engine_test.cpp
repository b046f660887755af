/// The engine over the CUDA library: the same goldens, sampler and sessions as on the CPU. One source for two programs:
/// over the emulated library, which runs anywhere, and over the real one, skipped where there is no device.
#include "kernels/cuda_library.h"
#include "native/golden_checks.h"

using namespace pipo;
using test::greedy;
using test::joined;

namespace {

LoadOptions device_options(DeviceStepping stepping, WeightDtype dtype = WeightDtype::kF32) {
  LoadOptions options = test::load_options(dtype, "cuda");
  options.cuda = {PIPO_CUDA_LIBRARY, PIPO_CUDA_DRIVER, stepping};
  return options;
}

std::shared_ptr<Engine> load_on_device(const std::string& name, DeviceStepping stepping = DeviceStepping::kGraph,
                                       WeightDtype dtype = WeightDtype::kF32) {
  return test::load_golden(name, device_options(stepping, dtype));
}

}  // namespace

TEST("goldens, operation by operation") {
  for (const char* name : test::kAllCheckpoints) {
    const int failures_before = test::failures();
    const auto session = load_on_device(name, DeviceStepping::kEager)->create_session(512);
    test::check_goldens(*session, test::Golden(test::golden_directory(name)));
    CHECK_MESSAGE(test::failures() == failures_before, std::string(name) + " disagrees with its goldens");
  }
}

int main(int argc, char** argv) {
  std::string reason;
  if (!kernels::open_cuda_library({PIPO_CUDA_LIBRARY, PIPO_CUDA_DRIVER}, &reason)) {
    std::printf("skipped: %s\n", reason.c_str());
    return 77;
  }
  return pipo::test::run(argc, argv);
}
