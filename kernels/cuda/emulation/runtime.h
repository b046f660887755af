#pragma once

#include <cstdint>

/// What tests see of the emulated device's memory.
namespace pipo::simt {

struct Memory {
  std::int64_t limit = std::int64_t{64} << 30;  ///< an allocation beyond it fails
  std::int64_t used = 0, most_used = 0;
  int allocations = 0;  ///< device and pinned, not yet released
};
Memory& memory();

}  // namespace pipo::simt
