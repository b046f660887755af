#include <napi.h>

#include <utility>

#include "binding/errors.h"
#include "binding/host_info.h"
#include "binding/load_task.h"
#include "binding/make_results.h"
#include "binding/make_schema.h"
#include "binding/objects.h"
#include "binding/read_arguments.h"
#include "kernels/backend.h"
#include "pipo/random_model.h"

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

/// A device is asked on a thread of its own: the driver takes its time to wake it.
class CudaInfoTask : public Task {
 public:
  void run() override { device_ = device_info(); }
  Napi::Value result(Napi::Env env) override { return make_cuda_info(env, device_); }

 private:
  DeviceInfo device_;
};

TaskRunner& tasks_of(Napi::Env env) { return env.GetInstanceData<AddonData>()->tasks; }

Napi::Value start_load(const Napi::CallbackInfo& info, LoadWork work, std::size_t listener_index) {
  Napi::FunctionReference on_progress;
  if (const Argument listener(info[listener_index], "onProgress"); !listener.is_absent()) {
    on_progress = Napi::Persistent(listener.function());
  }
  TaskRunner& tasks = tasks_of(info.Env());
  return tasks.start(info.Env(), std::make_unique<LoadTask>(std::move(work), tasks, std::move(on_progress)));
}

Napi::Value load(const Napi::CallbackInfo& info) {
  return guarded_promise(info.Env(), [&]() -> Napi::Value {
    return start_load(
        info,
        [model = read_model(Argument(info[0], "model")), options = read_load_options(Argument(info[1], "options"))](
            const LoadProgressFn& progress, const std::atomic<bool>& cancelled) {
          return Engine::load(model, options, progress, &cancelled);
        },
        2);
  });
}

Napi::Value load_packed(const Napi::CallbackInfo& info) {
  return guarded_promise(info.Env(), [&]() -> Napi::Value {
    return start_load(
        info,
        [path = Argument(info[0], "path").string(), options = read_load_options(Argument(info[1], "options"))](
            const LoadProgressFn&, const std::atomic<bool>&) { return Engine::load_packed(path, options); },
        2);
  });
}

Napi::Value pack_random(const Napi::CallbackInfo& info) {
  return guarded_promise(info.Env(), [&]() -> Napi::Value {
    return start_load(
        info,
        [config = read_config(Argument(info[0], "config")), options = read_load_options(Argument(info[1], "options")),
         path = Argument(info[2], "path").string()](const LoadProgressFn& progress, const std::atomic<bool>&) {
          write_random_packed_file(path, "random weights", config, options.dtype, options.group_size, options.threads,
                                   progress);
          return std::shared_ptr<Engine>();
        },
        3);
  });
}

Napi::Value tensor_table(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    return make_tensor_table(info.Env(), Engine::tensors(read_config(Argument(info[0], "config"))));
  });
}

Napi::Value schema(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value { return make_schema(info.Env()); });
}

Napi::Value host_info(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value { return make_host_info(info.Env()); });
}

Napi::Value cuda_info(const Napi::CallbackInfo& info) {
  return guarded_promise(info.Env(), [&]() -> Napi::Value {
    return tasks_of(info.Env()).start(info.Env(), std::make_unique<CudaInfoTask>());
  });
}

Napi::Value measure_read_bandwidth(const Napi::CallbackInfo& info) {
  return guarded_promise(info.Env(), [&]() -> Napi::Value {
    const auto bytes = Argument(info[0], "bytes").integer(1 << 20, kMostBandwidthBytes);
    const auto threads = static_cast<int>(Argument(info[1], "threads").integer(1, kMostThreads));
    const auto passes = static_cast<int>(Argument(info[2], "passes").integer(1, kMostPasses));
    return tasks_of(info.Env()).start(info.Env(), std::make_unique<BandwidthTask>(bytes, threads, passes));
  });
}

/// `process.exit()` ends a process without cleanup hooks: static objects go while threads still use them. The event
/// that announces it comes first.
void stop_at_exit(Napi::Env env) {
  const Napi::Value process = env.Global().Get("process");
  if (!process.IsObject()) return;
  const auto listener = [](const Napi::CallbackInfo& info) { tasks_of(info.Env()).shut_down(); };
  const Napi::Function on = process.As<Napi::Object>().Get("on").As<Napi::Function>();
  on.Call(process, {Napi::String::New(env, "exit"), Napi::Function::New(env, listener, "stopPipoEngine")});
}

Napi::Object init(Napi::Env env, Napi::Object exports) {
  env.SetInstanceData(new AddonData(env));
  stop_at_exit(env);
  exports.Set("load", Napi::Function::New<load>(env, "load"));
  exports.Set("loadPacked", Napi::Function::New<load_packed>(env, "loadPacked"));
  exports.Set("packRandom", Napi::Function::New<pack_random>(env, "packRandom"));
  exports.Set("tensorTable", Napi::Function::New<tensor_table>(env, "tensorTable"));
  exports.Set("schema", Napi::Function::New<schema>(env, "schema"));
  exports.Set("hostInfo", Napi::Function::New<host_info>(env, "hostInfo"));
  exports.Set("cudaInfo", Napi::Function::New<cuda_info>(env, "cudaInfo"));
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
