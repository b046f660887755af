#pragma once

#include <napi.h>

#include <memory>

#include "binding/state.h"
#include "binding/tasks.h"

namespace pipo::binding {

/// What one environment holds: freed with it.
struct AddonData {
  explicit AddonData(Napi::Env env);

  TaskRunner tasks;
  Napi::FunctionReference engine_class;
  Napi::FunctionReference session_class;
};

/// `NativeEngine` of the contract.
class EngineObject : public Napi::ObjectWrap<EngineObject> {
 public:
  static Napi::Function define(Napi::Env env);
  static Napi::Object make(Napi::Env env, std::shared_ptr<Engine> engine);
  explicit EngineObject(const Napi::CallbackInfo& info);

 private:
  Napi::Value create_session(const Napi::CallbackInfo& info);
  Napi::Value close(const Napi::CallbackInfo& info);

  std::shared_ptr<EngineState> state_;
};

/// `EngineSession` of the contract.
class SessionObject : public Napi::ObjectWrap<SessionObject> {
 public:
  static Napi::Function define(Napi::Env env);
  static Napi::Object make(Napi::Env env, std::shared_ptr<SessionState> state);
  explicit SessionObject(const Napi::CallbackInfo& info);

 private:
  Napi::Value generate(const Napi::CallbackInfo& info);
  Napi::Value inspect(const Napi::CallbackInfo& info);
  void cancel(const Napi::CallbackInfo& info);
  void reset(const Napi::CallbackInfo& info);
  void close(const Napi::CallbackInfo& info);

  std::shared_ptr<SessionState> state_;
};

}  // namespace pipo::binding
