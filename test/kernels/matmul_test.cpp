#include <cmath>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "kernels/backend.h"
#include "kernels/packed_matrix.h"
#include "test/support/aligned.h"
#include "test/support/check.h"
#include "test/support/random.h"

/// Matrix products of every backend against sums in double precision over the very weights and the very rounded inputs
/// that the contract of Ops::matmul names, so that only the order of fp32 sums is left as a difference.
namespace pipo::kernels {
namespace {

using test::AlignedBytes;
using test::Random;

struct Format {
  WeightType type;
  int group;
  const char* name;
};

constexpr Format kFormats[] = {
    {WeightType::kF32, 0, "f32"},        {WeightType::kBf16, 0, "bf16"},      {WeightType::kInt8, 32, "int8 g32"},
    {WeightType::kInt8, 64, "int8 g64"}, {WeightType::kInt4, 32, "int4 g32"}, {WeightType::kInt4, 64, "int4 g64"},
    {WeightType::kQ8, 32, "Q8"},         {WeightType::kQ5, 32, "Q5"},         {WeightType::kQ4, 32, "Q4"}};

bool is_quantised(WeightType type) { return type != WeightType::kF32 && type != WeightType::kBf16; }

struct Matrix {
  AlignedBytes bytes;
  PackedMatrix packed;
  std::vector<std::vector<float>> rows;  ///< as unpack_row gives them
};

Matrix pack_matrix(Format format, int n, int k, const std::vector<float>& values) {
  Matrix matrix;
  matrix.bytes = AlignedBytes(packed_bytes(format.type, format.group, n, k));
  CHECK(pack_rows(format.type, format.group, n, k, 0, n, values.data(), matrix.bytes.data()) == Status::kOk);
  matrix.packed = {matrix.bytes.data(), format.type, static_cast<std::uint16_t>(format.group), n, k};
  matrix.rows.assign(n, std::vector<float>(k));
  for (int i = 0; i < n; ++i) CHECK(unpack_row(matrix.packed, i, matrix.rows[i].data()) == Status::kOk);
  return matrix;
}

Matrix random_matrix(Format format, int n, int k, Random& random) {
  return pack_matrix(format, n, k, random.normal(static_cast<std::size_t>(n) * k, 0.1f));
}

/// x [k] in blocks of 32 as whole multiples of max|x| / 127.
std::vector<double> round_to_int8(const float* x, int k) {
  std::vector<double> out(k);
  for (int begin = 0; begin < k; begin += 32) {
    const int end = std::min(k, begin + 32);
    float largest = 0.0f;
    for (int i = begin; i < end; ++i) largest = std::max(largest, std::fabs(x[i]));
    if (largest < 1e-35f) continue;
    const float scale = largest / 127.0f, inverse = 127.0f / largest;
    for (int i = begin; i < end; ++i) out[i] = static_cast<double>(scale) * std::nearbyint(x[i] * inverse);
  }
  return out;
}

std::vector<double> input_as_seen(WeightType type, const float* x, int k) {
  if (is_quantised(type)) return round_to_int8(x, k);
  return std::vector<double>(x, x + k);
}

/// bf16 weights may meet inputs that were rounded to bf16: half a unit in the 8th bit. Everything else differs by fp32
/// sums only, whose error grows with the sum of magnitudes.
double tolerance(WeightType type, double magnitude) {
  return magnitude * (type == WeightType::kBf16 ? 1.0 / 256.0 : 4e-6) + 1e-6;
}

struct Call {
  int m, k;
  std::vector<int> widths;
  bool bias = false, accumulate = false;
  int x_padding = 0, y_padding = 0;
};

std::string describe(const char* backend, Format format, const Call& call) {
  std::string text = std::string(backend) + " " + format.name + " m=" + std::to_string(call.m) +
                     " k=" + std::to_string(call.k) + " n=";
  for (const int n : call.widths) text += std::to_string(n) + " ";
  return text;
}

constexpr float kUntouched = -12345.0f;

struct Term {
  Matrix matrix;
  std::vector<float> bias, before, y;
  std::int64_t y_stride;
};

/// Largest error of one term in units of its tolerance; also checks that nothing beside the output was written.
double worst_error(const Term& term, const Call& call, const std::vector<float>& x, std::int64_t x_stride) {
  const PackedMatrix& w = term.matrix.packed;
  double worst = 0.0;
  for (int i = 0; i < call.m; ++i) {
    const std::vector<double> input = input_as_seen(w.type, x.data() + i * x_stride, w.k);
    for (int n = 0; n < w.n; ++n) {
      double sum = 0.0, magnitude = 0.0;
      for (int j = 0; j < w.k; ++j) {
        sum += input[j] * term.matrix.rows[n][j];
        magnitude += std::fabs(input[j] * term.matrix.rows[n][j]);
      }
      const std::size_t at = i * term.y_stride + n;
      if (call.bias) sum += term.bias[n];
      if (call.accumulate) sum += term.before[at];
      const double error = std::fabs(sum - term.y[at]) / tolerance(w.type, magnitude + std::fabs(sum));
      worst = error <= worst ? worst : error;  // keeps NaN
    }
    for (std::int64_t n = w.n; n < term.y_stride; ++n) CHECK(term.y[i * term.y_stride + n] == kUntouched);
  }
  return worst;
}

void check_call(Backend& backend, Format format, const Call& call) {
  Random random(call.m * 1000 + call.k);
  const std::int64_t x_stride = call.k + call.x_padding;
  const std::vector<float> x = random.normal(call.m * x_stride, 1.0f);
  std::vector<Term> terms;
  for (const int n : call.widths) {
    Term term;
    term.matrix = random_matrix(format, n, call.k, random);
    term.bias = random.normal(n, 1.0f);
    term.y_stride = n + call.y_padding;
    term.before = random.normal(call.m * term.y_stride, 1.0f);
    for (int i = 0; i < call.m; ++i) {
      for (std::int64_t j = n; j < term.y_stride; ++j) term.before[i * term.y_stride + j] = kUntouched;
    }
    term.y = term.before;
    terms.push_back(std::move(term));
  }
  std::vector<MatmulTerm> arguments;
  for (Term& term : terms) {
    arguments.push_back(
        {&term.matrix.packed, call.bias ? term.bias.data() : nullptr, term.y.data(), term.y_stride, call.accumulate});
  }
  const Status status =
      backend.matmul(x.data(), x_stride, call.m, arguments.data(), static_cast<int>(arguments.size()));
  CHECK_MESSAGE(status == Status::kOk, describe(backend.name(), format, call));
  for (const Term& term : terms) {
    const double worst = worst_error(term, call, x, x_stride);
    CHECK_MESSAGE(worst <= 1.0, describe(backend.name(), format, call) + " error / tolerance " + std::to_string(worst));
  }
}

template <class Body>
void for_each_backend(const Body& body) {
  for (const std::string& name : available_backends()) {
    for (const int threads : {1, 3}) {
      if (threads > 1 && name == "reference") continue;
      std::string reason;
      const std::unique_ptr<Backend> backend = make_backend({name, threads}, &reason);
      CHECK_MESSAGE(backend != nullptr, name + ": " + reason);
      if (backend != nullptr) body(*backend);
    }
  }
}

TEST("every number of rows, for one and several threads") {
  for_each_backend([](Backend& backend) {
    for (const Format format : kFormats) {
      for (const int m : {1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 15, 16, 17, 33, 64, 130}) {
        check_call(backend, format, {.m = m, .k = 192, .widths = {80}});
      }
    }
  });
}

TEST("outputs and inputs that fill no panel, block or vector") {
  for_each_backend([](Backend& backend) {
    for (const Format format : kFormats) {
      for (const int n : {1, 5, 15, 16, 17, 31, 33, 100}) {
        for (const int k : {1, 3, 31, 32, 33, 64, 65, 100, 128, 130, 250}) {
          for (const int m : {1, 5, 14}) check_call(backend, format, {.m = m, .k = k, .widths = {n}});
        }
      }
    }
  });
}

TEST("bias, accumulation, row strides and terms of different width share one input") {
  for_each_backend([](Backend& backend) {
    for (const Format format : kFormats) {
      for (const int m : {1, 2, 8, 21}) {
        for (const bool bias : {false, true}) {
          for (const bool accumulate : {false, true}) {
            check_call(backend, format,
                       {.m = m,
                        .k = 160,
                        .widths = {48, 7, 129},
                        .bias = bias,
                        .accumulate = accumulate,
                        .x_padding = 3,
                        .y_padding = 5});
          }
        }
      }
    }
  });
}

TEST("a matrix of many chunks") {
  for_each_backend([](Backend& backend) {
    for (const Format format : kFormats) {
      for (const int m : {1, 2, 40}) check_call(backend, format, {.m = m, .k = 512, .widths = {1000, 513}});
    }
  });
}

TEST("terms of different types in one call") {
  for_each_backend([](Backend& backend) {
    Random random(7);
    constexpr int kInputs = 96, kOutputs = 40, kRows = 3;
    const std::vector<float> x = random.normal(kRows * kInputs, 1.0f);
    std::vector<Term> terms;
    for (const Format format : kFormats) {
      terms.push_back({random_matrix(format, kOutputs, kInputs, random),
                       {},
                       {},
                       std::vector<float>(kRows * kOutputs, kUntouched),
                       kOutputs});
    }
    std::vector<MatmulTerm> arguments;
    for (Term& term : terms) arguments.push_back({&term.matrix.packed, nullptr, term.y.data(), term.y_stride, false});
    CHECK(backend.matmul(x.data(), kInputs, kRows, arguments.data(), static_cast<int>(arguments.size())) ==
          Status::kOk);
    for (const Term& term : terms) {
      CHECK(worst_error(term, {.m = kRows, .k = kInputs, .widths = {kOutputs}}, x, kInputs) <= 1.0);
    }
  });
}

TEST("extreme inputs: zero blocks, one large value, tiny values") {
  for_each_backend([](Backend& backend) {
    for (const Format format : kFormats) {
      Random random(11);
      constexpr int kInputs = 128, kOutputs = 33;
      std::vector<float> x(kInputs, 0.0f);
      x[40] = 1e4f;
      x[41] = 1e-4f;
      for (int i = 64; i < 96; ++i) x[i] = 1e-38f;
      Term term{random_matrix(format, kOutputs, kInputs, random), {}, {}, std::vector<float>(kOutputs), kOutputs};
      const MatmulTerm argument{&term.matrix.packed, nullptr, term.y.data(), kOutputs, false};
      CHECK(backend.matmul(x.data(), kInputs, 1, &argument, 1) == Status::kOk);
      CHECK_MESSAGE(worst_error(term, {.m = 1, .k = kInputs, .widths = {kOutputs}}, x, kInputs) <= 1.0, format.name);
    }
  });
}

/// With the largest products everywhere, narrow accumulators would overflow.
TEST("largest weights and inputs do not overflow") {
  for_each_backend([](Backend& backend) {
    for (const Format format : kFormats) {
      for (const float sign : {-1.0f, 1.0f}) {
        constexpr int kInputs = 256, kOutputs = 16;
        const std::vector<float> values(kInputs * kOutputs, sign * 0.5f), x(kInputs, -2.0f);
        AlignedBytes bytes(packed_bytes(format.type, format.group, kOutputs, kInputs));
        CHECK(pack_rows(format.type, format.group, kOutputs, kInputs, 0, kOutputs, values.data(), bytes.data()) ==
              Status::kOk);
        const PackedMatrix w{bytes.data(), format.type, static_cast<std::uint16_t>(format.group), kOutputs, kInputs};
        std::vector<float> y(kOutputs);
        const MatmulTerm argument{&w, nullptr, y.data(), kOutputs, false};
        CHECK(backend.matmul(x.data(), kInputs, 1, &argument, 1) == Status::kOk);
        for (const float value : y) CHECK_MESSAGE(std::fabs(value + sign * 256.0f) < 0.6f, format.name);
      }
    }
  });
}

/// Q5 and Q4 have their largest numbers where all weights but one are the group's largest.
TEST("the largest numbers of every block do not overflow") {
  for_each_backend([](Backend& backend) {
    for (const Format format : kFormats) {
      for (const int m : {1, 7, 40}) {
        constexpr int kInputs = 256, kOutputs = 48;
        std::vector<float> values(kInputs * kOutputs, 0.5f);
        for (int i = 0; i < kInputs * kOutputs; i += 32) values[i] = -0.5f;
        Term term;
        term.matrix = pack_matrix(format, kOutputs, kInputs, values);
        term.y.resize(static_cast<std::size_t>(m) * kOutputs);
        term.y_stride = kOutputs;
        for (const float sign : {-1.0f, 1.0f}) {
          const std::vector<float> x(static_cast<std::size_t>(m) * kInputs, sign * 2.0f);
          const MatmulTerm argument{&term.matrix.packed, nullptr, term.y.data(), kOutputs, false};
          CHECK(backend.matmul(x.data(), kInputs, m, &argument, 1) == Status::kOk);
          const Call call{.m = m, .k = kInputs, .widths = {kOutputs}};
          CHECK_MESSAGE(worst_error(term, call, x, kInputs) <= 1.0, describe(backend.name(), format, call));
        }
      }
    }
  });
}

TEST("an input that is not finite makes its row NaN and no other") {
  for_each_backend([](Backend& backend) {
    for (const Format format : kFormats) {
      if (!is_quantised(format.type)) continue;
      Random random(13);
      constexpr int kInputs = 96, kOutputs = 20, kRows = 20;
      const Matrix matrix = random_matrix(format, kOutputs, kInputs, random);
      std::vector<float> x = random.normal(kRows * kInputs, 1.0f);
      x[3 * kInputs + 40] = INFINITY;
      x[11 * kInputs] = -INFINITY;
      x[12 * kInputs + 95] = NAN;
      x[15 * kInputs + 1] = 3e38f;
      std::vector<float> y(kRows * kOutputs);
      const MatmulTerm argument{&matrix.packed, nullptr, y.data(), kOutputs, false};
      CHECK(backend.matmul(x.data(), kInputs, kRows, &argument, 1) == Status::kOk);
      for (int i = 0; i < kRows * kOutputs; ++i) {
        const int row = i / kOutputs;
        if (row == 15) continue;  // may overflow
        CHECK_MESSAGE(std::isnan(y[i]) == (row == 3 || row == 11 || row == 12), format.name);
      }
    }
  });
}

/// What a prefix cache relies on: quantised weights give each row the same bits, alone or among others.
TEST("a row's result does not depend on the rows beside it") {
  for_each_backend([](Backend& backend) {
    for (const Format format : kFormats) {
      if (!is_quantised(format.type)) continue;
      Random random(3);
      constexpr int kInputs = 320, kOutputs = 96, kRows = 40;
      const Matrix matrix = random_matrix(format, kOutputs, kInputs, random);
      const std::vector<float> x = random.normal(kRows * kInputs, 1.0f);
      std::vector<float> together(kRows * kOutputs), alone(kOutputs);
      const MatmulTerm all{&matrix.packed, nullptr, together.data(), kOutputs, false};
      CHECK(backend.matmul(x.data(), kInputs, kRows, &all, 1) == Status::kOk);
      for (int i = 0; i < kRows; ++i) {
        const MatmulTerm one{&matrix.packed, nullptr, alone.data(), kOutputs, false};
        CHECK(backend.matmul(x.data() + i * kInputs, kInputs, 1, &one, 1) == Status::kOk);
        CHECK(std::memcmp(alone.data(), together.data() + i * kOutputs, kOutputs * sizeof(float)) == 0);
      }
    }
  });
}

TEST("embed gives the rows as unpack_row does") {
  for_each_backend([](Backend& backend) {
    for (const Format format : kFormats) {
      Random random(5);
      constexpr int kInputs = 100, kTokens = 300;
      const Matrix table = random_matrix(format, kTokens, kInputs, random);
      std::vector<std::int32_t> ids;
      for (int i = 0; i < 500; ++i) ids.push_back((i * 37) % kTokens);
      std::vector<float> out(ids.size() * kInputs);
      CHECK(backend.embed(table.packed, ids.data(), static_cast<int>(ids.size()), out.data()) == Status::kOk);
      for (std::size_t i = 0; i < ids.size(); ++i) {
        CHECK(std::memcmp(out.data() + i * kInputs, table.rows[ids[i]].data(), kInputs * sizeof(float)) == 0);
      }
      const std::int32_t beyond[] = {0, kTokens};
      CHECK(backend.embed(table.packed, beyond, 2, out.data()) == Status::kBadShape);
    }
  });
}

TEST("bad arguments are refused") {
  for_each_backend([](Backend& backend) {
    Random random(1);
    const Matrix matrix = random_matrix(kFormats[2], 20, 64, random);
    const Matrix other = random_matrix(kFormats[2], 20, 32, random);
    std::vector<float> x(256), y(256);
    const MatmulTerm good{&matrix.packed, nullptr, y.data(), 20, false};
    CHECK(backend.matmul(x.data(), 64, 0, &good, 1) == Status::kOk);
    CHECK(backend.matmul(x.data(), 64, -1, &good, 1) == Status::kBadShape);
    CHECK(backend.matmul(x.data(), 63, 2, &good, 1) == Status::kBadShape);
    const MatmulTerm narrow{&matrix.packed, nullptr, y.data(), 19, false};
    CHECK(backend.matmul(x.data(), 64, 2, &narrow, 1) == Status::kBadShape);
    const MatmulTerm mixed[] = {good, {&other.packed, nullptr, y.data(), 20, false}};
    CHECK(backend.matmul(x.data(), 64, 1, mixed, 2) == Status::kBadShape);
    PackedMatrix odd_group = matrix.packed;
    odd_group.group = 48;
    const MatmulTerm bad{&odd_group, nullptr, y.data(), 20, false};
    CHECK(backend.matmul(x.data(), 64, 1, &bad, 1) == Status::kBadShape);
  });
}

}  // namespace
}  // namespace pipo::kernels

int main(int argc, char** argv) { return pipo::test::run(argc, argv); }
