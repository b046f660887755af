#include "binding/tasks.h"

#include <exception>
#include <utility>

#include "binding/errors.h"

namespace pipo::binding {

struct TaskRunner::Running {
  std::unique_ptr<Task> task;
  Napi::Promise::Deferred deferred;
  std::thread thread;
  std::exception_ptr failure;
  std::atomic<bool> done{false};
};

TaskRunner::TaskRunner(Napi::Env env) {
  wake_ = Wake::New(env, "pipo", /*maxQueueSize=*/0, /*initialThreadCount=*/1, this);
  wake_.Unref(env);
  // Hooks run in reverse order: this one, added after the function's own, runs while the function still exists.
  env.AddCleanupHook([](TaskRunner* runner) { runner->shut_down(); }, this);
}

TaskRunner::~TaskRunner() = default;

Napi::Promise TaskRunner::start(Napi::Env env, std::unique_ptr<Task> task) {
  auto deferred = Napi::Promise::Deferred::New(env);
  if (closed_) {
    deferred.Reject(
        to_js_error(env, Error(ErrorCode::kClosed, "The environment is ending; nothing new is started.")).Value());
    return deferred.Promise();
  }
  running_.push_back(std::unique_ptr<Running>(new Running{std::move(task), deferred, {}, nullptr, false}));
  Running& running = *running_.back();
  try {
    running.thread = std::thread([this, &running] { run_on_thread(running); });
  } catch (...) {
    running.failure = std::current_exception();
    running.done = true;
    notify();
  }
  if (running_.size() == 1) wake_.Ref(env);  // Keeps the process alive while there is work.
  return deferred.Promise();
}

void TaskRunner::run_on_thread(Running& running) {
  try {
    running.task->run();
  } catch (...) {
    running.failure = std::current_exception();
  }
  running.done = true;
  notify();
}

void TaskRunner::notify() {
  if (!wake_pending_.exchange(true)) wake_.NonBlockingCall();
}

void TaskRunner::on_wake(Napi::Env env, Napi::Function, TaskRunner* runner, void*) {
  if (static_cast<napi_env>(env) == nullptr) return;  // The environment is ending.
  runner->wake_pending_ = false;
  runner->deliver_all(env);
}

void TaskRunner::deliver_all(Napi::Env env) {
  // Listeners may start tasks: those are appended and need no visit now.
  for (auto it = running_.begin(); it != running_.end();) {
    const bool done = (*it)->done;
    (*it)->task->deliver(env);
    if (!done) {
      ++it;
      continue;
    }
    std::unique_ptr<Running> finished = std::move(*it);
    it = running_.erase(it);
    if (running_.empty()) wake_.Unref(env);
    settle(env, *finished);
  }
}

void TaskRunner::settle(Napi::Env env, Running& running) {
  if (running.thread.joinable()) running.thread.join();
  running.task->ended();
  try {
    if (running.failure) std::rethrow_exception(running.failure);
    running.deferred.Resolve(running.task->result(env));
  } catch (...) {
    running.deferred.Reject(to_js_error(env, std::current_exception()).Value());
  }
}

void TaskRunner::shut_down() {
  closed_ = true;
  for (auto& running : running_) running->task->cancel();
  for (auto& running : running_) {
    if (running->thread.joinable()) running->thread.join();
  }
}

}  // namespace pipo::binding
