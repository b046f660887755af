#include <napi.h>

#include <utility>

#include "binding/errors.h"
#include "binding/host_info.h"
#include "binding/load_task.h"
#include "binding/objects.h"
#include "binding/read_arguments.h"
#include "kernels/backend.h"

/// What pipo_engine.node exports: `Addon` in server/src/engine/addon.ts.
namespace pipo::binding {
namespace {

constexpr std::int64_t kMostBandwidthBytes = std::int64_t{1} << 36;
constexpr std::int64_t kMostThreads = 1024;
constexpr std::int64_t kMostPasses = 1000;

class BandwidthTask : public Task {
 public:
  BandwidthTask(std::int64_t bytes, int threads, int passes) : bytes_(bytes), threads_(threads), passes_(passes) {}
  void run() override { bytes_per_second_ = kernels::measure_read_bandwidth(bytes_, threads_, passes_); }
  Napi::Value result(Napi::Env env) override { return Napi::Number::New(env, bytes_per_second_); }

 private:
  std::int64_t bytes_;
  int threads_;
  int passes_;
  double bytes_per_second_ = 0.0;
};

TaskRunner& tasks_of(Napi::Env env) { return env.GetInstanceData<AddonData>()->tasks; }

Napi::Value load(const Napi::CallbackInfo& info) {
  return guarded_promise(info.Env(), [&]() -> Napi::Value {
    ModelDescription model = read_model(Argument(info[0], "model"));
    LoadOptions options = read_load_options(Argument(info[1], "options"));
    Napi::FunctionReference on_progress;
    if (const Argument listener(info[2], "onProgress"); !listener.is_absent()) {
      on_progress = Napi::Persistent(listener.function());
    }
    TaskRunner& tasks = tasks_of(info.Env());
    return tasks.start(info.Env(), std::make_unique<LoadTask>(std::move(model), std::move(options), tasks,
                                                              std::move(on_progress)));
  });
}

Napi::Value host_info(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value { return make_host_info(info.Env()); });
}

Napi::Value measure_read_bandwidth(const Napi::CallbackInfo& info) {
  return guarded_promise(info.Env(), [&]() -> Napi::Value {
    const auto bytes = Argument(info[0], "bytes").integer(1 << 20, kMostBandwidthBytes);
    const auto threads = static_cast<int>(Argument(info[1], "threads").integer(1, kMostThreads));
    const auto passes = static_cast<int>(Argument(info[2], "passes").integer(1, kMostPasses));
    return tasks_of(info.Env()).start(info.Env(), std::make_unique<BandwidthTask>(bytes, threads, passes));
  });
}

Napi::Object init(Napi::Env env, Napi::Object exports) {
  env.SetInstanceData(new AddonData(env));
  exports.Set("load", Napi::Function::New<load>(env, "load"));
  exports.Set("hostInfo", Napi::Function::New<host_info>(env, "hostInfo"));
  exports.Set("measureReadBandwidth", Napi::Function::New<measure_read_bandwidth>(env, "measureReadBandwidth"));
  return exports;
}

}  // namespace

AddonData::AddonData(Napi::Env env)
    : tasks(env),
      engine_class(Napi::Persistent(EngineObject::define(env))),
      session_class(Napi::Persistent(SessionObject::define(env))) {}

}  // namespace pipo::binding

static Napi::Object init_addon(Napi::Env env, Napi::Object exports) { return pipo::binding::init(env, exports); }

NODE_API_MODULE(pipo_engine, init_addon)
