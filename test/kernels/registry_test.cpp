#include <algorithm>
#include <cstdlib>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "kernels/backend.h"
#include "test/support/check.h"

namespace pipo::kernels {
namespace {

/// Sets PIPO_KERNELS for the duration of a case; null clears it.
class ForcedKernels {
 public:
  explicit ForcedKernels(const char* name) {
    const char* before = std::getenv(kVariable);
    had_before_ = before != nullptr;
    if (had_before_) before_ = before;
    set(name);
  }
  ~ForcedKernels() { set(had_before_ ? before_.c_str() : nullptr); }

 private:
  static constexpr const char* kVariable = "PIPO_KERNELS";
  static void set(const char* name) {
    if (name != nullptr) {
      setenv(kVariable, name, 1);
    } else {
      unsetenv(kVariable);
    }
  }
  bool had_before_ = false;
  std::string before_;
};

std::string name_of(const BackendOptions& options) {
  std::string reason;
  const std::unique_ptr<Backend> backend = make_backend(options, &reason);
  return backend != nullptr ? backend->name() : "none: " + reason;
}

TEST("every available backend can be made by name, the reference is the last") {
  const std::vector<std::string> names = available_backends();
  CHECK(!names.empty() && names.back() == "reference");
  for (const std::string& name : names) CHECK(name_of({name, 1}) == name);
}

TEST("without a name the best one is taken, unless PIPO_KERNELS says otherwise") {
  {
    const ForcedKernels cleared(nullptr);
    CHECK(name_of({}) == available_backends().front());
  }
  const ForcedKernels forced("reference");
  CHECK(name_of({}) == "reference");
  CHECK(name_of({available_backends().front(), 1}) == available_backends().front());
}

TEST("a name that does not exist is refused with the ones that do") {
  const ForcedKernels forced("abacus");
  std::string reason;
  CHECK(make_backend({}, &reason) == nullptr);
  CHECK(reason.find("abacus") != std::string::npos);
  for (const std::string& name : available_backends()) CHECK(reason.find(name) != std::string::npos);
  CHECK(make_backend({}, nullptr) == nullptr);
}

TEST("one core is left to others, and a wanted number of threads is kept") {
  const ForcedKernels cleared(nullptr);
  const std::string best = available_backends().front();
  if (best == "reference") return;
  const int cores = static_cast<int>(std::thread::hardware_concurrency());
  CHECK(make_backend({best, 0}, nullptr)->threads() == std::max(1, cores - 1));
  CHECK(make_backend({best, 2}, nullptr)->threads() == 2);
}

TEST("a read pass has a plausible rate") {
  const double rate = measure_read_bandwidth(8 << 20, 2, 3);
  CHECK(rate > 1e8 && rate < 1e13);
}

}  // namespace
}  // namespace pipo::kernels

int main(int argc, char** argv) { return pipo::test::run(argc, argv); }
