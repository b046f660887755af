#pragma once

#include <utility>
#include <vector>

#include "kernels/cuda/runtime.h"

namespace pipo::cuda {

/// What the launches of a step depend on. Everything else of a request lies in device memory.
struct StepKind {
  bool pair = false;
  bool proposes = false;  ///< has a phase for the second token
  bool pre_gate = false;
  bool draws = false;  ///< temperature above 0
  int splits = 1;      ///< of attention's positions

  bool operator==(const StepKind&) const = default;
};

/// The captured steps of one session. They hold addresses of its keys and values.
class StepGraphs {
 public:
  StepGraphs() = default;
  ~StepGraphs() { clear(); }
  StepGraphs(const StepGraphs&) = delete;
  StepGraphs& operator=(const StepGraphs&) = delete;

  /// Null when that kind of step has not been captured.
  runtime::Graph find(const StepKind& kind) const {
    for (const auto& [known, graph] : graphs_) {
      if (known == kind) return graph;
    }
    return nullptr;
  }
  void add(const StepKind& kind, runtime::Graph graph) { graphs_.emplace_back(kind, graph); }
  void clear() {
    for (const auto& [kind, graph] : graphs_) runtime::destroy_graph(graph);
    graphs_.clear();
  }

 private:
  std::vector<std::pair<StepKind, runtime::Graph>> graphs_;
};

}  // namespace pipo::cuda
