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

enum class WeightDtype : std::uint8_t { kF32 = 0, kBf16 = 1, kInt8 = 2, kInt4 = 3 };

struct LoadOptions {
  WeightDtype dtype = WeightDtype::kInt8;
  std::int32_t group_size = 32;  ///< 32 or 64
  std::int32_t threads = 0;      ///< 0: cores - 1
  std::string packed_file;       ///< empty: pack in memory only
  std::string kernels;           ///< empty: automatic
};

enum class LoadStage : std::uint8_t { kChecking, kPacking, kMapping, kReady };
using LoadProgressFn = std::function<void(LoadStage stage, double fraction)>;

struct EngineInfo {
  std::string name;
  std::string backend;
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
  /// Writes the packed file of a model and nothing else.
  static void pack(const ModelDescription& model, const LoadOptions& options, const LoadProgressFn& progress = {},
                   const std::atomic<bool>* cancelled = nullptr);

  virtual ~Engine() = default;
  virtual const EngineInfo& info() const = 0;
  virtual const ModelConfig& config() const = 0;
  /// `max_positions` bounds the session's memory; throws kNotEnoughMemory with the figures.
  virtual std::unique_ptr<Session> create_session(std::int32_t max_positions) = 0;
  /// Ends running requests with kEngineClosed, from any thread, without waiting for them; later ones throw kClosed.
  virtual void close() = 0;
};

}  // namespace pipo
