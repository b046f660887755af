/// Products of many positions on the tensor cores against sums in double over the same bf16 inputs.
#include "kernels/reference/scalar.h"
#include "test/cuda/device_memory.h"
#include "test/kernels/op_testing.h"

using namespace pipo;
using namespace pipo::test;
using kernels::WeightType;
using kernels::reference::from_bf16;
using kernels::reference::to_bf16;

namespace {

/// Weights as the kernels multiply them: what the packed matrix holds; for many positions quantised ones are rounded to
/// bf16.
std::vector<double> expected(const DeviceWeights& w, const std::vector<float>& x, int m) {
  const bool exact = m <= cuda::kSkinnyMost;
  const int n = w.host().n, k = w.host().k;
  std::vector<double> y;
  std::vector<float> row(static_cast<std::size_t>(k));
  y.resize(static_cast<std::size_t>(m) * n);
  for (int j = 0; j < n; ++j) {
    if (kernels::unpack_row(w.host(), j, row.data()) != Status::kOk) throw std::runtime_error("row");
    for (int i = 0; i < m; ++i) {
      double sum = 0;
      for (int c = 0; c < k; ++c) {
        sum += static_cast<double>(exact ? row[c] : from_bf16(to_bf16(row[c]))) * from_bf16(to_bf16(x[i * k + c]));
      }
      y[static_cast<std::size_t>(i) * n + j] = sum;
    }
  }
  return y;
}

}  // namespace

TEST("every weight type, all edges of tiles, k in slices, bias, residual and bf16 output") {
  struct Size {
    int m, n, k, multiprocessors;
  };
  const Device<std::uint8_t> workspace(cuda::kWorkspaceBytes);
  for (const WeightType type : {WeightType::kBf16, WeightType::kInt8, WeightType::kInt4}) {
    for (const Size& s : {Size{1, 1, 32, 0}, {17, 40, 96, 0}, {33, 1, 32, 0}, {64, 130, 96, 0}, {128, 128, 64, 0},
                          {130, 141, 200, 0}, {200, 20, 40, 0}, {40, 141, 600, 8}, {70, 50, 900, 2},
                          {150, 70, 300, 64}}) {
      const int group = type == WeightType::kBf16 ? 0 : (s.k == 96 ? 64 : 32);
      const DeviceWeights w(type, group, s.n, s.k, random_floats(std::int64_t{s.n} * s.k));
      const std::vector<float> x = random_floats(s.m * s.k), bias = random_floats(s.n), before = random_floats(s.m * s.n);
      const Device<float> dx(x), dbias(bias), y(before);
      const Device<std::uint16_t> rows(static_cast<std::size_t>(s.m * w.matrix().k_padded)), y16(before.size());
      cuda::RowsInput input;
      input.x = dx.get();
      input.rows = s.m;
      input.k = s.k;
      input.k_padded = w.matrix().k_padded;
      input.to = rows.get();
      finish(cuda::prepare_rows(queue(), input));
      cuda::Queue q = queue();
      if (s.multiprocessors > 0) {  // enough of them, and k is cut
        q.multiprocessors = s.multiprocessors;
        q.workspace = workspace.get();
      }
      cuda::GemmArgs args;
      args.x = rows.get();
      args.w = w.matrix();
      args.y = y.get();
      args.y_bf16 = y16.get();
      args.y_stride = s.n;
      args.m = s.m;
      const std::vector<double> sums = expected(w, x, s.m);
      const std::string what = "type " + std::to_string(static_cast<int>(type)) + ", " + std::to_string(s.m) + " x " +
                               std::to_string(s.n) + " x " + std::to_string(s.k);
      finish(cuda::gemm(q, args));
      check_close(y.read(), sums, 1e-5, what);
      std::vector<float> rounded;
      for (const std::uint16_t v : y16.read()) rounded.push_back(from_bf16(v));
      check_close(rounded, sums, 5e-3, what + ", bf16");

      args.bias = dbias.get();
      args.accumulate = true;
      args.y_bf16 = nullptr;
      y.put(before);
      finish(cuda::gemm(q, args));
      std::vector<double> all = sums;
      for (std::size_t i = 0; i < all.size(); ++i) all[i] += bias[i % s.n] + before[i];
      check_close(y.read(), all, 1e-5, what + ", bias and residual");
    }
  }
}

int main(int argc, char** argv) { return device_present() ? pipo::test::run(argc, argv) : kSkipped; }
