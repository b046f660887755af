#pragma once

#include <optional>
#include <string>
#include <vector>

#include "engine_bench/report.h"

namespace pipo::bench {

/// One figure that the engine on a device is meant to reach.
struct Goal {
  std::string name;
  bool at_most = false;                  ///< else at least
  double required = 0;
  std::optional<double> measured = {};   ///< nothing: see `note`
  bool counts = true;                    ///< false where the goal is not of this model; see `note`
  std::string unit = {};
  std::string note = {};                 ///< what the figure is made of, or why there is none

  bool met() const { return measured && (at_most ? *measured <= required : *measured >= required); }
};

/// Ratios to what the device itself was measured to do in the same run.
std::vector<Goal> goals_of(const Report& r);

/// A table in Markdown.
void print_goals(const Report& r);
/// `,"goals":[...]` and the rates that they are shares of.
void print_goals_json(const Report& r);

}  // namespace pipo::bench
