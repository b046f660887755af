#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "binding/tasks.h"
#include "pipo/engine.h"

namespace pipo::binding {

/// What a load does on its thread; answers the engine, or null where the promise has no value.
using LoadWork =
    std::function<std::shared_ptr<Engine>(const LoadProgressFn& progress, const std::atomic<bool>& cancelled)>;

/// Loads or packs a model; progress is reported on the event loop, coalesced to steps that an eye can see.
class LoadTask : public Task {
 public:
  LoadTask(LoadWork work, TaskRunner& tasks, Napi::FunctionReference on_progress);

  void run() override;
  void cancel() override { cancelled_ = true; }
  void deliver(Napi::Env env) override;
  Napi::Value result(Napi::Env env) override;

 private:
  struct Progress {
    LoadStage stage;
    double fraction;
  };

  void report(LoadStage stage, double fraction);

  LoadWork work_;
  TaskRunner& tasks_;
  Napi::FunctionReference on_progress_;
  const bool has_listener_;
  std::atomic<bool> cancelled_{false};
  std::mutex mutex_;
  std::vector<Progress> waiting_;              // guarded by mutex_
  Progress last_{LoadStage::kChecking, -1.0};  // guarded by mutex_
  std::shared_ptr<Engine> engine_;
};

}  // namespace pipo::binding
