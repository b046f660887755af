/// The memory plan in the shapes of the 4B model, and what is said when it does not fit.
#include "kernels/cuda_memory.h"

#include <vector>

#include "kernels/packed_matrix.h"
#include "test/support/check.h"

using namespace pipo::kernels;

namespace {

struct Model {
  std::vector<std::uint8_t> types;
  std::vector<PipoCudaTensor> tensors;
  PipoCudaConfig config{};

  Model() {
    for (int i = 0; i < 32; ++i) types.push_back((i + 1) % 4 == 0 ? 0 : 1);
    config.vocab_size = 248320;
    config.hidden_size = 2560;
    config.intermediate_size = 9216;
    config.n_layers = 32;
    config.layer_types = types.data();
    config.n_heads = 16;
    config.n_kv_heads = 4;
    config.head_dim = 256;
    config.n_key_heads = 16;
    config.n_value_heads = 32;
    config.key_dim = config.value_dim = 128;
    config.conv_kernel = 4;
    config.kv_type = 1;
    const auto bf16 = static_cast<int>(WeightType::kBf16), int4 = static_cast<int>(WeightType::kInt4);
    tensors = {{kPipoEmbedding, -1, bf16, 0, 248320, 2560, nullptr}, {kPipoUpProj, 0, int4, 64, 9216, 2560, nullptr},
               {kPipoFinalNorm, -1, 0, 0, 0, 2560, nullptr}};
  }
  PipoCudaMemory plan(int positions) const {
    return plan_cuda_memory(config, tensors.data(), static_cast<int>(tensors.size()), positions, 3);
  }
};

}  // namespace

TEST("weights, keys and values, and states are counted as the kernels lay them out") {
  const Model model;
  const PipoCudaMemory m = model.plan(4096);
  CHECK(m.weights == 248320ll * 2560 * 2 + 9216ll * 2560 / 2 + 9216ll * 40 * 2 + 2560 * 4);
  CHECK(m.kv == 9ll * 2 * 4096 * 4 * 256 * 2);  // eight layers and the draft head
  CHECK(m.states == 24ll * (32 * 128 * 128 + 4 * 8192) * 4 + 2560 * 4);
  CHECK(m.snapshots == 3 * m.states);
  CHECK(m.workspace > 0 && m.step > 0);
}

TEST("a plain model has no draft head's cache") {
  Model model;
  model.config.compressor = -1;
  CHECK(model.plan(4096).kv == 8ll * 2 * 4096 * 4 * 256 * 2);
}

TEST("what does not fit names the figures and a context that would") {
  const Model model;
  const PipoCudaMemory m = model.plan(262144);
  CHECK(memory_refusal(m, 80ll << 30, 262144).empty());
  const std::int64_t free_bytes = 8ll << 30;
  const std::string words = memory_refusal(m, free_bytes, 262144);
  const std::size_t at = words.find("at most ");
  CHECK_MESSAGE(at != std::string::npos, words);
  if (at != std::string::npos) {
    const int fitting = std::stoi(words.substr(at + 8));
    CHECK(memory_refusal(model.plan(fitting), free_bytes, fitting).empty());
    CHECK(!memory_refusal(model.plan(fitting + 200), free_bytes, fitting + 200).empty());
  }
  CHECK(memory_refusal(m, 1ll << 30, 262144).find("smaller dtype") != std::string::npos);
}

int main(int argc, char** argv) { return pipo::test::run(argc, argv); }
