#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "core/aligned_buffer.h"
#include "pipo/engine.h"
#include "platform/files.h"
#include "weights/packed_file.h"
#include "weights/packer.h"

namespace pipo {

/// A packed image, mapped or in memory, and the weights that point into it.
struct LoadedWeights {
  PackedHeader header;
  MappedFile file;
  AlignedBuffer<std::byte> memory;
  ModelWeights weights;
  bool from_packed_file = false;  ///< an existing file was used
  std::string packed_file_note;   ///< why it could not be written; empty otherwise
  bool is_mapped() const { return file.data() != nullptr; }
  /// Lets go of the image, once a device holds its own copy; `weights` point nowhere then.
  void release_image() {
    file = MappedFile();
    memory = AlignedBuffer<std::byte>();
  }
};

/// Maps the packed file of `options` when it is fresh; else packs the sources into it, or into memory when there is no
/// packed file or it cannot be written.
LoadedWeights load_weights(const ModelDescription& model, const LoadOptions& options, const LoadProgressFn& progress,
                           const std::atomic<bool>* cancelled);

/// Maps a packed file alone. Throws kBadFile or kIo.
LoadedWeights map_packed_file(const std::string& path);

/// Packs `rows` into a file that appears when complete. Throws WriteError when it cannot be written.
void pack_into_file(PackedHeader header, const RowSource& rows, const std::string& path, const PackControl& control);

/// Cores minus one, at least one, where `requested` is 0.
int worker_threads(int requested);

}  // namespace pipo
