/// Products of a few positions: every weight type and width of fragment, all edges, slices of k, against sums in double
/// over the same bf16 inputs and the exact weights.
#include "kernels/reference/scalar.h"
#include "test/cuda/device_memory.h"
#include "test/kernels/op_testing.h"

using namespace pipo;
using namespace pipo::test;
using kernels::WeightType;
using kernels::reference::from_bf16;
using kernels::reference::to_bf16;

namespace {

struct Format {
  WeightType type;
  int group;
};
const Format kFormats[] = {{WeightType::kBf16, 0}, {WeightType::kInt8, 32}, {WeightType::kInt8, 64},
                           {WeightType::kInt4, 32}, {WeightType::kInt4, 64}};

/// One product with everything it needs on the device.
struct Product {
  Product(const Format& f, int m_, int n_, int k)
      : m(m_), n(n_), weights(f.type, f.group, n, k, random_floats(std::int64_t{n} * k)), x(random_floats(m * k)),
        rows(static_cast<std::size_t>(m * weights.matrix().k_padded)), y(static_cast<std::size_t>(m * n)),
        y16(static_cast<std::size_t>(m * n)),
        name("type " + std::to_string(static_cast<int>(f.type)) + " by " + std::to_string(f.group) + ", " +
             std::to_string(m) + " x " + std::to_string(n) + " x " + std::to_string(k)) {
    const int padded = weights.matrix().k_padded;
    std::vector<std::uint16_t> rounded(static_cast<std::size_t>(m * padded));
    for (int i = 0; i < m * k; ++i) rounded[i / k * padded + i % k] = to_bf16(x[i]);
    rows.put(rounded);
  }
  cuda::GemmArgs args() const {
    cuda::GemmArgs a;
    a.x = rows.get();
    a.w = weights.matrix();
    a.y = y.get();
    a.y_stride = n;
    a.m = m;
    return a;
  }
  std::vector<double> expected() const { return expected(weights); }
  std::vector<double> expected(const DeviceWeights& w) const {
    const int k = w.host().k;
    std::vector<double> sums(static_cast<std::size_t>(m) * n);
    std::vector<float> row(static_cast<std::size_t>(k));
    for (int j = 0; j < n; ++j) {
      CHECK(kernels::unpack_row(w.host(), j, row.data()) == Status::kOk);
      for (int i = 0; i < m; ++i) {
        double sum = 0;
        for (int c = 0; c < k; ++c) sum += static_cast<double>(row[c]) * from_bf16(to_bf16(x[i * k + c]));
        sums[static_cast<std::size_t>(i) * n + j] = sum;
      }
    }
    return sums;
  }

  int m, n;
  DeviceWeights weights;
  std::vector<float> x;
  Device<std::uint16_t> rows;
  Device<float> y;
  Device<std::uint16_t> y16;
  std::string name;
};

struct Workspace {
  Device<std::uint8_t> bytes{cuda::kWorkspaceBytes};
  cuda::Queue queue(int multiprocessors, int shared = 99 << 10) const {
    cuda::Queue q = test::queue();
    q.multiprocessors = multiprocessors;
    q.workspace = bytes.get();
    q.shared_bytes = shared;
    return q;
  }
};

constexpr double kTolerance = 1e-5;  // of the largest output: a reordering of fp32 sums

}  // namespace

TEST("two to thirty-two positions, every weight type, odd numbers of rows") {
  for (const Format& f : kFormats) {
    for (const int m : {1, 2, 5, 8, 9, 16, 17, 32}) {
      for (const auto& [n, k] : {std::pair{1, 32}, {41, 200}}) {
        const Product c(f, m, n, k);
        finish(cuda::gemm(queue(), c.args()));
        check_close(c.y.read(), c.expected(), kTolerance, c.name);
      }
    }
  }
}

TEST("several tiles of rows per block, k cut into slices, the same again from the same workspace") {
  const Workspace workspace;
  for (const Format& f : kFormats) {
    for (const int m : {3, 12, 20}) {
      const Product c(f, m, 75, 1400);
      const std::vector<double> sums = c.expected();
      // One multiprocessor: all tiles in few blocks. Many: k is cut although it fits. Little shared memory: for many
      // positions it must be.
      for (const auto& [multiprocessors, shared] : {std::pair{1, 99 << 10}, {64, 99 << 10}, {2, 88 << 10}}) {
        for (int again = 0; again < 2; ++again) {
          c.y.put(std::vector<float>(sums.size(), -7.0f));
          finish(cuda::gemm(workspace.queue(multiprocessors, shared), c.args()));
          check_close(c.y.read(), sums, kTolerance, c.name);
        }
      }
    }
  }
}

