#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "cache/state_shape.h"
#include "kernels/backend.h"
#include "kernels/cuda_library.h"
#include "model/model.h"
#include "pipo/engine.h"
#include "pipo/error.h"
#include "weights/load_weights.h"

namespace pipo {

/// What a timeline of the model remembers: keys and values in fp32 where the weights are.
StateShape state_shape(const PackedHeader& header);

/// A model that can run, and what is to be told about where it runs.
struct OpenedModel {
  std::unique_ptr<kernels::Backend> backend;  ///< what the model computes with on the CPU; else null
  std::unique_ptr<Model> model;
  std::string backend_name;
  std::string device;  ///< empty on the CPU
  std::string note;
  std::int32_t threads = 1;
};

/// Chooses where a model runs: on the device or on the CPU, by what is asked for, what there is, and what fits. An
/// automatic choice falls back to the CPU, and the note says why.
class ModelOpener {
 public:
  /// Throws kUnsupported with the reason when the CPU's kernels that are asked for cannot be had.
  explicit ModelOpener(const LoadOptions& options);

  /// Opens the device, if it is to be that, and sees whether a model of these shapes fits, before any packing. Throws
  /// kNotEnoughMemory or kUnsupported with the reason and the figures.
  void check_fit(const PackedHeader& planned);
  /// `loaded` keeps its image only where the model needs it. Throws as Engine::load.
  OpenedModel open(LoadedWeights& loaded, const LoadProgressFn& progress, const std::atomic<bool>* cancelled);

 private:
  void open_cpu();
  void open_device(const PackedHeader& planned);
  void require_host_memory(const PackedHeader& planned) const;
  OpenedModel open_on_device(LoadedWeights& loaded, const LoadProgressFn& progress, const std::atomic<bool>* cancelled);
  /// Throws kUnsupported when the device computes other results than the CPU.
  void verify(Model& device, const LoadedWeights& loaded) const;
  OpenedModel open_on_cpu(const LoadedWeights& loaded);
  /// Throws `why` where the device was asked for by name.
  void give_up_device(const Error& why);

  LoadOptions options_;
  std::string wanted_;
  std::shared_ptr<kernels::CudaLibrary> cuda_;
  std::unique_ptr<kernels::Backend> cpu_;
  std::string note_;
};

}  // namespace pipo
