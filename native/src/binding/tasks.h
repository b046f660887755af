#pragma once

#include <napi.h>

#include <atomic>
#include <list>
#include <memory>
#include <thread>

namespace pipo::binding {

class TaskRunner;

/// One asynchronous call. Made and destroyed on the thread of its environment; `run` and `cancel` see no JavaScript.
class Task {
 public:
  virtual ~Task() = default;
  /// The work, on a thread of its own. What it throws rejects the promise.
  virtual void run() = 0;
  /// Asks `run` to return soon; from any thread, also before `run` starts and after it ended.
  virtual void cancel() {}
  /// Hands over what has been produced so far; asked for with `TaskRunner::notify`, and once more before `result`.
  virtual void deliver(Napi::Env) {}
  /// Once `run` has returned: the promise's value. May throw.
  virtual Napi::Value result(Napi::Env env) = 0;
  /// Once `run` has ended in any way, before the promise settles.
  virtual void ended() {}
};

/// Runs the tasks of one environment. A generation lasts seconds, so each task has its own thread and libuv's pool
/// stays free. When the environment ends, tasks are cancelled and joined before anything that they use goes away.
class TaskRunner {
 public:
  explicit TaskRunner(Napi::Env env);
  ~TaskRunner();
  TaskRunner(const TaskRunner&) = delete;
  TaskRunner& operator=(const TaskRunner&) = delete;

  /// Starts a task and returns its promise. On the environment's thread.
  Napi::Promise start(Napi::Env env, std::unique_ptr<Task> task);
  /// Makes the environment's thread call `deliver` soon. From any thread.
  void notify();
  /// Cancels and joins every task; nothing is started or settled any more.
  void shut_down();

 private:
  struct Running;
  static void on_wake(Napi::Env env, Napi::Function, TaskRunner* runner, void*);
  using Wake = Napi::TypedThreadSafeFunction<TaskRunner, void, on_wake>;

  void run_on_thread(Running& running);
  void deliver_all(Napi::Env env);
  void settle(Napi::Env env, Running& running);

  Wake wake_;
  std::atomic<bool> wake_pending_{false};
  std::list<std::unique_ptr<Running>> running_;
  bool closed_ = false;
};

}  // namespace pipo::binding
