#pragma once

#include <vector>

#include "kernels/cuda/engine/model.h"
#include "kernels/cuda/engine/step_graph.h"
#include "kernels/cuda/step.cuh"

namespace pipo::cuda {


/// Keys and values of one attention layer.
struct KvPlanes {
  void* keys = nullptr;
  void* values = nullptr;
};

/// Copy of a session's states at a position boundary.
class Snapshot {
 public:
  explicit Snapshot(const Model& model)
      : model_(model), memory_(States::bytes(model.config())), states_(model.config(), memory_.get()) {}
  ~Snapshot() { runtime::synchronize(model_.queue().stream); }
  const States& states() const { return states_; }

 private:
  const Model& model_;
  DeviceMemory memory_;
  States states_;
};

/// One timeline: keys and values, recurrent states, the last hidden vector, and the request that runs on it.
class Session {
 public:
  explicit Session(Model& model);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  Model& model() const { return model_; }
  const States& states() const { return states_; }
  float* hidden() const { return states_.hidden(); }
  KvPlanes kv(int place) const;
  int capacity() const { return capacity_; }

  void reserve(int positions, int used);
  void clear();
  void restore(const Snapshot& from);

  /// The host's side of the running request; see request.h.
  struct Request {
    bool begun = false;
    StepKind kind;
    int position = 0;                   ///< when it began
    unsigned launched = 0, taken = 0;   ///< steps since the session was made
    unsigned first_step = 0;            ///< of this request
    bool use_graph = true;
  };
  Request& request() { return request_; }
  StepState* step_state() const { return reinterpret_cast<StepState*>(request_memory_.state); }
  SampleRequest* sample_request() const { return reinterpret_cast<SampleRequest*>(step_state() + 1); }
  const RequestMemory& request_memory() const { return request_memory_; }
  StepRecord* ring() const { return static_cast<StepRecord*>(pinned_.get()); }
  /// Written by any thread, read by the device.
  volatile int* cancel() const { return reinterpret_cast<volatile int*>(ring() + kRing); }
  StepGraphs& graphs() { return graphs_; }

 private:
  Model& model_;
  DeviceMemory states_memory_, request_device_memory_;
  PinnedMemory pinned_;
  States states_;
  RequestMemory request_memory_;
  std::vector<DeviceMemory> planes_;  // keys and values of each attention layer, the draft head's last
  int capacity_ = 0;
  Request request_;
  StepGraphs graphs_;
};

}  // namespace pipo::cuda
