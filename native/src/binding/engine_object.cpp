#include <utility>

#include "binding/errors.h"
#include "binding/make_results.h"
#include "binding/objects.h"
#include "binding/read_arguments.h"

namespace pipo::binding {
namespace {

/// Waits for running requests away from the event loop, then frees everything.
class CloseTask : public Task {
 public:
  explicit CloseTask(std::shared_ptr<EngineState> state) : state_(std::move(state)) {}
  void run() override { state_->release(); }
  Napi::Value result(Napi::Env env) override { return env.Undefined(); }

 private:
  std::shared_ptr<EngineState> state_;
};

}  // namespace

Napi::Function EngineObject::define(Napi::Env env) {
  return DefineClass(
      env, "NativeEngine",
      {InstanceMethod<&EngineObject::create_session>("createSession"), InstanceMethod<&EngineObject::close>("close")});
}

Napi::Object EngineObject::make(Napi::Env env, std::shared_ptr<Engine> engine) {
  auto state = std::make_shared<EngineState>(std::move(engine));
  Napi::Object object = env.GetInstanceData<AddonData>()->engine_class.New({Napi::External<void>::New(env, &state)});
  object.Set("info", make_info(env, state->engine().info()));
  return object;
}

EngineObject::EngineObject(const Napi::CallbackInfo& info) : ObjectWrap(info) {
  if (!info[0].IsExternal()) {
    throw to_js_error(info.Env(), Error(ErrorCode::kBadRequest, "Engines come from load(), not from a constructor."));
  }
  state_ = *static_cast<std::shared_ptr<EngineState>*>(info[0].As<Napi::External<void>>().Data());
}

Napi::Value EngineObject::create_session(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    if (state_->is_closed()) throw Error(ErrorCode::kClosed, "The engine is closed. Load the model again.");
    const auto positions = Argument(info[0], "options").field("maxPositions").integer(1, kMostPositions);
    auto session = state_->engine().create_session(static_cast<std::int32_t>(positions));
    auto state = std::make_shared<SessionState>(state_, std::move(session));
    state_->add(state);
    return SessionObject::make(info.Env(), std::move(state));
  });
}

Napi::Value EngineObject::close(const Napi::CallbackInfo& info) {
  return guarded_promise(info.Env(), [&]() -> Napi::Value {
    state_->close();
    return info.Env().GetInstanceData<AddonData>()->tasks.start(info.Env(), std::make_unique<CloseTask>(state_));
  });
}

}  // namespace pipo::binding
