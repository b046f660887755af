/// The gated delta mixer, step by step and as a scan, against the scalar reference.
#include "test/cuda/device_memory.h"
#include "test/kernels/op_testing.h"

using namespace pipo;
using namespace pipo::test;

namespace {

/// Random weights and inputs of one layer, and its state on both sides.
struct Layer {
  kernels::DeltaNetShape shape;
  std::vector<float> taps, neg_exp_a_log, dt_bias, norm, recurrent, history;

  explicit Layer(const kernels::DeltaNetShape& s, float forgetting) : shape(s) {
    taps = random_floats(s.conv_kernel * s.channels(), 0.5f);
    for (int i = 0; i < s.n_value_heads; ++i) neg_exp_a_log.push_back(-forgetting * std::exp(random_floats(1, 0.5f)[0]));
    dt_bias = random_floats(s.n_value_heads, 0.5f);
    norm = random_floats(s.value_dim, 0.3f);
    recurrent.resize(static_cast<std::size_t>(s.n_value_heads * s.key_dim * s.value_dim));
    history.resize(static_cast<std::size_t>((s.conv_kernel - 1) * s.channels()));
  }
};

/// `in_chunks`: the error that tf32 may make in the outputs, where a head that forgets at once leaves almost nothing for
/// the norm to blow up; 0: position by position.
void check_rows(const kernels::DeltaNetShape& s, const std::vector<int>& runs, const std::string& what,
                float forgetting = 1.0f, double in_chunks = 0) {
  Layer layer(s, forgetting);
  const Device<float> taps(layer.taps), a_log(layer.neg_exp_a_log), dt(layer.dt_bias);
  const Device<float> ring(static_cast<std::size_t>(s.conv_kernel * s.channels())), state(layer.recurrent.size());
  int position = 0;
  for (const int rows : runs) {
    const std::vector<float> qkv = random_floats(std::int64_t{rows} * s.channels());
    const std::vector<float> z = random_floats(std::int64_t{rows} * s.value_width());
    const std::vector<float> a = random_floats(rows * s.n_value_heads), b = random_floats(rows * s.n_value_heads);
    std::vector<float> expected(static_cast<std::size_t>(rows * s.value_width())), spoiled = qkv;
    const kernels::DeltaNetWeights weights{layer.taps.data(), layer.neg_exp_a_log.data(), layer.dt_bias.data(),
                                           layer.norm.data()};
    CHECK(reference().delta_net(s, weights, spoiled.data(), z.data(), a.data(), b.data(), rows,
                                {layer.recurrent.data(), layer.history.data()}, expected.data()) == Status::kOk);

    const Device<float> dqkv(qkv), da(a), db(b), out(expected.size()), mixed(qkv.size()),
        gates(static_cast<std::size_t>(2 * rows * s.n_value_heads));
    const cuda::DeltaShape shape{s.n_key_heads, s.n_value_heads, s.key_dim, s.value_dim, s.conv_kernel};
    const Device<std::uint8_t> scratch(static_cast<std::size_t>(cuda::delta_scratch_bytes(shape, rows)));
    const Device<int> at(std::vector<int>{position});
    cuda::DeltaStepArgs args;
    args.shape = shape;
    args.qkv = dqkv.get();
    args.a = da.get();
    args.b = db.get();
    args.conv = taps.get();
    args.neg_exp_a_log = a_log.get();
    args.dt_bias = dt.get();
    args.ring = ring.get();
    args.state = state.get();
    args.out = out.get();
    args.position = at.get();
    args.rows = rows;
    args.mixed = mixed.get();
    args.gates = gates.get();
    args.exact = in_chunks == 0;
    args.scratch = scratch.get();
    args.scratch_bytes = cuda::delta_scratch_bytes(shape, rows);
    finish(cuda::delta_net_step(queue(), args));
    std::vector<float> found = out.read();  // before the gated norm, which belongs to the next product
    for (std::int64_t head = 0; head < std::int64_t{rows} * s.n_value_heads; ++head) {
      float* o = found.data() + head * s.value_dim;
      double sum = 0;
      for (int i = 0; i < s.value_dim; ++i) sum += static_cast<double>(o[i]) * o[i];
      for (int i = 0; i < s.value_dim; ++i) {
        const float gate = z[head * s.value_dim + i];
        o[i] = static_cast<float>(layer.norm[i] * o[i] / std::sqrt(sum / s.value_dim + s.eps) * gate / (1 + std::exp(-gate)));
      }
    }
    check_close(found, expected, in_chunks == 0 ? 1e-4 : in_chunks, what + " from position " + std::to_string(position));
    check_close(state.read(), layer.recurrent, in_chunks == 0 ? 1e-5 : 1e-3, what + ", state");
    position += rows;
  }
}

}  // namespace

TEST("single steps and runs of rows in any mix") {
  const kernels::DeltaNetShape shapes[] = {{2, 4, 16, 16, 4}, {4, 4, 16, 16, 4}, {2, 4, 32, 32, 4}, {1, 2, 64, 64, 4},
                                           {1, 2, 128, 128, 4}, {1, 1, 24, 20, 2}, {1, 3, 40, 36, 3}};
  for (const auto& shape : shapes) {
    const std::string what = std::to_string(shape.key_dim) + "x" + std::to_string(shape.value_dim);
    check_rows(shape, {1, 1, 1, 1, 1, 1}, what + " steps");
    check_rows(shape, {5, 1, 1, 3, 2, 1, 9, 1}, what + " mixed");
    check_rows(shape, {16, 33, 1, 70}, what + " tiles");
  }
}

TEST("heads that keep almost everything and heads that forget at once") {
  for (const float forgetting : {1e-4f, 0.05f, 8.0f, 300.0f}) {
    check_rows({1, 2, 64, 32, 4}, {150, 1, 40}, "forgetting " + std::to_string(forgetting), forgetting);
  }
}

TEST("runs in chunks, with ends in every place, between single steps") {
  for (const kernels::DeltaNetShape& shape : {kernels::DeltaNetShape{1, 2, 64, 64, 4}, {1, 1, 128, 128, 4}}) {
    for (const float forgetting : {1e-4f, 0.05f, 1.0f, 8.0f, 300.0f}) {
      const std::string what = "chunks, forgetting " + std::to_string(forgetting);
      check_rows(shape, {128, 1, 129, 191, 1, 150}, what, forgetting, 3e-3);
    }
  }
}

TEST("a long run in chunks stays near the recurrence") {
  check_rows({2, 4, 128, 128, 4}, {512}, "long", 0.1f, 1e-3);
  check_rows({2, 4, 128, 128, 4}, {512}, "long, keeping almost everything", 0.002f, 1e-3);
}

int main(int argc, char** argv) { return device_present() ? pipo::test::run(argc, argv) : kSkipped; }
