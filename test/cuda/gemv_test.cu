/// Matrix-vector products of every weight type, input and output form against the scalar reference.
#include "test/cuda/device_memory.h"
#include "test/kernels/op_testing.h"

using namespace pipo;
using namespace pipo::test;
using cuda::GemvArgs;
using cuda::Input;
using kernels::WeightType;

namespace {

struct Format {
  WeightType type;
  int group;
  const char* name;
};
const Format kFormats[] = {{WeightType::kF32, 0, "f32"},    {WeightType::kBf16, 0, "bf16"},
                           {WeightType::kInt8, 32, "int8-32"}, {WeightType::kInt8, 64, "int8-64"},
                           {WeightType::kInt4, 32, "int4-32"}, {WeightType::kInt4, 64, "int4-64"}};
/// A reordering of fp32 sums; activations that round the other way cost one step of 1 / 127.
constexpr double kTolerance = 2e-5, kRounding = 2e-3;

double tolerance(const Format& f) { return f.group == 0 ? kTolerance : kRounding; }

/// What the reference makes of `x` [m, k].
std::vector<float> expected(const DeviceWeights& w, const std::vector<float>& x, int m, const float* bias = nullptr,
                            const std::vector<float>& before = {}) {
  std::vector<float> y = before;
  y.resize(static_cast<std::size_t>(m) * w.host().n);
  const kernels::MatmulTerm term{&w.host(), bias, y.data(), w.host().n, !before.empty()};
  if (reference().matmul(x.data(), w.host().k, m, &term, 1) != Status::kOk) throw std::runtime_error("reference");
  return y;
}

}  // namespace

TEST("packed panels become rows with the same numbers") {
  for (const Format& f : kFormats) {
    for (const auto& [n, k] : {std::pair{1, 8}, {16, 64}, {35, 100}, {50, 640}}) {
      const DeviceWeights w(f.type, f.group, n, k, random_floats(std::int64_t{n} * k));
      const Device<float> identity(std::vector<float>(static_cast<std::size_t>(k), 0.0f));
      for (const int column : {0, k / 2, k - 1}) {
        std::vector<float> unit(static_cast<std::size_t>(k), 0.0f);
        unit[column] = 127.0f;  // exact also when rounded to int8
        const Device<float> x(unit), y(std::vector<float>(static_cast<std::size_t>(n)));
        GemvArgs args;
        args.terms[0] = {w.matrix(), nullptr, y.get(), false};
        args.n_terms = 1;
        args.x = x.get();
        finish(cuda::gemv(queue(), args));
        std::vector<float> column_values, row(static_cast<std::size_t>(k));
        for (int i = 0; i < n; ++i) {
          CHECK(kernels::unpack_row(w.host(), i, row.data()) == Status::kOk);
          column_values.push_back(row[column] * 127.0f);
        }
        check_close(y.read(), column_values, 1e-6, std::string(f.name) + " column " + std::to_string(column));
      }
    }
  }
}

TEST("products of several matrices share an input, add bias and residual") {
  for (const Format& f : kFormats) {
    for (const int k : {32, 96, 1000, 2560}) {
      const int n1 = 37, n2 = 5;
      const DeviceWeights a(f.type, f.group, n1, k, random_floats(std::int64_t{n1} * k));
      const DeviceWeights b(f.type, f.group, n2, k, random_floats(std::int64_t{n2} * k));
      const std::vector<float> x = random_floats(k), bias = random_floats(n1), before = random_floats(n2);
      const Device<float> dx(x), dbias(bias), y1(std::vector<float>(static_cast<std::size_t>(n1))), y2(before);
      GemvArgs args;
      args.terms[0] = {a.matrix(), dbias.get(), y1.get(), false};
      args.terms[1] = {b.matrix(), nullptr, y2.get(), true};
      args.n_terms = 2;
      args.x = dx.get();
      finish(cuda::gemv(queue(), args));
      const std::string what = std::string(f.name) + " k " + std::to_string(k);
      check_close(y1.read(), expected(a, x, 1, bias.data()), tolerance(f), what);
      check_close(y2.read(), expected(b, x, 1, nullptr, before), tolerance(f), what + ", added");
    }
  }
}

