// The body of a target: included once per target translation unit, after its SIMD header, with PIPO_TARGET (namespace),
// PIPO_TARGET_SYMBOL (table) and PIPO_TARGET_NAME (string) defined.
#include "kernels/cpu/ops/activation.h"
#include "kernels/cpu/ops/attention.h"
#include "kernels/cpu/ops/attention_prepare.h"
#include "kernels/cpu/ops/delta_net.h"
#include "kernels/cpu/ops/matmul.h"
#include "kernels/cpu/ops/matmul_input.h"
#include "kernels/cpu/ops/norm.h"
#include "kernels/cpu/target.h"

namespace pipo::kernels::cpu {

extern constinit const Target PIPO_TARGET_SYMBOL = {
    .name = PIPO_TARGET_NAME,
    .bf16_input = PIPO_TARGET::kBf16Input,
    .row_tile = PIPO_TARGET::kRowTile,
    .prepare_rows = PIPO_TARGET::prepare_rows,
    .matmul_panels = PIPO_TARGET::matmul_panels,
    .rms_norm_rows = PIPO_TARGET::rms_norm_rows,
    .silu_range = PIPO_TARGET::silu_range,
    .silu_multiply_range = PIPO_TARGET::silu_multiply_range,
    .attention_prepare_rows = PIPO_TARGET::attention_prepare_rows,
    .attention_scratch = PIPO_TARGET::attention_scratch,
    .attention_tasks = PIPO_TARGET::attention_tasks,
    .attention_merge = PIPO_TARGET::attention_merge,
    .delta_net_scratch = PIPO_TARGET::delta_net_scratch,
    .delta_net_key_heads = PIPO_TARGET::delta_net_key_heads,
};

}  // namespace pipo::kernels::cpu
