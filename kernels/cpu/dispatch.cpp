#include "kernels/cpu/cpu_backend.h"

#if defined(__linux__) && defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif
#if defined(PIPO_HAVE_AMX)
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace pipo::kernels::cpu {

const std::vector<const Target*>& compiled_targets() {
  static const std::vector<const Target*> targets = {
#if defined(PIPO_HAVE_AMX)
      &kAmxTarget,
#endif
#if defined(PIPO_HAVE_AVX512BF16)
      &kAvx512Bf16Target,
#endif
#if defined(PIPO_HAVE_AVX512)
      &kAvx512Target,
#endif
#if defined(PIPO_HAVE_AVXVNNI)
      &kAvxVnniTarget,
#endif
#if defined(PIPO_HAVE_AVX2)
      &kAvx2Target,
#endif
#if defined(PIPO_HAVE_NEON)
      &kNeonTarget,
#endif
  };
  return targets;
}

#if defined(__x86_64__)
namespace {

bool has_avx2() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c") &&
         __builtin_cpu_supports("bmi2");
}

bool has_avx512() {
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vnni");
}

#if defined(PIPO_HAVE_AMX)
/// Tile registers are large, so that Linux saves them only for a process that has asked.
bool may_use_tiles() {
  constexpr long kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  static const bool granted = syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
  return granted;
}

bool has_amx() {
  return has_avx512() && __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("amx-tile") &&
         __builtin_cpu_supports("amx-int8") && may_use_tiles();
}
#endif

}  // namespace

bool runs_here(const Target& target) {
#if defined(PIPO_HAVE_AMX)
  if (&target == &kAmxTarget) return has_amx();
#endif
  if (&target == &kAvx2Target) return has_avx2();
  if (&target == &kAvxVnniTarget) return has_avx2() && __builtin_cpu_supports("avxvnni");
  if (&target == &kAvx512Target) return has_avx512();
  return has_avx512() && __builtin_cpu_supports("avx512bf16");
}
#elif defined(__linux__) && defined(__aarch64__)
bool runs_here(const Target&) {
  const unsigned long features = getauxval(AT_HWCAP);
  return (features & HWCAP_ASIMDDP) != 0 && (features & HWCAP_ASIMDHP) != 0 && (features & HWCAP_FPHP) != 0;
}
#elif defined(__APPLE__) && defined(__aarch64__)
// Every Apple processor that runs 64-bit macOS has dot products and half precision.
bool runs_here(const Target&) { return true; }
#else
bool runs_here(const Target&) { return false; }
#endif

}  // namespace pipo::kernels::cpu
