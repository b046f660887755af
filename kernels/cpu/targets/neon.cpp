#define PIPO_TARGET neon
#define PIPO_TARGET_NAME "neon"
#define PIPO_TARGET_SYMBOL kNeonTarget
#include "kernels/cpu/simd/neon.h"

#include "kernels/cpu/simd/neon_dot.h"
#include "kernels/cpu/targets/target_table.h"
