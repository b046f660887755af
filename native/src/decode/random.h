#pragma once

#include <cstdint>

namespace pipo {

/// Uniform in [0, 1), a function of (seed, slot) alone: two rounds of the SplitMix64 finaliser.
inline float uniform_at(std::uint64_t seed, std::uint64_t slot) {
  const auto mix = [](std::uint64_t x) {
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
    return x ^ (x >> 31);
  };
  const std::uint64_t bits = mix(mix(seed + 0x9e3779b97f4a7c15ull) + (slot + 1) * 0x9e3779b97f4a7c15ull);
  return static_cast<float>(bits >> 40) * 0x1p-24f;
}

}  // namespace pipo
