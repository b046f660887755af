#define PIPO_TARGET avx512
#define PIPO_TARGET_NAME "avx512"
#define PIPO_TARGET_SYMBOL kAvx512Target
#include "kernels/cpu/simd/avx512.h"

#include "kernels/cpu/simd/avx512_dot.h"
#include "kernels/cpu/targets/target_table.h"
