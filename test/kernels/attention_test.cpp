#include <bit>

#include "test/kernels/op_testing.h"

using namespace pipo::test;
using pipo::kernels::AttentionShape;
using pipo::kernels::KvCache;
using pipo::kernels::KvType;

namespace {

float widened(std::uint16_t x) { return std::bit_cast<float>(static_cast<std::uint32_t>(x) << 16); }

/// A cache that owns its memory.
struct Cache {
  Cache(const AttentionShape& shape, KvType type, int capacity)
      : type(type), capacity(capacity), count(static_cast<std::size_t>(capacity) * shape.n_kv_heads * shape.head_dim) {
    keys.resize(count * bytes());
    values.resize(count * bytes());
  }
  std::size_t bytes() const { return type == KvType::kF32 ? 4 : 2; }
  KvCache view() { return {keys.data(), values.data(), type, capacity}; }
  std::vector<float> read(const std::vector<std::uint8_t>& bytes_of) const {
    std::vector<float> out(count);
    for (std::size_t i = 0; i < count; ++i) {
      out[i] = type == KvType::kF32 ? reinterpret_cast<const float*>(bytes_of.data())[i]
                                    : widened(reinterpret_cast<const std::uint16_t*>(bytes_of.data())[i]);
    }
    return out;
  }

  KvType type;
  int capacity;
  std::size_t count;
  std::vector<std::uint8_t> keys, values;
};

/// The inputs of one layer for some rows, and its weights.
struct Layer {
  explicit Layer(const AttentionShape& shape, int rows) : shape(shape), rows(rows) {
    const std::int64_t dim = shape.head_dim;
    q = random_floats(rows * shape.n_heads * query_width(), 2.0f);
    k = random_floats(rows * shape.n_kv_heads * dim, 2.0f);
    v = random_floats(rows * shape.n_kv_heads * dim);
    q_norm = random_norm_weights(dim);
    k_norm = random_norm_weights(dim);
    for (int i = 0; i < shape.rotary_dim / 2; ++i) {
      inv_freq.push_back(static_cast<float>(std::pow(1e7, -2.0 * i / shape.rotary_dim)));
    }
  }

  /// Floats that one head of the query input has.
  std::int64_t query_width() const { return shape.head_dim * (shape.output_gate ? 2 : 1); }

  AttentionShape shape;
  int rows;
  std::vector<float> q, k, v, inv_freq;
  std::vector<float> q_norm, k_norm;  ///< empty: no norm
};

const float* data_or_null(const std::vector<float>& values) { return values.empty() ? nullptr : values.data(); }

struct Prepared {
  std::vector<float> q, gate;  ///< gate empty: none
};

/// Rows [first, first + count) of the layer at positions offset + first ...
Prepared prepare(Backend& backend, const Layer& layer, int offset, int first, int count, Cache& cache) {
  const std::int64_t dim = layer.shape.head_dim, heads = layer.shape.n_heads, kv = layer.shape.n_kv_heads;
  Prepared out{std::vector<float>(count * heads * dim), {}};
  if (layer.shape.output_gate) out.gate.resize(out.q.size());
  CHECK(backend.attention_prepare(layer.shape, layer.q.data() + first * heads * layer.query_width(),
                                  layer.k.data() + first * kv * dim, layer.v.data() + first * kv * dim,
                                  data_or_null(layer.q_norm), data_or_null(layer.k_norm), layer.inv_freq.data(),
                                  offset + first, count, cache.view(), out.q.data(),
                                  layer.shape.output_gate ? out.gate.data() : nullptr) == Status::kOk);
  return out;
}

std::vector<float> attend(Backend& backend, const Layer& layer, const Prepared& input, Cache& cache, int first_visible,
                          int first_position, int rows) {
  std::vector<float> out(static_cast<std::size_t>(rows) * layer.shape.n_heads * layer.shape.head_dim);
  CHECK(backend.attention(layer.shape, input.q.data(), data_or_null(input.gate), cache.view(), first_visible,
                          first_position, rows, out.data()) == Status::kOk);
  return out;
}

std::string describe(const AttentionShape& shape, int rows, int offset) {
  return std::to_string(shape.n_heads) + "/" + std::to_string(shape.n_kv_heads) + " heads of " +
         std::to_string(shape.head_dim) + (shape.output_gate ? ", " : " without gates, ") + std::to_string(rows) +
         " rows from " + std::to_string(offset);
}

const AttentionShape kShapes[] = {
    {1, 1, 8, 4, 1e-6f},
    {3, 1, 16, 16, 1e-6f},
    {4, 4, 24, 8, 1e-6f},
    {8, 2, 32, 8, 1e-6f},
    {16, 2, 64, 16, 1e-6f},
    {6, 2, 128, 32, 1e-6f},
    {8, 2, 256, 64, 1e-6f},
    {16, 1, 40, 0, 1e-6f},
    // Dense models: every element turns, no gates, some with scales of their own.
    {14, 2, 64, 64, 1e-6f, false},
    {12, 2, 128, 128, 1e-6f, false},
    {9, 3, 64, 64, 1e-5f, false, 0.015625f},
    {5, 5, 24, 24, 1e-5f, false, 0.0f, 1.25f},
    {7, 1, 64, 64, 1e-6f, true, 0.25f, 0.8f},
};

}  // namespace

