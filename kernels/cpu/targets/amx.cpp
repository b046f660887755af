#define PIPO_TARGET amx
#define PIPO_TARGET_NAME "amx"
#define PIPO_TARGET_SYMBOL kAmxTarget
#include "kernels/cpu/simd/avx512.h"
#include "kernels/cpu/simd/avx512_dot.h"
#include "kernels/cpu/targets/target_table.h"
