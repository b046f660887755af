#include "engine/memory_preflight.h"

#include <algorithm>
#include <string>

#include "cache/snapshot_store.h"
#include "core/words.h"
#include "pipo/error.h"

namespace pipo {

void require_memory_for_load(std::int64_t weight_bytes, std::int64_t workspace_bytes, WeightDtype dtype,
                             std::optional<std::int64_t> available) {
  const std::int64_t needed = weight_bytes + workspace_bytes;
  if (!available || needed <= *available) return;
  const bool smallest = dtype == WeightDtype::kInt4;
  throw Error(ErrorCode::kNotEnoughMemory,
              "the model needs " + bytes_in_words(needed) + " of memory (weights " + bytes_in_words(weight_bytes) +
                  "), " + bytes_in_words(*available) + " is available; close other programs, or choose " +
                  (smallest ? "a smaller model" : "a smaller dtype (int8, mix, int4) or a smaller model"));
}

void require_memory_for_session(const StateShape& shape, std::int32_t max_positions, std::int64_t mapped_weight_bytes,
                                std::optional<std::int64_t> available) {
  if (!available) return;
  const std::int64_t fixed = mapped_weight_bytes + (1 + SnapshotStore::capacity(shape.snapshot_bytes())) * shape.snapshot_bytes();
  const std::int64_t per_position = shape.kv_bytes_per_position();
  const std::int64_t needed = fixed + max_positions * per_position;
  if (needed <= *available) return;
  const std::int64_t fitting = per_position == 0 ? 0 : std::max<std::int64_t>(0, (*available - fixed) / per_position);
  throw Error(ErrorCode::kNotEnoughMemory,
              "a context of " + std::to_string(max_positions) + " positions needs " + bytes_in_words(needed) +
                  " of memory (weights " + bytes_in_words(mapped_weight_bytes) + "), " + bytes_in_words(*available) +
                  " is available; close other programs, or choose a context of at most " + std::to_string(fitting) +
                  " positions, a smaller dtype or a smaller model");
}

}  // namespace pipo