TEST("attention of the reference is the textbook's in double precision") {
  const AttentionShape shape{4, 2, 8, 4, 1e-6f};
  const int rows = 5, offset = 3, dim = 8, group = 2;
  const Layer layer(shape, rows + offset);
  Cache cache(shape, KvType::kF32, rows + offset);
  prepare(reference(), layer, 0, 0, offset, cache);
  const Prepared input = prepare(reference(), layer, 0, offset, rows, cache);
  const std::vector<float> out = attend(reference(), layer, input, cache, 1, offset, rows);

  // Rotation as complex multiplication, softmax without a maximum: nothing is shared with the code under test.
  const auto rotated = [&](const float* x, const std::vector<float>& w, int position) {
    std::vector<double> y(dim);
    double squares = 0.0;
    for (int i = 0; i < dim; ++i) squares += static_cast<double>(x[i]) * x[i];
    for (int i = 0; i < dim; ++i) y[i] = x[i] / std::sqrt(squares / dim + 1e-6) * w[i];
    for (int i = 0; i < 2; ++i) {
      const double angle = position * static_cast<double>(layer.inv_freq[i]), a = y[i], b = y[i + 2];
      y[i] = a * std::cos(angle) - b * std::sin(angle);
      y[i + 2] = a * std::sin(angle) + b * std::cos(angle);
    }
    return y;
  };
  std::vector<double> expected;
  for (int r = 0; r < rows; ++r) {
    for (int h = 0; h < 4; ++h) {
      const float* q_gate = layer.q.data() + ((offset + r) * 4 + h) * 2 * dim;
      const std::vector<double> q = rotated(q_gate, layer.q_norm, offset + r);
      std::vector<double> sum(dim, 0.0);
      double total = 0.0;
      for (int p = 1; p <= offset + r; ++p) {
        const std::int64_t row = (p * 2 + h / group) * dim;
        const std::vector<double> k = rotated(layer.k.data() + row, layer.k_norm, p);
        double score = 0.0;
        for (int i = 0; i < dim; ++i) score += q[i] * k[i];
        const double weight = std::exp(score / std::sqrt(8.0));
        total += weight;
        for (int i = 0; i < dim; ++i) sum[i] += weight * layer.v[row + i];
      }
      for (int i = 0; i < dim; ++i) expected.push_back(sum[i] / total / (1.0 + std::exp(-q_gate[dim + i])));
    }
  }
  check_close(out, expected, 2e-6, "reference");
}

TEST("without norms and gates, with scales of its own, the reference is the textbook's too") {
  const AttentionShape shape{3, 1, 6, 6, 1e-6f, false, 0.2f, 1.5f};
  const int rows = 4, dim = 6;
  Layer layer(shape, rows);
  layer.q_norm.clear();
  layer.k_norm.clear();
  Cache cache(shape, KvType::kF32, rows);
  const Prepared input = prepare(reference(), layer, 0, 0, rows, cache);
  const std::vector<float> out = attend(reference(), layer, input, cache, 0, 0, rows);

  // A dot product of two rotated heads depends on the distance of their positions alone.
  const auto score = [&](const float* q, const float* k, int distance) {
    double sum = 0.0;
    for (int i = 0; i < 3; ++i) {
      const double angle = distance * static_cast<double>(layer.inv_freq[i]);
      const double same = static_cast<double>(q[i]) * k[i] + static_cast<double>(q[i + 3]) * k[i + 3];
      const double crossed = static_cast<double>(q[i + 3]) * k[i] - static_cast<double>(q[i]) * k[i + 3];
      sum += std::cos(angle) * same + std::sin(angle) * crossed;
    }
    return 1.5 * 1.5 * 0.2 * sum;
  };
  std::vector<double> expected;
  for (int r = 0; r < rows; ++r) {
    for (int h = 0; h < 3; ++h) {
      std::vector<double> sum(dim, 0.0);
      double total = 0.0;
      for (int p = 0; p <= r; ++p) {
        const double weight = std::exp(score(layer.q.data() + (r * 3 + h) * dim, layer.k.data() + p * dim, p - r));
        total += weight;
        for (int i = 0; i < dim; ++i) sum[i] += weight * layer.v[p * dim + i];
      }
      for (int i = 0; i < dim; ++i) expected.push_back(sum[i] / total);
    }
  }
  check_close(out, expected, 4e-6, "reference");
}

