/// Embedding rows and norms against the scalar reference.
#include "test/cuda/device_memory.h"
#include "test/kernels/op_testing.h"

using namespace pipo;
using namespace pipo::test;
using kernels::WeightType;

TEST("embedding rows of every weight type") {
  struct Format {
    WeightType type;
    int group;
  };
  const std::vector<std::int32_t> ids = {0, 40, 17, 17};
  const Device<int> dids(ids);
  for (const Format& f : {Format{WeightType::kF32, 0}, {WeightType::kBf16, 0}, {WeightType::kInt8, 32},
                          {WeightType::kInt8, 64}, {WeightType::kInt4, 32}, {WeightType::kInt4, 64}}) {
    for (const int k : {8, 100, 640}) {
      const DeviceWeights w(f.type, f.group, 41, k, random_floats(41 * k));
      std::vector<float> expected(ids.size() * k);
      CHECK(reference().embed(w.host(), ids.data(), static_cast<int>(ids.size()), expected.data()) == Status::kOk);
      const Device<float> out(expected.size());
      finish(cuda::embed(queue(), w.matrix(), dids.get(), static_cast<int>(ids.size()), out.get(), nullptr));
      CHECK(out.read() == expected);
    }
  }
}

TEST("norms of rows") {
  for (const int dim : {1, 33, 2560}) {
    const std::vector<float> x = random_floats(3 * dim), w = random_norm_weights(dim);
    std::vector<float> expected(x.size());
    CHECK(reference().rms_norm(x.data(), w.data(), 1e-6f, 3, dim, expected.data()) == Status::kOk);
    const Device<float> dx(x), dw(w);
    finish(cuda::rms_norm(queue(), dx.get(), dw.get(), 1e-6f, 3, dim, dx.get(), nullptr));
    check_close(dx.read(), expected, 1e-5, "dim " + std::to_string(dim));
  }
}

int main(int argc, char** argv) { return device_present() ? pipo::test::run(argc, argv) : kSkipped; }
