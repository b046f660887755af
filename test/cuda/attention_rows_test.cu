/// Attention of many rows over a cache that holds earlier positions, against the scalar reference.
#include "test/cuda/device_memory.h"
#include "test/kernels/op_testing.h"

using namespace pipo;
using namespace pipo::test;

namespace {

struct Layout {
  int n_heads, n_kv_heads, head_dim, rotary_dim;
  bool f32;
};

/// The layer's norms and frequencies, and a cache on both sides with `before` positions in it.
struct Layer {
  Layout layout;
  kernels::AttentionShape shape;
  int width;
  std::vector<float> q_norm, k_norm, inv_freq;
  std::vector<std::uint8_t> keys, values;
  kernels::KvCache cache;

  Layer(const Layout& l, int before, int capacity)
      : layout(l), shape{l.n_heads, l.n_kv_heads, l.head_dim, l.rotary_dim, 1e-6f}, width(l.n_kv_heads * l.head_dim),
        q_norm(random_norm_weights(l.head_dim)), k_norm(random_norm_weights(l.head_dim)),
        keys(static_cast<std::size_t>(capacity * width) * (l.f32 ? 4 : 2)), values(keys.size()),
        cache{keys.data(), values.data(), l.f32 ? kernels::KvType::kF32 : kernels::KvType::kBf16, capacity} {
    for (int i = 0; i < l.rotary_dim / 2; ++i) inv_freq.push_back(std::pow(1e4f, -2.0f * i / l.rotary_dim));
    const std::vector<float> k = random_floats(std::int64_t{before} * width), v = random_floats(std::int64_t{before} * width);
    if (before > 0) prepare(nullptr, k, v, 0, before, nullptr, nullptr);
  }
  void prepare(const float* q_gate, const std::vector<float>& k, const std::vector<float>& v, int first, int rows, float* q,
               float* gate) {
    CHECK(reference().attention_prepare(shape, q_gate, k.data(), v.data(), q_norm.data(), k_norm.data(), inv_freq.data(),
                                        first, rows, cache, q, gate) == Status::kOk);
  }
};

std::vector<float> floats_of(const std::vector<std::uint8_t>& bytes, bool f32) {
  const std::size_t width = f32 ? 4 : 2;  // bf16 is the upper half of a float
  std::vector<float> values(bytes.size() / width);
  for (std::size_t i = 0; i < values.size(); ++i) {
    std::memcpy(reinterpret_cast<std::uint8_t*>(&values[i]) + 4 - width, bytes.data() + i * width, width);
  }
  return values;
}

void check_case(const Layout& l, int first_position, int rows, int first_visible, const cuda::Queue& queue) {
  Layer layer(l, first_position, first_position + rows + 2);
  const std::vector<float> q_gate = random_floats(std::int64_t{2} * rows * l.n_heads * l.head_dim),
                           k = random_floats(std::int64_t{rows} * layer.width), v = random_floats(std::int64_t{rows} * layer.width);
  const Device<std::uint8_t> keys(layer.keys), values(layer.values);
  std::vector<float> q(q_gate.size() / 2), gate(q.size()), expected(q.size());
  layer.prepare(q_gate.data(), k, v, first_position, rows, q.data(), gate.data());
  CHECK(reference().attention(layer.shape, q.data(), gate.data(), layer.cache, first_visible, first_position, rows,
                              expected.data()) == Status::kOk);

  const Device<float> dq(q_gate), dk(k), dv(v), dqn(layer.q_norm), dkn(layer.k_norm), freq(layer.inv_freq), out(q.size());
  const Device<std::uint16_t> queries(q.size());
  const Device<float> partial(std::vector<float>(
      static_cast<std::size_t>(cuda::attention_rows_scratch_bytes(l.head_dim, queue.multiprocessors) / 4), NAN));
  cuda::AttentionRowsArgs args;
  args.n_heads = l.n_heads;
  args.n_kv_heads = l.n_kv_heads;
  args.head_dim = l.head_dim;
  args.rotary_dim = l.rotary_dim;
  args.kv_f32 = l.f32;
  args.first_position = first_position;
  args.rows = rows;
  args.first_visible = first_visible;
  args.k = dk.get();
  args.v = dv.get();
  args.q_norm = dqn.get();
  args.k_norm = dkn.get();
  args.inv_freq = freq.get();
  args.keys = keys.get();
  args.values = values.get();
  args.queries = queries.get();
  args.partial = partial.get();
  args.out = out.get();
  const std::string what = "head_dim " + std::to_string(l.head_dim) + ", group " + std::to_string(l.n_heads / l.n_kv_heads) +
                           ", " + std::to_string(rows) + " rows from " + std::to_string(first_position) + " seeing from " +
                           std::to_string(first_visible) + (l.f32 ? ", f32" : ", bf16");
  finish(cuda::attention_rows(queue, args));  // without queries: only appends
  CHECK(out.read() == std::vector<float>(q.size(), 0.0f));
  check_close(floats_of(keys.read(), l.f32), floats_of(layer.keys, l.f32), l.f32 ? 1e-5 : 4e-3, what + ", keys");
  check_close(floats_of(values.read(), l.f32), floats_of(layer.values, l.f32), 0, what + ", values");
  args.q_gate = dq.get();
  finish(cuda::attention_rows(queue, args));
  check_close(out.read(), expected, l.f32 ? 1e-5 : 8e-3, what);
}

}  // namespace

TEST("rows see the cache before them, themselves and nothing behind, for every head size and group") {
  const Layout layouts[] = {{4, 1, 32, 8, true},    {8, 1, 32, 32, false},  {2, 2, 64, 16, true},   {4, 2, 64, 64, false},
                            {4, 1, 128, 32, false}, {2, 2, 256, 64, true}, {4, 1, 256, 64, false}, {6, 2, 32, 8, false}};
  for (const Layout& l : layouts) {
    check_case(l, 0, 1, 0, queue());
    check_case(l, 0, 37, 0, queue());
    check_case(l, 70, 5, 0, queue());
    check_case(l, 33, 20, 31, queue());
    check_case(l, 9, 1, 9, queue());
    check_case(l, 20, 30, 20, queue());
  }
}

TEST("many tiles of rows and positions, in blocks with much and with little shared memory") {
  for (const int shared : {99 << 10, shared_bytes()}) {
    cuda::Queue queue = pipo::test::queue();
    queue.shared_bytes = shared;
    check_case({4, 1, 256, 64, false}, 100, 75, 0, queue);
    check_case({2, 2, 256, 64, false}, 31, 130, 7, queue);
    check_case({8, 1, 128, 64, false}, 64, 70, 0, queue);
  }
}

TEST("positions of few rows are shared out") {
  for (const int multiprocessors : {5, 8, 40}) {
    cuda::Queue queue = pipo::test::queue();
    queue.multiprocessors = multiprocessors;
    check_case({4, 1, 256, 64, false}, 600, 16, 0, queue);
    check_case({4, 2, 128, 64, false}, 511, 3, 140, queue);
    check_case({4, 1, 64, 64, false}, 700, 80, 0, queue);
    check_case({1, 1, 32, 32, false}, 1300, 1, 1300, queue);
  }
}

int main(int argc, char** argv) { return device_present() ? pipo::test::run(argc, argv) : kSkipped; }
