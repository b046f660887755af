#define PIPO_TARGET avxvnni
#define PIPO_TARGET_NAME "avxvnni"
#define PIPO_TARGET_SYMBOL kAvxVnniTarget
#include "kernels/cpu/simd/avx2.h"
#include "kernels/cpu/simd/avx2_dot.h"
#include "kernels/cpu/targets/target_table.h"
