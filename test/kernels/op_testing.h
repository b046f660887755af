#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "kernels/backend.h"
#include "test/support/check.h"

/// What the tests of single operations share: random inputs, the backends under test, comparison.
namespace pipo::test {

using kernels::Backend;
using kernels::Status;

inline std::mt19937& generator() {
  static std::mt19937 engine(20240607);
  return engine;
}

inline std::vector<float> random_floats(std::int64_t count, float scale = 1.0f) {
  std::normal_distribution<float> normal(0.0f, scale);
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& value : values) value = normal(generator());
  return values;
}

/// Weights of a norm: around one, as models have them.
inline std::vector<float> random_norm_weights(std::int64_t count) {
  std::vector<float> values = random_floats(count, 0.3f);
  for (float& value : values) value += 1.0f;
  return values;
}

inline std::unique_ptr<Backend> backend_named(const std::string& name, int threads) {
  std::string reason;
  std::unique_ptr<Backend> backend = kernels::make_backend({name, threads}, &reason);
  if (backend == nullptr) throw std::runtime_error(reason);
  return backend;
}

inline Backend& reference() {
  static const std::unique_ptr<Backend> backend = backend_named("reference", 1);
  return *backend;
}

/// Every backend that runs here besides the reference, alone and with workers.
inline std::vector<std::unique_ptr<Backend>>& backends_under_test() {
  static std::vector<std::unique_ptr<Backend>> all = [] {
    std::vector<std::unique_ptr<Backend>> made;
    for (const std::string& name : kernels::available_backends()) {
      if (name == "reference") continue;
      for (const int threads : {1, 3}) made.push_back(backend_named(name, threads));
    }
    return made;
  }();
  return all;
}

inline std::string label(const Backend& backend) {
  return std::string(backend.name()) + " with " + std::to_string(backend.threads()) + " threads";
}

/// Largest |actual - expected| over the largest |expected|; infinite if a value is not finite.
template <class Actual, class Expected>
double relative_error(const std::vector<Actual>& actual, const std::vector<Expected>& expected) {
  if (actual.size() != expected.size()) return INFINITY;
  double worst = 0.0, largest = 1e-30;
  for (std::size_t i = 0; i < actual.size(); ++i) {
    if (!std::isfinite(static_cast<double>(actual[i]))) return INFINITY;
    worst = std::max(worst, std::fabs(static_cast<double>(actual[i]) - static_cast<double>(expected[i])));
    largest = std::max(largest, std::fabs(static_cast<double>(expected[i])));
  }
  return worst / largest;
}

template <class Actual, class Expected>
void check_close(const std::vector<Actual>& actual, const std::vector<Expected>& expected, double tolerance,
                 const std::string& what) {
  const double error = relative_error(actual, expected);
  CHECK_MESSAGE(error <= tolerance, what + ": relative error " + std::to_string(error * 1e6) + "e-6");
}

}  // namespace pipo::test
