#include "binding/load_task.h"

#include <utility>

#include "binding/make_results.h"
#include "binding/objects.h"

namespace pipo::binding {
namespace {

constexpr double kVisibleFraction = 0.005;

}  // namespace

LoadTask::LoadTask(LoadWork work, TaskRunner& tasks, Napi::FunctionReference on_progress)
    : work_(std::move(work)),
      tasks_(tasks),
      on_progress_(std::move(on_progress)),
      has_listener_(!on_progress_.IsEmpty()) {}

void LoadTask::run() {
  const auto progress = [this](LoadStage stage, double fraction) { report(stage, fraction); };
  engine_ = work_(has_listener_ ? LoadProgressFn(progress) : LoadProgressFn(), cancelled_);
}

void LoadTask::report(LoadStage stage, double fraction) {
  {
    const std::lock_guard lock(mutex_);
    if (stage == last_.stage && fraction < last_.fraction + kVisibleFraction) return;
    last_ = {stage, fraction};
    waiting_.push_back(last_);
  }
  tasks_.notify();
}

void LoadTask::deliver(Napi::Env env) {
  std::vector<Progress> reports;
  {
    const std::lock_guard lock(mutex_);
    reports.swap(waiting_);
  }
  for (const auto& [stage, fraction] : reports) {
    const Napi::HandleScope scope(env);
    try {
      on_progress_.Call({make_progress(env, stage, fraction)});
    } catch (const Napi::Error&) {
      // Progress is for showing; a listener that fails must not fail the load.
    }
  }
}

Napi::Value LoadTask::result(Napi::Env env) {
  return engine_ ? EngineObject::make(env, std::move(engine_)) : env.Undefined();
}

}  // namespace pipo::binding
