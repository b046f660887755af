#include "test/kernels/op_testing.h"

using namespace pipo::test;

namespace {

double exact_silu(double x) { return x / (1.0 + std::exp(-x)); }

/// Values where exp would overflow and vanish, the steep middle, and the rest at random.
std::vector<float> gates(int count) {
  std::vector<float> x = random_floats(count, 6.0f);
  const float special[] = {0.0f,  -0.0f,  1e-30f, 20.0f,   -20.0f, 87.0f, -87.0f,
                           88.5f, -88.5f, 200.0f, -200.0f, 1e6f,   -1e6f};
  for (std::size_t i = 0; i < std::size(special) && i < x.size(); ++i) x[i] = special[i];
  return x;
}

/// Each element must be right by itself, so that small values are not hidden by large ones.
void check_each(const std::vector<float>& actual, const std::vector<double>& expected, const std::string& what) {
  for (std::size_t i = 0; i < actual.size(); ++i) {
    const double error = std::fabs(actual[i] - expected[i]);
    CHECK_MESSAGE(error <= 2e-6 * std::fabs(expected[i]) + 1e-30, what + " at " + std::to_string(i));
  }
}

std::vector<std::string> all_names() { return pipo::kernels::available_backends(); }

}  // namespace

TEST("silu is x * sigmoid(x) to 2e-6 of each value") {
  for (const int count : {1, 3, 7, 15, 16, 17, 64, 1000, 100'003}) {
    const std::vector<float> x = gates(count);
    std::vector<double> expected;
    for (const float value : x) expected.push_back(exact_silu(value));
    for (const std::string& name : all_names()) {
      std::vector<float> y = x;
      CHECK(backend_named(name, 3)->silu(count, y.data()) == Status::kOk);
      check_each(y, expected, name + ", " + std::to_string(count));
    }
  }
}

TEST("silu_multiply is SiLU(gate) * up, also when the output is one of the inputs") {
  for (const int count : {1, 5, 16, 31, 3584, 70'001}) {
    const std::vector<float> gate = gates(count), up = random_floats(count);
    std::vector<double> expected;
    for (int i = 0; i < count; ++i) expected.push_back(exact_silu(gate[i]) * up[i]);
    for (const std::string& name : all_names()) {
      const std::unique_ptr<Backend> backend = backend_named(name, 3);
      std::vector<float> out(count), over_gate = gate, over_up = up;
      CHECK(backend->silu_multiply(gate.data(), up.data(), count, out.data()) == Status::kOk);
      CHECK(backend->silu_multiply(over_gate.data(), up.data(), count, over_gate.data()) == Status::kOk);
      CHECK(backend->silu_multiply(gate.data(), over_up.data(), count, over_up.data()) == Status::kOk);
      check_each(out, expected, name);
      check_each(over_gate, expected, name + " over the gate");
      check_each(over_up, expected, name + " over the other factor");
    }
  }
}

TEST("a value that is not a number stays one") {
  for (const std::string& name : all_names()) {
    std::vector<float> x(40, 1.0f);
    x[3] = x[37] = NAN;
    CHECK(backend_named(name, 1)->silu(40, x.data()) == Status::kOk);
    CHECK(std::isnan(x[3]) && std::isnan(x[37]) && !std::isnan(x[4]));
  }
}

int main(int argc, char** argv) { return run(argc, argv); }