TEST("attention_prepare of every backend writes what the reference writes") {
  for (const AttentionShape& shape : kShapes) {
    for (const KvType type : {KvType::kF32, KvType::kBf16}) {
      for (const int rows : {1, 2, 7, 33, 130}) {
        Layer layer(shape, rows);
        if (rows == 2) layer.q_norm.clear();
        if (rows == 2 || rows == 33) layer.k_norm.clear();
        const int offset = rows == 7 ? 131'000 / 130 : 5;
        Cache expected_cache(shape, type, offset + rows);
        const Prepared expected = prepare(reference(), layer, offset, 0, rows, expected_cache);
        for (const auto& backend : backends_under_test()) {
          const std::string what = label(*backend) + ", " + describe(shape, rows, offset);
          Cache cache(shape, type, offset + rows);
          const Prepared actual = prepare(*backend, layer, offset, 0, rows, cache);
          const double cache_tolerance = type == KvType::kF32 ? 2e-6 : 1.0 / 256;
          check_close(actual.q, expected.q, 2e-6, what + ": queries");
          check_close(actual.gate, expected.gate, 0.0, what + ": gates");
          check_close(cache.read(cache.keys), expected_cache.read(expected_cache.keys), cache_tolerance,
                      what + ": keys");
          check_close(cache.read(cache.values), expected_cache.read(expected_cache.values), 0.0, what + ": values");
        }
      }
    }
  }
}

TEST("attention_prepare keeps far positions exact and leaves other cache rows alone") {
  const AttentionShape shape{2, 1, 64, 64, 1e-6f};
  const int position = 200'003;
  const Layer layer(shape, 1);
  for (const auto& backend : backends_under_test()) {
    Cache expected_cache(shape, KvType::kF32, position + 2), cache(shape, KvType::kF32, position + 2);
    const Prepared expected = prepare(reference(), layer, position, 0, 1, expected_cache);
    const Prepared actual = prepare(*backend, layer, position, 0, 1, cache);
    check_close(actual.q, expected.q, 2e-6, label(*backend));
    const std::vector<float> keys = cache.read(cache.keys);
    CHECK(std::count(keys.begin(), keys.begin() + position * 64, 0.0f) == position * 64);
    CHECK(std::count(keys.end() - 64, keys.end(), 0.0f) == 64);
  }
}

TEST("attention_prepare without queries only fills the cache") {
  const AttentionShape shape{4, 2, 32, 16, 1e-6f};
  const Layer layer(shape, 9);
  for (const auto& backend : backends_under_test()) {
    Cache expected(shape, KvType::kBf16, 9), actual(shape, KvType::kBf16, 9);
    prepare(*backend, layer, 0, 0, 9, expected);
    CHECK(backend->attention_prepare(shape, nullptr, layer.k.data(), layer.v.data(), nullptr, layer.k_norm.data(),
                                     layer.inv_freq.data(), 0, 9, actual.view(), nullptr, nullptr) == Status::kOk);
    CHECK(actual.keys == expected.keys && actual.values == expected.values);
  }
}

TEST("attention of every backend is the reference's for any rows, heads, cache type and visible range") {
  for (const AttentionShape& shape : kShapes) {
    for (const KvType type : {KvType::kF32, KvType::kBf16}) {
      for (const int rows : {1, 2, 3, 7, 33, 64, 130}) {
        for (const int offset : {0, 1, 70}) {
          const Layer layer(shape, offset + rows);
          Cache cache(shape, type, offset + rows);
          prepare(reference(), layer, 0, 0, offset, cache);
          const Prepared input = prepare(reference(), layer, 0, offset, rows, cache);
          const int first_visible = offset / 2;
          const std::vector<float> expected = attend(reference(), layer, input, cache, first_visible, offset, rows);
          for (const auto& backend : backends_under_test()) {
            check_close(attend(*backend, layer, input, cache, first_visible, offset, rows), expected, 4e-6,
                        label(*backend) + ", " + describe(shape, rows, offset));
          }
        }
      }
    }
  }
}

