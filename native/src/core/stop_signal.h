#pragma once

#include <atomic>

namespace pipo {

/// What a running request looks at between layers and phases.
struct StopSignal {
  const std::atomic<bool>* cancelled = nullptr;
  const std::atomic<bool>* engine_closed = nullptr;
  const std::atomic<bool>* request_cancelled = nullptr;  ///< the caller's own flag; may be null

  bool requested() const {
    return cancelled->load(std::memory_order_relaxed) || engine_closed->load(std::memory_order_relaxed) ||
           (request_cancelled != nullptr && request_cancelled->load(std::memory_order_relaxed));
  }
};

}  // namespace pipo
