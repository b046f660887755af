#define PIPO_TARGET avx2
#define PIPO_TARGET_NAME "avx2"
#define PIPO_TARGET_SYMBOL kAvx2Target
#include "kernels/cpu/simd/avx2.h"

#include "kernels/cpu/simd/avx2_dot.h"
#include "kernels/cpu/targets/target_table.h"
