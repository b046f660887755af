#include <condition_variable>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "binding/errors.h"
#include "binding/make_results.h"
#include "binding/objects.h"
#include "binding/read_arguments.h"

namespace pipo::binding {
namespace {

constexpr std::int64_t kMostTop = 1 << 20;

/// A task that has the session to itself from `begin_request` to `end_request`.
class SessionTask : public Task {
 public:
  explicit SessionTask(std::shared_ptr<SessionState> state) : state_(std::move(state)), scope_(state_->engine()) {}
  void cancel() override { state_->cancel(); }
  void ended() override { state_->end_request(); }

 protected:
  Session& session() { return state_->session(); }
  bool is_cancelled() const { return state_->is_cancelled(); }
  const std::atomic<bool>* cancelled_flag() const { return state_->cancelled_flag(); }
  StopReason reason_of_cancelling() const {
    return state_->is_engine_closed() ? StopReason::kEngineClosed : StopReason::kCancelled;
  }
  /// The work is over: the engine may be freed, though the promise has not settled yet.
  void leave_engine() { scope_.reset(); }

 private:
  std::shared_ptr<SessionState> state_;
  std::optional<EngineState::RequestScope> scope_;
};

class GenerateTask : public SessionTask {
 public:
  GenerateTask(std::shared_ptr<SessionState> state, GenerateRequest request, TaskRunner& tasks,
               Napi::FunctionReference on_step)
      : SessionTask(std::move(state)), request_(std::move(request)), tasks_(tasks), on_step_(std::move(on_step)) {}

  void run() override {
    const LeaveAtEnd leave(*this);
    request_.cancelled = cancelled_flag();
    result_ = session().generate(request_, [this](const Step& step) { return keep_going_after(step); });
    // A cancel that came between steps was obeyed by the listener; say what the caller asked for.
    const bool was_stopped =
        result_.stop_reason == StopReason::kListenerStopped || result_.stop_reason == StopReason::kCancelled;
    if (is_cancelled() && was_stopped) result_.stop_reason = reason_of_cancelling();
  }

  void cancel() override {
    SessionTask::cancel();
    const std::lock_guard lock(mutex_);  // or the wake-up could fall between the waiter's look and its sleep
    answered_.notify_all();
  }

  void deliver(Napi::Env env) override {
    std::vector<Step> steps;
    {
      const std::lock_guard lock(mutex_);
      steps.swap(waiting_);
    }
    for (const Step& step : steps) {
      if (!listener_stopped_) call_listener(env, step);
      const std::lock_guard lock(mutex_);
      n_answered_++;
      answered_.notify_all();
    }
  }

  Napi::Value result(Napi::Env env) override {
    if (listener_error_) throw *listener_error_;
    return make_generate_result(env, result_);
  }

 private:
  struct LeaveAtEnd {
    explicit LeaveAtEnd(GenerateTask& task) : task(task) {}
    ~LeaveAtEnd() { task.leave_engine(); }
    GenerateTask& task;
  };

  /// On the generating thread. The engine is at most one step ahead of the listener, so that what a listener does not
  /// want is hardly computed, and an answer in time costs nothing.
  bool keep_going_after(const Step& step) {
    if (!has_listener_) return !is_cancelled();
    std::unique_lock lock(mutex_);
    waiting_.push_back(step);
    n_produced_++;
    tasks_.notify();
    answered_.wait(lock, [this] { return n_produced_ <= n_answered_ + 1 || is_cancelled(); });
    return !listener_stopped_ && !is_cancelled();
  }

  void call_listener(Napi::Env env, const Step& step) {
    const Napi::HandleScope scope(env);
    try {
      const Napi::Value answer = on_step_.Call({make_step(env, step)});
      if (answer.IsBoolean() && !answer.As<Napi::Boolean>().Value()) listener_stopped_ = true;
    } catch (const Napi::Error& error) {
      listener_error_ = error;
      listener_stopped_ = true;
    }
  }