TEST("rows of fp32 share the launch of any other type") {
  for (const Format& f : kFormats) {
    for (const int n : {37, 700}) {
      const int k = 1000, n_first = 33, n_last = 2;
      const DeviceWeights main(f.type, f.group, n, k, random_floats(std::int64_t{n} * k));
      const DeviceWeights first(WeightType::kF32, 0, n_first, k, random_floats(std::int64_t{n_first} * k));
      const DeviceWeights last(WeightType::kF32, 0, n_last, k, random_floats(std::int64_t{n_last} * k));
      const std::vector<float> x = random_floats(k), bias = random_floats(n_first);
      const Device<float> dx(x), dbias(bias), y(static_cast<std::size_t>(n));
      const Device<float> y_first(static_cast<std::size_t>(n_first)), y_last(static_cast<std::size_t>(n_last));
      GemvArgs args;
      args.terms[0] = {first.matrix(), dbias.get(), y_first.get(), false};
      args.terms[1] = {main.matrix(), nullptr, y.get(), false};
      args.terms[2] = {last.matrix(), nullptr, y_last.get(), false};
      args.n_terms = 3;
      args.x = dx.get();
      finish(cuda::gemv(queue(), args));
      check_close(y.read(), expected(main, x, 1), tolerance(f), f.name);
      check_close(y_first.read(), expected(first, x, 1, bias.data()), kTolerance, f.name);
      check_close(y_last.read(), expected(last, x, 1), kTolerance, f.name);
    }
  }
}

TEST("many rows per warp give what few give") {
  for (const Format& f : kFormats) {
    const int n = 1009, k = 64;  // two multiprocessors in emulation: reaches the widest kernel
    const DeviceWeights w(f.type, f.group, n, k, random_floats(std::int64_t{n} * k));
    const std::vector<float> x = random_floats(k);
    const Device<float> dx(x), y(static_cast<std::size_t>(n));
    GemvArgs args;
    args.terms[0] = {w.matrix(), nullptr, y.get(), false};
    args.n_terms = 1;
    args.x = dx.get();
    for (const int multiprocessors : {1, 4, 64}) {
      cuda::Queue q = queue();
      q.multiprocessors = multiprocessors;
      finish(cuda::gemv(q, args));
      check_close(y.read(), expected(w, x, 1), tolerance(f), f.name);
    }
  }
}

TEST("inputs are normed on the way in") {
  const int k = 96, n = 21;
  const std::vector<float> x = random_floats(k), x2 = random_floats(k), norm = random_norm_weights(k),
                           norm2 = random_norm_weights(k);
  const Device<float> dx(x), dx2(x2), dnorm(norm), dnorm2(norm2);
  const auto normed = [](const float* v, const float* w, int count) {
    std::vector<float> out(static_cast<std::size_t>(count));
    CHECK(reference().rms_norm(v, w, 1e-6f, 1, count, out.data()) == Status::kOk);
    return out;
  };
  const auto join = [](std::vector<float> a, const std::vector<float>& b) {
    a.insert(a.end(), b.begin(), b.end());
    return a;
  };
  for (const Format& f : kFormats) {
    const auto check = [&](Input input, const std::vector<float>& prepared, int width, const char* what) {
      const DeviceWeights w(f.type, f.group, n, width, random_floats(std::int64_t{n} * width));
      const Device<float> y(static_cast<std::size_t>(n));
      GemvArgs args;
      args.terms[0] = {w.matrix(), nullptr, y.get(), false};
      args.n_terms = 1;
      args.input = input;
      args.x = dx.get();
      args.x2 = dx2.get();
      args.norm = dnorm.get();
      args.norm2 = dnorm2.get();
      args.head_dim = 32;
      finish(cuda::gemv(queue(), args));
      check_close(y.read(), expected(w, prepared, 1), tolerance(f), std::string(f.name) + what);
    };
    check(Input::kNorm, normed(x.data(), norm.data(), k), k, " norm");
    check(Input::kPairNorm, join(normed(x.data(), norm.data(), k / 2), normed(x2.data(), norm2.data(), k / 2)), k, " pair");
    const std::vector<float> side_by_side =
        join(std::vector<float>(x.begin(), x.begin() + k / 2), std::vector<float>(x2.begin(), x2.begin() + k / 2));
    check(Input::kJointNorm, normed(side_by_side.data(), norm.data(), k), k, " joint");
    std::vector<float> gated(static_cast<std::size_t>(k));
    for (int i = 0; i < k; ++i) {
      double sum = 0;
      for (int j = i / 32 * 32; j < i / 32 * 32 + 32; ++j) sum += static_cast<double>(x[j]) * x[j];
      gated[i] = static_cast<float>(norm[i % 32] * x[i] / std::sqrt(sum / 32 + 1e-6) * x2[i] / (1 + std::exp(-x2[i])));
    }
    check(Input::kGatedNorm, gated, k, " gated");
  }
}