TEST("a long context, cut into ranges, gives what the reference gives") {
  for (const AttentionShape& shape : {AttentionShape{8, 2, 64, 16, 1e-6f}, AttentionShape{2, 1, 256, 64, 1e-6f}}) {
    for (const int rows : {1, 2, 5}) {
      const int offset = 1500;
      const Layer layer(shape, offset + rows);
      Cache cache(shape, KvType::kBf16, offset + rows);
      prepare(*backends_under_test().front(), layer, 0, 0, offset, cache);
      const Prepared input = prepare(reference(), layer, 0, offset, rows, cache);
      for (const int first_visible : {0, 17, 1499, 1500}) {
        const std::vector<float> expected = attend(reference(), layer, input, cache, first_visible, offset, rows);
        for (const auto& backend : backends_under_test()) {
          check_close(attend(*backend, layer, input, cache, first_visible, offset, rows), expected, 4e-6,
                      label(*backend) + ", visible from " + std::to_string(first_visible));
        }
      }
    }
  }
}

TEST("rows at once and row by row agree") {
  const AttentionShape shape{8, 2, 64, 32, 1e-6f};
  const int rows = 70;
  const Layer layer(shape, rows);
  for (const auto& backend : backends_under_test()) {
    Cache cache(shape, KvType::kBf16, rows);
    const Prepared input = prepare(*backend, layer, 0, 0, rows, cache);
    const std::vector<float> at_once = attend(*backend, layer, input, cache, 0, 0, rows);
    std::vector<float> one_by_one;
    for (int r = 0; r < rows; ++r) {
      const Prepared row = prepare(*backend, layer, 0, r, 1, cache);
      const std::vector<float> out = attend(*backend, layer, row, cache, 0, r, 1);
      one_by_one.insert(one_by_one.end(), out.begin(), out.end());
    }
    check_close(one_by_one, at_once, 4e-6, label(*backend));
  }
}

TEST("scores far apart neither overflow nor vanish") {
  const AttentionShape shape{4, 1, 16, 0, 1e-6f};
  Layer layer(shape, 40);
  for (float& value : layer.q_norm) value = 300.0f;
  Cache cache(shape, KvType::kF32, 40);
  const Prepared input = prepare(reference(), layer, 0, 0, 40, cache);
  const std::vector<float> expected = attend(reference(), layer, input, cache, 0, 0, 40);
  for (const auto& backend : backends_under_test()) {
    check_close(attend(*backend, layer, input, cache, 0, 0, 40), expected, 1e-3, label(*backend));
  }
}

TEST("shapes that do not fit are refused") {
  const AttentionShape good{4, 2, 16, 8, 1e-6f};
  Cache cache(good, KvType::kF32, 4);
  std::vector<float> buffer(1024);
  const auto ask = [&](Backend& backend, const AttentionShape& shape, int first_visible, int first_position, int rows) {
    return backend.attention(shape, buffer.data(), buffer.data(), cache.view(), first_visible, first_position, rows,
                             buffer.data());
  };
  for (const std::string& name : pipo::kernels::available_backends()) {
    const std::unique_ptr<Backend> backend = backend_named(name, 2);
    CHECK(ask(*backend, good, 0, 0, 0) == Status::kOk);
    CHECK(ask(*backend, good, 0, 2, 3) == Status::kBadShape);
    CHECK(ask(*backend, good, 3, 2, 1) == Status::kBadShape);
    CHECK(ask(*backend, good, -1, 2, 1) == Status::kBadShape);
    CHECK(ask(*backend, {3, 2, 16, 8, 1e-6f}, 0, 0, 1) == Status::kBadShape);
    CHECK(ask(*backend, {4, 2, 16, 18, 1e-6f}, 0, 0, 1) == Status::kBadShape);
    CHECK(ask(*backend, {4, 2, 16, 7, 1e-6f}, 0, 0, 1) == Status::kBadShape);
    CHECK(ask(*backend, {0, 0, 16, 8, 1e-6f}, 0, 0, 1) == Status::kBadShape);
    CHECK(ask(*backend, {4, 2, 16, 8, 1e-6f, true, -0.1f}, 0, 0, 1) == Status::kBadShape);
    CHECK(ask(*backend, {4, 2, 16, 8, 1e-6f, true, NAN}, 0, 0, 1) == Status::kBadShape);
    CHECK(ask(*backend, {4, 2, 16, 8, 1e-6f, true, 0.0f, 0.0f}, 0, 0, 1) == Status::kBadShape);
  }
}

int main(int argc, char** argv) { return run(argc, argv); }