  GenerateRequest request_;
  TaskRunner& tasks_;
  Napi::FunctionReference on_step_;
  const bool has_listener_ = !on_step_.IsEmpty();
  std::optional<Napi::Error> listener_error_;
  std::atomic<bool> listener_stopped_{false};
  std::mutex mutex_;  // guards the fields up to answered_
  std::vector<Step> waiting_;
  std::int64_t n_produced_ = 0;
  std::int64_t n_answered_ = 0;
  std::condition_variable answered_;
  GenerateResult result_;
};

class InspectTask : public SessionTask {
 public:
  InspectTask(std::shared_ptr<SessionState> state, std::vector<std::int32_t> ids, DecodeMode mode, std::int32_t top,
              bool with_logits)
      : SessionTask(std::move(state)), ids_(std::move(ids)), mode_(mode), top_(top), with_logits_(with_logits) {}

  void run() override {
    if (is_cancelled()) throw Error(ErrorCode::kCancelled, "The inspection was cancelled.");
    positions_ = session().inspect(ids_, mode_, top_, /*with_hidden=*/false, with_logits_);
    leave_engine();
  }
  Napi::Value result(Napi::Env env) override { return make_inspection(env, positions_); }

 private:
  std::vector<std::int32_t> ids_;
  DecodeMode mode_;
  std::int32_t top_;
  bool with_logits_;
  std::vector<InspectedPosition> positions_;
};

}  // namespace

Napi::Function SessionObject::define(Napi::Env env) {
  return DefineClass(
      env, "EngineSession",
      {InstanceMethod<&SessionObject::generate>("generate"), InstanceMethod<&SessionObject::inspect>("inspect"),
       InstanceMethod<&SessionObject::cancel>("cancel"), InstanceMethod<&SessionObject::reset>("reset"),
       InstanceMethod<&SessionObject::close>("close")});
}

Napi::Object SessionObject::make(Napi::Env env, std::shared_ptr<SessionState> state) {
  return env.GetInstanceData<AddonData>()->session_class.New({Napi::External<void>::New(env, &state)});
}

SessionObject::SessionObject(const Napi::CallbackInfo& info) : ObjectWrap(info) {
  if (!info[0].IsExternal()) {
    throw to_js_error(info.Env(),
                      Error(ErrorCode::kBadRequest, "Sessions come from createSession(), not from a constructor."));
  }
  state_ = *static_cast<std::shared_ptr<SessionState>*>(info[0].As<Napi::External<void>>().Data());
}

Napi::Value SessionObject::generate(const Napi::CallbackInfo& info) {
  return guarded_promise(info.Env(), [&]() -> Napi::Value {
    GenerateRequest request = read_generate_request(Argument(info[0], "request"));
    Napi::FunctionReference on_step;
    if (const Argument listener(info[1], "onStep"); !listener.is_absent())
      on_step = Napi::Persistent(listener.function());
    TaskRunner& tasks = info.Env().GetInstanceData<AddonData>()->tasks;
    state_->begin_request();
    return tasks.start(info.Env(),
                       std::make_unique<GenerateTask>(state_, std::move(request), tasks, std::move(on_step)));
  });
}

Napi::Value SessionObject::inspect(const Napi::CallbackInfo& info) {
  return guarded_promise(info.Env(), [&]() -> Napi::Value {
    auto ids = Argument(info[0], "ids").int32_array();
    const DecodeMode mode = read_decode_mode(Argument(info[1], "mode"));
    const auto top = static_cast<std::int32_t>(Argument(info[2], "top").integer(1, kMostTop));
    const Argument logits(info[3], "withLogits");
    const bool with_logits = !logits.is_absent() && logits.boolean();
    state_->begin_request();
    return info.Env().GetInstanceData<AddonData>()->tasks.start(
        info.Env(), std::make_unique<InspectTask>(state_, std::move(ids), mode, top, with_logits));
  });
}

void SessionObject::cancel(const Napi::CallbackInfo&) { state_->cancel(); }

void SessionObject::reset(const Napi::CallbackInfo& info) {
  guarded(info.Env(), [&] { state_->reset(); });
}

void SessionObject::close(const Napi::CallbackInfo& info) {
  guarded(info.Env(), [&] { state_->close(); });
}

}  // namespace pipo::binding