TEST("bias, SiLU, residual and bf16 outputs, with and without slices") {
  const Workspace workspace;
  for (const Format& f : kFormats) {
    const int m = 6, n = 35;
    const Product c(f, m, n, 1100);
    const std::vector<float> bias = random_floats(n), before = random_floats(m * n);
    const Device<float> dbias(bias);
    const std::vector<double> sums = c.expected();
    for (const int multiprocessors : {1, 32}) {
      const cuda::Queue q = workspace.queue(multiprocessors);
      cuda::GemmArgs args = c.args();
      args.bias = dbias.get();
      args.silu_output = true;
      args.accumulate = true;
      args.y_bf16 = c.y16.get();
      c.y.put(before);
      finish(cuda::gemm(q, args));
      std::vector<double> wanted = sums;
      for (std::size_t i = 0; i < wanted.size(); ++i) {
        const double v = wanted[i] + bias[i % n];
        wanted[i] = before[i] + v / (1 + std::exp(-v));
      }
      check_close(c.y.read(), wanted, kTolerance, c.name + ", everything");
      const auto rounded = [&] {
        std::vector<float> values;
        for (const std::uint16_t v : c.y16.read()) values.push_back(from_bf16(v));
        return values;
      };
      check_close(rounded(), wanted, 5e-3, c.name + ", everything in bf16");
      args = c.args();
      args.y = nullptr;
      args.y_bf16 = c.y16.get();
      finish(cuda::gemm(q, args));
      check_close(rounded(), sums, 5e-3, c.name + ", bf16 alone");
    }
  }
}

TEST("gate and up make the next product's input, with zeros behind") {
  const Workspace workspace;
  for (const Format& f : kFormats) {
    for (const int m : {3, 12, 20, 50, 130}) {
      for (const int multiprocessors : {1, 32}) {
        const int n = 75, k = m > 32 ? 520 : 1100, width = 100;
        const Product gate(f, m, n, k);
        const DeviceWeights up(f.type, f.group, n, k, random_floats(std::int64_t{n} * k));
        const Device<std::uint16_t> y16(std::vector<std::uint16_t>(static_cast<std::size_t>(m * width), 0x4000));
        cuda::GemmArgs args = gate.args();
        args.up = up.matrix();
        args.y = nullptr;
        args.y_bf16 = y16.get();
        args.y_stride = width;
        args.y_bf16_columns = width - 4;
        finish(cuda::gemm(workspace.queue(multiprocessors), args));
        const std::vector<double> gates = gate.expected(), ups = gate.expected(up);
        const std::vector<std::uint16_t> all = y16.read();
        std::vector<double> wanted;
        std::vector<float> found;
        for (int i = 0; i < m * width; ++i) {
          const int row = i / width, column = i % width;
          found.push_back(from_bf16(all[i]));
          const double g = column < n ? gates[row * n + column] : 0;
          const double behind = column < width - 4 ? 0.0 : 2.0;
          wanted.push_back(column < n ? g / (1 + std::exp(-g)) * ups[row * n + column] : behind);
        }
        check_close(found, wanted, 6e-3, gate.name);
      }
    }
  }
}

TEST("rows and positions beyond the edge are left alone") {
  const int m = 5, n = 19, stride = 24;
  const Product c({WeightType::kInt4, 64}, m, n, 96);
  const Device<float> y(std::vector<float>(static_cast<std::size_t>(8 * stride), 3.0f));
  cuda::GemmArgs args = c.args();
  args.y = y.get();
  args.y_stride = stride;
  finish(cuda::gemm(queue(), args));
  const std::vector<float> found = y.read();
  for (int i = 0; i < 8 * stride; ++i) CHECK((i / stride < m && i % stride < n) != (found[i] == 3.0f));
}

int main(int argc, char** argv) { return device_present() ? pipo::test::run(argc, argv) : kSkipped; }
