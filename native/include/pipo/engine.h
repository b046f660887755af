#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "pipo/error.h"
#include "pipo/model_description.h"
#include "pipo/request.h"

namespace pipo {

/// How decode steps run on a device.
enum class DeviceStepping : std::uint8_t {
  kGraph = 0,     ///< one launch per step
  kLaunches = 1,  ///< the same kernels, launched one by one
  kEager = 2,     ///< operation by operation, sampled on the host: slow, to compare with
};

struct CudaOptions {
  std::string library;  ///< empty: pipo_cuda beside the module that holds the engine
  std::string driver;   ///< empty: the system's
  DeviceStepping stepping = DeviceStepping::kGraph;
  bool verify = true;  ///< a device that computes other results than the CPU is not used
  /// Weights from which on an automatic choice is the device: smaller models are quick on the CPU, and spare the time and
  /// memory that waking a device takes.
  std::int64_t least_weight_bytes = 100 << 20;
};

struct LoadOptions {
  WeightDtype dtype = WeightDtype::kInt8;
  std::int32_t group_size = 32;  ///< 32 or 64
  std::int32_t threads = 0;      ///< 0: cores - 1
  std::string packed_file;       ///< empty: pack in memory only
  /// "cuda", "cpu", or kernels of the CPU by name; "auto" (or empty, unless PIPO_KERNELS says otherwise) is CUDA where
  /// it can be used and the model fits, else the CPU.
  std::string kernels;
  CudaOptions cuda;
};

enum class LoadStage : std::uint8_t { kChecking, kPacking, kMapping, kUploading, kReady };
using LoadProgressFn = std::function<void(LoadStage stage, double fraction)>;

struct EngineInfo {
  std::string name;
  std::string backend;       ///< "cuda", or the name of the CPU's kernels
  std::string device;        ///< the device's name; empty on the CPU
  std::string backend_note;  ///< why an automatic choice is not the device; empty when there is nothing to say
  std::int32_t threads = 0;
  WeightDtype dtype = WeightDtype::kInt8;
  std::int32_t group_size = 0;
  std::int64_t weight_bytes = 0;
  std::int64_t backbone_bytes_per_step = 0;
  std::int64_t draft_bytes_per_step = 0;
  std::int64_t head_bytes = 0;
  std::int64_t parameters = 0;
  std::vector<DecodeMode> modes;
  bool from_packed_file = false;
  std::string packed_file_note;
  double load_ms = 0.0;
};

/// The NVIDIA device that an automatic choice takes, or why there is none.
struct DeviceInfo {
  std::string reason;  ///< in words; empty where there is a device
  std::string name;
  std::string capability, driver;  ///< "9.0", and the newest CUDA version that the driver supports: "13.0"
  std::int64_t total_bytes = 0, free_bytes = 0;
};
/// Wakes the driver, which takes its time.
DeviceInfo device_info();

/// A tensor that a model of some config must have.
struct TensorSpec {
  std::string name;
  std::vector<std::int64_t> shape;
};

class Session;

/// A loaded model: read-only weights and the backend that runs them. Shared by its sessions; sessions of one engine
/// take turns on the workers, step by step.
class Engine : public std::enable_shared_from_this<Engine> {
 public:
  /// Loads a described model, from its packed file when that is fresh. Throws pipo::Error; `cancelled` is polled.
  static std::shared_ptr<Engine> load(const ModelDescription& model, const LoadOptions& options,
                                      const LoadProgressFn& progress = {},
                                      const std::atomic<bool>* cancelled = nullptr);
  /// Loads a packed file alone, without its sources (tools and tests without Node).
  static std::shared_ptr<Engine> load_packed(const std::string& path, const LoadOptions& options);

  /// Every tensor of a model of this config. Throws kBadConfig for one that cannot run.
  static std::vector<TensorSpec> tensors(const ModelConfig& config);

  virtual ~Engine() = default;
  virtual const EngineInfo& info() const = 0;
  virtual const ModelConfig& config() const = 0;
  /// `max_positions` bounds the session's memory; throws kNotEnoughMemory with the figures.
  virtual std::unique_ptr<Session> create_session(std::int32_t max_positions) = 0;
  /// Ends running requests with kEngineClosed, from any thread, without waiting for them; later ones throw kClosed.
  virtual void close() = 0;
};

}  // namespace pipo
