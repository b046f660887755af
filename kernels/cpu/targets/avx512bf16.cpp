#define PIPO_TARGET avx512bf16
#define PIPO_TARGET_NAME "avx512bf16"
#define PIPO_TARGET_SYMBOL kAvx512Bf16Target
#include "kernels/cpu/simd/avx512.h"
#include "kernels/cpu/simd/avx512_dot.h"
#include "kernels/cpu/targets/target_table.h"
