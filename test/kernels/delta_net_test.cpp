#include "test/kernels/op_testing.h"

using namespace pipo::test;
using pipo::kernels::DeltaNetShape;
using pipo::kernels::DeltaNetState;
using pipo::kernels::DeltaNetWeights;

namespace {

/// The inputs of one layer for some rows, and its weights.
struct Layer {
  Layer(const DeltaNetShape& shape, int rows, float gate_shift = 0.0f) : shape(shape), rows(rows) {
    conv = random_floats(static_cast<std::int64_t>(shape.conv_kernel) * shape.channels(), 0.5f);
    dt_bias = random_floats(shape.n_value_heads);
    norm = random_floats(shape.value_dim);
    std::uniform_real_distribution<float> log_rate(-4.0f, 2.5f);
    for (int n = 0; n < shape.n_value_heads; ++n) neg_exp_a_log.push_back(-std::exp(log_rate(generator())));
    qkv = random_floats(static_cast<std::int64_t>(rows) * shape.channels());
    z = random_floats(static_cast<std::int64_t>(rows) * shape.value_width());
    a = random_floats(static_cast<std::int64_t>(rows) * shape.n_value_heads, 2.0f);
    for (float& value : a) value += gate_shift;
    b = random_floats(static_cast<std::int64_t>(rows) * shape.n_value_heads, 2.0f);
  }
  DeltaNetWeights weights() const { return {conv.data(), neg_exp_a_log.data(), dt_bias.data(), norm.data()}; }

  DeltaNetShape shape;
  int rows;
  std::vector<float> conv, neg_exp_a_log, dt_bias, norm, qkv, z, a, b;
};

struct State {
  explicit State(const DeltaNetShape& shape, float scale = 0.0f)
      : recurrent(
            random_floats(static_cast<std::int64_t>(shape.n_value_heads) * shape.key_dim * shape.value_dim, scale)),
        conv(random_floats(static_cast<std::int64_t>(shape.conv_kernel - 1) * shape.channels(), scale)) {}
  std::vector<float> recurrent, conv;
};

/// Runs rows [first, first + count) and returns their output.
std::vector<float> mix(Backend& backend, const Layer& layer, int first, int count, State& state) {
  const DeltaNetShape& shape = layer.shape;
  std::vector<float> qkv(layer.qkv.begin() + static_cast<std::int64_t>(first) * shape.channels(),
                         layer.qkv.begin() + static_cast<std::int64_t>(first + count) * shape.channels());
  std::vector<float> out(static_cast<std::size_t>(count) * shape.value_width());
  const DeltaNetState view{state.recurrent.data(), state.conv.data()};
  CHECK(backend.delta_net(shape, layer.weights(), qkv.data(),
                          layer.z.data() + static_cast<std::int64_t>(first) * shape.value_width(),
                          layer.a.data() + static_cast<std::int64_t>(first) * shape.n_value_heads,
                          layer.b.data() + static_cast<std::int64_t>(first) * shape.n_value_heads, count, view,
                          out.data()) == Status::kOk);
  return out;
}

std::string describe(const DeltaNetShape& shape, int rows) {
  return std::to_string(shape.n_key_heads) + "/" + std::to_string(shape.n_value_heads) + " heads of " +
         std::to_string(shape.key_dim) + " x " + std::to_string(shape.value_dim) + ", " + std::to_string(rows) +
         " rows";
}

void check_same(const Layer& layer, const State& start, double tolerance) {
  State expected_state = start;
  const std::vector<float> expected = mix(reference(), layer, 0, layer.rows, expected_state);
  for (const auto& backend : backends_under_test()) {
    const std::string what = label(*backend) + ", " + describe(layer.shape, layer.rows);
    State state = start;
    check_close(mix(*backend, layer, 0, layer.rows, state), expected, tolerance, what + ": output");
    check_close(state.recurrent, expected_state.recurrent, tolerance, what + ": recurrent state");
    check_close(state.conv, expected_state.conv, 0.0, what + ": conv state");
  }
}

const DeltaNetShape kShapes[] = {
    {1, 1, 8, 8, 4, 1e-6f},   {2, 4, 16, 16, 4, 1e-6f},   {3, 3, 24, 40, 4, 1e-6f},   {2, 6, 32, 32, 3, 1e-6f},
    {4, 4, 64, 64, 4, 1e-6f}, {2, 4, 128, 128, 4, 1e-6f}, {1, 1, 256, 128, 1, 1e-6f}, {1, 2, 64, 256, 2, 1e-6f},
};

}  // namespace

