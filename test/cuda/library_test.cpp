/// When the CUDA library is not used, the reason is said in words; nothing here needs a device.
#include "kernels/cuda_library.h"
#include "test/support/check.h"

using namespace pipo::kernels;

namespace {

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

PipoCudaDevice good_device() {
  PipoCudaDevice d{};
  std::snprintf(d.name, sizeof d.name, "Test Card");
  d.capability_major = 9;
  d.driver_version = 13000;
  d.runtime_version = 13020;
  d.total_bytes = 80ll << 30;
  d.free_bytes = 70ll << 30;
  return d;
}

}  // namespace

TEST("without a driver nothing is loaded and the reason says so") {
  std::string reason;
  CudaLocation nowhere;
  nowhere.driver = "libno-such-driver.so.1";
  CHECK(open_cuda_library(nowhere, &reason) == nullptr);
  CHECK_MESSAGE(contains(reason, "no NVIDIA driver"), reason);
}

TEST("a driver without our library is told apart") {
  std::string reason;
  CudaLocation location;
  location.driver = "libc.so.6";
  location.library = "/no/such/libpipo_cuda.so";
  CHECK(open_cuda_library(location, &reason) == nullptr);
  CHECK_MESSAGE(contains(reason, "not part of this build"), reason);
  location.library = "libc.so.6";  // a library without our entry
  CHECK(open_cuda_library(location, &reason) == nullptr);
  CHECK_MESSAGE(contains(reason, "another version"), reason);
}

TEST("devices are judged by driver, capability and memory") {
  CHECK(refusal_of(good_device(), 1 << 20).empty());
  PipoCudaDevice d = good_device();
  d.driver_version = 12040;
  CHECK_MESSAGE(contains(refusal_of(d, 0), "supports CUDA 12.4, these kernels need CUDA 13.0"), refusal_of(d, 0));
  d = good_device();
  d.capability_major = 7;
  d.capability_minor = 5;
  CHECK_MESSAGE(contains(refusal_of(d, 0), "compute capability 7.5"), refusal_of(d, 0));
  d = good_device();
  d.free_bytes = 100 << 20;
  CHECK_MESSAGE(contains(refusal_of(d, 256 << 20), "100 MB"), refusal_of(d, 256 << 20));
}

int main(int argc, char** argv) { return pipo::test::run(argc, argv); }
