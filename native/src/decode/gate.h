#pragma once

#include <span>
#include <string_view>

namespace pipo {

/// Decides from a request's threshold, and if it wants from the confidence, whether a draft is committed.
struct Gate {
  const char* name;
  /// False: the draft step is not run at all.
  bool (*proposes)(float threshold);
  /// False: the confidence head is not run.
  bool (*reads_confidence)(float threshold);
  /// `confidence` in [0, 1]; NaN when it was not read.
  bool (*accepts)(float confidence, float threshold);
};

/// All gates; the first is the default.
std::span<const Gate* const> gates();

}  // namespace pipo