TEST("gate and up are joined, outputs pass through SiLU, a word switches a launch off") {
  for (const Format& f : kFormats) {
    const int k = 160, n = 45;
    const DeviceWeights gate(f.type, f.group, n, k, random_floats(std::int64_t{n} * k));
    const DeviceWeights up(f.type, f.group, n, k, random_floats(std::int64_t{n} * k));
    const std::vector<float> x = random_floats(k, 0.3f);
    const Device<float> dx(x), y(static_cast<std::size_t>(n));
    const Device<int> enabled(std::vector<int>{0});
    GemvArgs args;
    args.terms[0] = {gate.matrix(), nullptr, y.get(), false};
    args.terms[1] = {up.matrix(), nullptr, nullptr, false};
    args.n_terms = 2;
    args.gate_up = true;
    args.x = dx.get();
    args.enabled = enabled.get();
    for (const bool ahead : {true, false}) {
      args.ahead = ahead;
      finish(cuda::gemv(queue(), args));
      CHECK(y.read() == std::vector<float>(static_cast<std::size_t>(n), 0.0f));
    }
    args.enabled = nullptr;
    finish(cuda::gemv(queue(), args));
    std::vector<float> product = expected(gate, x, 1);
    const std::vector<float> ups = expected(up, x, 1);
    CHECK(reference().silu_multiply(product.data(), ups.data(), n, product.data()) == Status::kOk);
    check_close(y.read(), product, tolerance(f), f.name);

    args.n_terms = 1;
    args.gate_up = false;
    args.silu_output = true;
    finish(cuda::gemv(queue(), args));
    std::vector<float> activated = expected(gate, x, 1);
    CHECK(reference().silu(n, activated.data()) == Status::kOk);
    check_close(y.read(), activated, tolerance(f), f.name);
  }
}

TEST("inputs that leave little shared memory are served by fewer warps, and such as do not fit are refused") {
  const int n = 70, k = 20000;
  for (const Format& f : kFormats) {
    const DeviceWeights w(f.type, f.group, n, k, random_floats(std::int64_t{n} * k));
    const std::vector<float> x = random_floats(k);
    const Device<float> dx(x), y(static_cast<std::size_t>(n));
    GemvArgs args;
    args.terms[0] = {w.matrix(), nullptr, y.get(), false};
    args.n_terms = 1;
    args.x = dx.get();
    cuda::Queue q = queue();
    finish(cuda::gemv(q, args));
    check_close(y.read(), expected(w, x, 1), tolerance(f), f.name);
    q.shared_bytes = 16 << 10;
    CHECK(cuda::gemv(q, args) != 0);
  }
}

TEST("several positions go through one launch") {
  const int k = 96, n = 19, m = 3;
  const DeviceWeights w(WeightType::kF32, 0, n, k, random_floats(std::int64_t{n} * k));
  const std::vector<float> x = random_floats(m * k);
  const Device<float> dx(x), y(static_cast<std::size_t>(m * n));
  GemvArgs args;
  args.terms[0] = {w.matrix(), nullptr, y.get(), false};
  args.n_terms = 1;
  args.x = dx.get();
  args.x_stride = k;
  args.y_stride = n;
  finish(cuda::gemv(queue(), args, m));
  check_close(y.read(), expected(w, x, m), kTolerance, "positions");
}

int main(int argc, char** argv) { return device_present() ? pipo::test::run(argc, argv) : kSkipped; }
