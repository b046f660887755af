/// What the plan reserves is what the kernels ask for: with less they would fall back to slower ways unseen.
#include "kernels/cuda/memory_layout.h"
#include "test/cuda/device_memory.h"
#include "test/support/check.h"

using namespace pipo;

TEST("the workspace has the room that the kernels ask for") {
  PipoCudaConfig c{};
  c.n_key_heads = 16;
  c.n_value_heads = 32;
  for (const std::int32_t dim : {32, 64, 128, 256}) {
    c.head_dim = dim;
    c.key_dim = c.value_dim = std::min(dim, 128);
    const cuda::DeltaShape shape{c.n_key_heads, c.n_value_heads, c.key_dim, c.value_dim, 4};
    CHECK(cuda::delta_chunk_bytes(c) == cuda::delta_scratch_bytes(shape, cuda::kChunkRows));
    CHECK(cuda::shared_attention_bytes(c, 132) == cuda::attention_rows_scratch_bytes(dim, 132));
  }
}

int main(int argc, char** argv) { return pipo::test::run(argc, argv); }
