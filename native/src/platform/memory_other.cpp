#include "platform/memory.h"

namespace pipo {

std::optional<std::int64_t> available_memory() { return std::nullopt; }

}  // namespace pipo
