#include "test/kernels/op_testing.h"

using namespace pipo::test;

namespace {

constexpr float kEps = 1e-6f;

std::vector<float> normed(Backend& backend, const std::vector<float>& x, const std::vector<float>& w, int rows) {
  std::vector<float> y(x.size());
  CHECK(backend.rms_norm(x.data(), w.data(), kEps, rows, static_cast<int>(w.size()), y.data()) == Status::kOk);
  return y;
}

}  // namespace

TEST("rms_norm of the reference is the formula in double precision") {
  const int rows = 3, dim = 50;
  const std::vector<float> x = random_floats(rows * dim, 4.0f), w = random_norm_weights(dim);
  std::vector<double> expected;
  for (int r = 0; r < rows; ++r) {
    double mean = 0.0;
    for (int i = 0; i < dim; ++i) mean += static_cast<double>(x[r * dim + i]) * x[r * dim + i] / dim;
    for (int i = 0; i < dim; ++i) expected.push_back(x[r * dim + i] / std::sqrt(mean + kEps) * w[i]);
  }
  check_close(normed(reference(), x, w, rows), expected, 1e-6, "reference");
}

TEST("rms_norm of every backend is the reference's, in place too") {
  for (const int dim : {1, 7, 16, 24, 64, 100, 256, 1024, 2560}) {
    for (const int rows : {1, 2, 3, 7, 33, 64, 130}) {
      const std::vector<float> x = random_floats(static_cast<std::int64_t>(rows) * dim, 4.0f),
                               w = random_norm_weights(dim);
      const std::vector<float> expected = normed(reference(), x, w, rows);
      for (const auto& backend : backends_under_test()) {
        const std::string what = label(*backend) + ", " + std::to_string(rows) + " x " + std::to_string(dim);
        check_close(normed(*backend, x, w, rows), expected, 2e-6, what);
        std::vector<float> in_place = x;
        CHECK(backend->rms_norm(in_place.data(), w.data(), kEps, rows, dim, in_place.data()) == Status::kOk);
        check_close(in_place, expected, 2e-6, what + " in place");
      }
    }
  }
}

TEST("rms_norm of zeros is zero and of nothing is fine") {
  const std::vector<float> zeros(40, 0.0f), w(40, 0.5f);
  for (const auto& backend : backends_under_test()) {
    check_close(normed(*backend, zeros, w, 1), zeros, 0.0, label(*backend));
    CHECK(backend->rms_norm(nullptr, w.data(), kEps, 0, 40, nullptr) == Status::kOk);
    CHECK(backend->rms_norm(nullptr, w.data(), kEps, 1, 0, nullptr) == Status::kBadShape);
  }
}

int main(int argc, char** argv) { return run(argc, argv); }