TEST("delta_net of the reference is the product of transition matrices in double precision") {
  const DeltaNetShape shape{2, 4, 8, 6, 4, 1e-6f};
  const int rows = 7, dk = 8, dv = 6;
  const Layer layer(shape, rows);
  State state(shape, 0.7f);
  const State start = state;
  const std::vector<float> out = mix(reference(), layer, 0, rows, state);

  // Inputs with the state's three in front, so that the convolution needs no case for the beginning.
  std::vector<float> inputs = start.conv;
  inputs.insert(inputs.end(), layer.qkv.begin(), layer.qkv.end());
  const int channels = shape.channels();
  const auto convolved = [&](int row, int channel) {
    double sum = 0.0;
    for (int t = 0; t < 4; ++t)
      sum += static_cast<double>(layer.conv[t * channels + channel]) * inputs[(row + t) * channels + channel];
    return sum / (1.0 + std::exp(-sum));
  };
  std::vector<double> expected(rows * shape.value_width()), expected_state;
  for (int n = 0; n < 4; ++n) {
    std::vector<double> s(dk * dv);
    for (int i = 0; i < dk * dv; ++i) s[i] = start.recurrent[n * dk * dv + i];
    for (int r = 0; r < rows; ++r) {
      std::vector<double> q(dk), k(dk);
      double qq = 1e-6, kk = 1e-6;
      for (int i = 0; i < dk; ++i) {
        q[i] = convolved(r, n / 2 * dk + i);
        k[i] = convolved(r, shape.key_width() + n / 2 * dk + i);
        qq += q[i] * q[i];
        kk += k[i] * k[i];
      }
      for (int i = 0; i < dk; ++i) q[i] /= std::sqrt(qq) * std::sqrt(8.0), k[i] /= std::sqrt(kk);
      const double beta = 1.0 / (1.0 + std::exp(-static_cast<double>(layer.b[r * 4 + n])));
      const double softplus = std::log(1.0 + std::exp(static_cast<double>(layer.a[r * 4 + n]) + layer.dt_bias[n]));
      const double decay = std::exp(layer.neg_exp_a_log[n] * softplus);
      // S <- decay (I - beta k k^T) S + beta k v^T
      std::vector<double> next(dk * dv), o(dv, 0.0);
      double squares = 0.0;
      for (int j = 0; j < dv; ++j) {
        const double v = convolved(r, 2 * shape.key_width() + n * dv + j);
        for (int i = 0; i < dk; ++i) {
          double sum = beta * k[i] * v;
          for (int m = 0; m < dk; ++m) sum += decay * ((i == m ? 1.0 : 0.0) - beta * k[i] * k[m]) * s[m * dv + j];
          next[i * dv + j] = sum;
          o[j] += q[i] * sum;
        }
        squares += o[j] * o[j];
      }
      s = next;
      for (int j = 0; j < dv; ++j) {
        const int at = r * shape.value_width() + n * dv + j;
        expected[at] =
            layer.norm[j] * o[j] / std::sqrt(squares / dv + 1e-6) * layer.z[at] / (1.0 + std::exp(-layer.z[at]));
      }
    }
    expected_state.insert(expected_state.end(), s.begin(), s.end());
  }
  check_close(out, expected, 5e-6, "output");
  check_close(state.recurrent, expected_state, 5e-6, "recurrent state");
  check_close(state.conv, std::vector<float>(inputs.end() - 3 * channels, inputs.end()), 0.0, "conv state");
}

TEST("delta_net of every backend is the reference's, from an empty and from a carried-in state") {
  for (const DeltaNetShape& shape : kShapes) {
    for (const int rows : {1, 2, 3, 7, 31, 32, 33, 64, 130}) {
      const Layer layer(shape, rows);
      check_same(layer, State(shape), 1e-5);
      check_same(layer, State(shape, 0.5f), 1e-5);
    }
  }
}

TEST("heads that forget at once and heads that never forget stay exact") {
  const DeltaNetShape shape{4, 8, 32, 32, 4, 1e-6f};
  for (const float shift : {-15.0f, 15.0f, 60.0f}) check_same(Layer(shape, 100, shift), State(shape, 0.5f), 1e-5);
  Layer mixed(shape, 100);
  for (std::size_t i = 0; i < mixed.a.size(); i += 5) mixed.a[i] = 80.0f;
  check_same(mixed, State(shape, 0.5f), 1e-5);
}

TEST("any division of the rows into calls gives the same output and state") {
  const DeltaNetShape shape{2, 4, 32, 32, 4, 1e-6f};
  const int rows = 97;
  const Layer layer(shape, rows);
  const State start(shape, 0.3f);
  for (const auto& backend : backends_under_test()) {
    State whole_state = start;
    const std::vector<float> whole = mix(*backend, layer, 0, rows, whole_state);
    for (const std::vector<int>& sizes : {std::vector<int>{1}, {2}, {3}, {5, 1}, {32, 1, 1}, {64, 33}, {1, 96}}) {
      State state = start;
      std::vector<float> parts;
      for (int first = 0, i = 0; first < rows; ++i) {
        const int count = std::min(sizes[i % sizes.size()], rows - first);
        const std::vector<float> part = mix(*backend, layer, first, count, state);
        parts.insert(parts.end(), part.begin(), part.end());
        first += count;
      }
      const std::string what = label(*backend) + ", parts of " + std::to_string(sizes[0]);
      check_close(parts, whole, 1e-5, what);
      check_close(state.recurrent, whole_state.recurrent, 1e-5, what + ": recurrent state");
      check_close(state.conv, whole_state.conv, 0.0, what + ": conv state");
    }
  }
}

TEST("shapes that do not fit are refused and no rows change nothing") {
  const DeltaNetShape good{2, 4, 16, 16, 4, 1e-6f};
  const Layer layer(good, 1);
  for (const std::string& name : pipo::kernels::available_backends()) {
    const std::unique_ptr<Backend> backend = backend_named(name, 2);
    State state(good, 1.0f);
    const State before = state;
    mix(*backend, layer, 0, 0, state);
    CHECK(state.recurrent == before.recurrent && state.conv == before.conv);
    const DeltaNetShape bad[] = {
        {2, 3, 16, 16, 4, 1e-6f}, {0, 0, 16, 16, 4, 1e-6f}, {2, 4, 0, 16, 4, 1e-6f}, {2, 4, 16, 16, 0, 1e-6f}};
    for (const DeltaNetShape& shape : bad) {
      CHECK(backend->delta_net(shape, layer.weights(), nullptr, nullptr, nullptr, nullptr, 1, {}, nullptr) ==
            Status::kBadShape);
    }
  }
}

int main(int argc, char** argv) { return run(argc, argv); }
