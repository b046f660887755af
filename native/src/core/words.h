#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace pipo {

/// "1.4 GB", "220 MB", "96 KB": sizes as people read them (powers of ten).
std::string bytes_in_words(std::int64_t bytes);

/// "[320, 64]"
std::string shape_in_words(const std::vector<std::int64_t>& shape);

/// "a, b, c and 5 more"
std::string list_in_words(const std::vector<std::string>& names, std::size_t shown = 6);

}  // namespace pipo
