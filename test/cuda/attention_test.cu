/// Attention of one position over the cache, in any number of shares, against the scalar reference.
#include "test/cuda/device_memory.h"
#include "test/kernels/op_testing.h"

using namespace pipo;
using namespace pipo::test;

namespace {

struct Layout {
  int n_heads, n_kv_heads, head_dim, rotary_dim;
  bool f32;
};

void check_case(const Layout& c, int length, int first_visible, int splits) {
  const kernels::AttentionShape shape{c.n_heads, c.n_kv_heads, c.head_dim, c.rotary_dim, 1e-6f};
  const int width = c.n_kv_heads * c.head_dim, capacity = length + 3, position = length - 1;
  const std::vector<float> q_norm = random_norm_weights(c.head_dim), k_norm = random_norm_weights(c.head_dim);
  std::vector<float> inv_freq;
  for (int i = 0; i < c.rotary_dim / 2; ++i) inv_freq.push_back(std::pow(1e4f, -2.0f * i / c.rotary_dim));
  const std::size_t bytes = static_cast<std::size_t>(capacity * width) * (c.f32 ? 4 : 2);
  std::vector<std::uint8_t> keys(bytes), values(bytes);
  const kernels::KvCache cache{keys.data(), values.data(), c.f32 ? kernels::KvType::kF32 : kernels::KvType::kBf16, capacity};
  // Rows before the position come from the reference; the kernel under test appends its own.
  if (length > 1) {
    const std::vector<float> k = random_floats(std::int64_t{position} * width), v = random_floats(std::int64_t{position} * width);
    CHECK(reference().attention_prepare(shape, nullptr, k.data(), v.data(), q_norm.data(), k_norm.data(), inv_freq.data(), 0,
                                        position, cache, nullptr, nullptr) == Status::kOk);
  }
  const Device<std::uint8_t> dkeys(keys), dvalues(values);
  const std::vector<float> q_gate = random_floats(2 * c.n_heads * c.head_dim), k = random_floats(width), v = random_floats(width);
  const std::size_t out_size = static_cast<std::size_t>(c.n_heads * c.head_dim);
  std::vector<float> q(out_size), gate(out_size), expected(out_size);
  CHECK(reference().attention_prepare(shape, q_gate.data(), k.data(), v.data(), q_norm.data(), k_norm.data(),
                                      inv_freq.data(), position, 1, cache, q.data(), gate.data()) == Status::kOk);
  CHECK(reference().attention(shape, q.data(), gate.data(), cache, first_visible, position, 1, expected.data()) == Status::kOk);

  const Device<float> dq(q_gate), dk(k), dv(v), dqn(q_norm), dkn(k_norm), freq(inv_freq), out(out_size);
  const Device<float> rotation(static_cast<std::size_t>(c.rotary_dim));
  const Device<float> partial(static_cast<std::size_t>(c.n_heads * splits * (c.head_dim + 2)));
  const Device<int> arrived(static_cast<std::size_t>(c.n_kv_heads)), at(std::vector<int>{position + 1}),
      visible(std::vector<int>{first_visible});
  finish(cuda::rotation(queue(), freq.get(), c.rotary_dim / 2, at.get(), -1, rotation.get()));
  cuda::AttentionStepArgs args;
  args.n_heads = c.n_heads;
  args.n_kv_heads = c.n_kv_heads;
  args.head_dim = c.head_dim;
  args.rotary_dim = c.rotary_dim;
  args.kv_f32 = c.f32;
  args.q_gate = dq.get();
  args.k = dk.get();
  args.v = dv.get();
  args.q_norm = dqn.get();
  args.k_norm = dkn.get();
  args.rotation = rotation.get();
  args.keys = dkeys.get();
  args.values = dvalues.get();
  args.position = at.get();
  args.position_offset = -1;
  args.first_visible = visible.get();
  args.splits = splits;
  args.partial = partial.get();
  args.arrived = arrived.get();
  args.out = out.get();
  for (int round = 0; round < 2; ++round) {  // the second finds the counters as the first left them
    finish(cuda::attention_step(queue(), args));
    const std::string what = "head_dim " + std::to_string(c.head_dim) + ", length " + std::to_string(length) + ", splits " +
                             std::to_string(splits) + (c.f32 ? ", f32" : ", bf16");
    check_close(out.read(), expected, c.f32 ? 1e-5 : 4e-3, what);  // a bf16 row may round the other way
    CHECK(arrived.read() == std::vector<int>(static_cast<std::size_t>(c.n_kv_heads), 0));
  }
  if (c.f32) {
    const std::vector<std::uint8_t> appended = dkeys.read();
    std::vector<float> row(width), wanted(width);
    std::memcpy(row.data(), appended.data() + static_cast<std::size_t>(position) * width * 4, width * 4);
    std::memcpy(wanted.data(), keys.data() + static_cast<std::size_t>(position) * width * 4, width * 4);
    check_close(row, wanted, 1e-5, "appended key");
  }
}

}  // namespace

TEST("every head size, group, cache type, length and number of shares") {
  const Layout cases[] = {{4, 1, 32, 8, true}, {4, 2, 32, 8, false}, {2, 2, 64, 16, true}, {4, 2, 64, 64, false},
                        {4, 1, 128, 32, false}, {8, 2, 256, 64, false}, {4, 1, 256, 64, true}};
  for (const Layout& c : cases) {
    for (const int length : {1, 2, 7, 40}) {
      for (const int splits : {1, 3, 8}) {
        check_case(c, length, 0, splits);
        if (length > 2) check_case(c, length, length - 2, splits);
      }
    }
  }
}

int main(int argc, char** argv) { return device_present() ? pipo::test::run(argc, argv) : kSkipped; }
