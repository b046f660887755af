#pragma once

#include <cstdint>
#include <optional>

namespace pipo {

/// Bytes that this process can still take before others are pushed out: the system's available memory, or less where a
/// control group limits it. Memory-mapped files count as available, since they can be dropped and read again.
/// Empty where the platform does not say.
std::optional<std::int64_t> available_memory();

}  // namespace pipo
