/// Rows on their way into the tensor cores against norms and gates in double.
#include "kernels/reference/scalar.h"
#include "test/cuda/device_memory.h"
#include "test/kernels/op_testing.h"

using namespace pipo;
using namespace pipo::test;
using cuda::Input;
using kernels::reference::from_bf16;

namespace {

/// One row's inputs, as wide as the kind reads them.
struct Row {
  const float *x, *x2, *norm, *norm2;
  int k, head_dim;
};

double scale_of(const float* x, int count) {
  double sum = 0;
  for (int i = 0; i < count; ++i) sum += static_cast<double>(x[i]) * x[i];
  return 1 / std::sqrt(sum / count + 1e-6);
}
double silu_of(double x) { return x / (1 + std::exp(-x)); }

double expected(Input input, const Row& r, int i) {
  const int half = r.k / 2;
  switch (input) {
    case Input::kPlain: return r.x[i];
    case Input::kNorm: return r.x[i] * scale_of(r.x, r.k) * r.norm[i];
    case Input::kPairNorm:
      if (i < half) return r.x[i] * scale_of(r.x, half) * r.norm[i];
      return r.x2[i - half] * scale_of(r.x2, half) * r.norm2[i - half];
    case Input::kJointNorm: {
      std::vector<float> both(r.x, r.x + half);
      both.insert(both.end(), r.x2, r.x2 + half);
      return both[i] * scale_of(both.data(), r.k) * r.norm[i];
    }
    case Input::kGatedNorm: {
      const int at = i / r.head_dim * r.head_dim;
      return r.norm[i - at] * r.x[i] * scale_of(r.x + at, r.head_dim) * silu_of(r.x2[i]);
    }
    case Input::kSiluProduct: return silu_of(r.x[i]) * r.x2[i];
  }
  return NAN;
}

void check_kind(Input input, int rows, int k, int head_dim, int apart) {
  const bool halves = input == Input::kPairNorm || input == Input::kJointNorm;
  const int width = halves ? k / 2 : k, stride = width + apart, padded = k + (k % 4 == 0 ? 36 : 31);
  const std::vector<float> x = random_floats(std::int64_t{rows} * stride), x2 = random_floats(std::int64_t{rows} * stride),
                           norm = random_norm_weights(k), norm2 = random_norm_weights(k);
  const Device<float> dx(x), dx2(x2), dnorm(norm), dnorm2(norm2);
  const Device<std::uint16_t> to(std::vector<std::uint16_t>(static_cast<std::size_t>(rows * padded), 0x7fc0));
  cuda::RowsInput args;
  args.input = input;
  args.x = dx.get();
  args.x2 = dx2.get();
  args.norm = dnorm.get();
  args.norm2 = dnorm2.get();
  args.x_stride = args.x2_stride = apart == 0 ? 0 : stride;
  args.head_dim = head_dim;
  args.rows = rows;
  args.k = k;
  args.k_padded = padded;
  args.to = to.get();
  finish(cuda::prepare_rows(queue(), args));
  std::vector<double> wanted(static_cast<std::size_t>(rows * padded));
  for (int r = 0; r < rows; ++r) {
    const Row row{x.data() + r * stride, x2.data() + r * stride, norm.data(), norm2.data(), k, head_dim};
    for (int i = 0; i < k; ++i) wanted[r * padded + i] = expected(input, row, i);
  }
  std::vector<float> found;
  for (const std::uint16_t v : to.read()) found.push_back(from_bf16(v));
  check_close(found, wanted, 4e-3, "input " + std::to_string(static_cast<int>(input)) + ", k " + std::to_string(k) +
                                       ", apart " + std::to_string(apart));
}

}  // namespace

TEST("every kind of input, whole and odd widths, rows apart and together, padding") {
  for (const Input input : {Input::kPlain, Input::kNorm, Input::kPairNorm, Input::kJointNorm, Input::kGatedNorm, Input::kSiluProduct}) {
    for (const int apart : {0, 3, 8}) {
      check_kind(input, 3, 96, 32, apart);
      check_kind(input, 2, 90, 15, apart);
      check_kind(input, 1, 4672, 64, apart);
    }
  }
}

int main(int argc, char** argv) { return device_present() ? pipo::test::run(argc, argv) : kSkipped; }
