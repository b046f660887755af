#include "weights/load_weights.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <optional>
#include <thread>

#include "pipo/error.h"
#include "weights/check_model.h"
#include "weights/disk_dtype.h"
#include "weights/packer.h"
#include "weights/tensor_reader.h"

namespace pipo {
namespace {

std::span<const std::byte> bytes_of(const MappedFile& file) { return {file.data(), file.size()}; }

/// Opens all sources of a model, checked, as rows for the packer.
class Sources final : public RowSource {
 public:
  explicit Sources(const ModelDescription& model) {
    check_tensors(model);
    for (const TensorSource& tensor : model.tensors) {
      if (is_ignored_tensor(model.config, tensor.name)) continue;
      reader_.open(tensor);
      by_name_[tensor.name] = &tensor;
    }
  }

  void read_rows(const WeightSpec& spec, std::int64_t first_row, std::int64_t n_rows, float* out,
                 std::vector<std::byte>& scratch) const override {
    reader_.read_rows(*by_name_.at(spec.name), first_row, n_rows, out, scratch);
  }

  bool pack_rows(const WeightSpec& spec, const PackedTensor& tensor, std::int64_t first_row, std::int64_t n_rows,
                 std::byte* packed, std::vector<std::byte>& scratch) const override {
    const TensorSource& source = *by_name_.at(spec.name);
    const auto format = block_format(source.ref.dtype);
    if (!format || source.lora || kernels::stored_type(*format) != tensor.type) return false;
    reader_.read_stored(source.ref, first_row, n_rows, scratch);
    const auto n = static_cast<int>(n_rows);
    require_packed(tensor, kernels::pack_blocks(*format, tensor.type, n, tensor.k, 0, n, scratch.data(), packed));
    return true;
  }

 private:
  TensorReader reader_;
  std::map<std::string, const TensorSource*> by_name_;
};

PackControl pack_control(const LoadOptions& options, const LoadProgressFn& progress,
                         const std::atomic<bool>* cancelled) {
  PackControl control;
  control.threads = worker_threads(options.threads);
  control.cancelled = cancelled;
  if (progress) control.progress = [&progress](double fraction) { progress(LoadStage::kPacking, 0.95 * fraction); };
  return control;
}

AlignedBuffer<std::byte> pack_into_memory(const PackedHeader& header, const Sources& sources,
                                          const PackControl& control) {
  AlignedBuffer<std::byte> memory(header.file_bytes);
  pack_tensors(
      header, sources,
      [&memory](std::uint64_t at, std::span<const std::byte> b) {
        std::memcpy(memory.data() + at, b.data(), b.size());
      },
      control);
  return memory;
}

/// The packed file, when it exists, is whole, and was made from these sources with these options.
std::optional<LoadedWeights> map_fresh(const ModelDescription& model, const LoadOptions& options) {
  if (options.packed_file.empty() || !file_exists(options.packed_file)) return std::nullopt;
  try {
    LoadedWeights loaded = map_packed_file(options.packed_file);
    const PackedHeader& found = loaded.header;
    const bool fresh = found.fingerprint == model.fingerprint && found.dtype == options.dtype &&
                       found.group_size == options.group_size && found.config == model.config;
    if (fresh) {
      loaded.from_packed_file = true;
      return loaded;
    }
  } catch (const Error&) {
    // Whatever is wrong with it, packing again is the cure.
  }
  return std::nullopt;
}

}  // namespace

void pack_into_file(PackedHeader header, const RowSource& rows, const std::string& path, const PackControl& control) {
  AtomicFile out(path);
  pack_tensors(header, rows, [&out](std::uint64_t at, std::span<const std::byte> b) { out.write(at, b); }, control);
  out.resize(header.file_bytes);
  header.body_checksum = body_checksum(header, bytes_of(MappedFile(out.temporary_path())));
  out.write(0, encode_header(header));
  out.commit();
}

LoadedWeights map_packed_file(const std::string& path) {
  LoadedWeights loaded;
  loaded.file = MappedFile(path);
  try {
    loaded.header = decode_header(bytes_of(loaded.file));
  } catch (const Error& error) {
    throw Error(error.code(), path + " cannot be used: " + error.what() + "; delete it, it will be made again");
  }
  bind_weights(loaded.header, loaded.file.data(), loaded.weights);
  return loaded;
}

LoadedWeights load_weights(const ModelDescription& model, const LoadOptions& options, const LoadProgressFn& progress,
                           const std::atomic<bool>* cancelled) {
  if (auto fresh = map_fresh(model, options)) return std::move(*fresh);
  const Sources sources(model);
  const PackedHeader header = plan_packed(model, options.dtype, options.group_size);
  const PackControl control = pack_control(options, progress, cancelled);
  std::string note;
  if (!options.packed_file.empty()) {
    try {
      pack_into_file(header, sources, options.packed_file, control);
      if (progress) progress(LoadStage::kMapping, 0.95);
      return map_packed_file(options.packed_file);
    } catch (const WriteError& error) {
      note = std::string(error.what()) + "; the weights are kept in memory and packed again next time";
    }
  }
  LoadedWeights loaded;
  loaded.memory = pack_into_memory(header, sources, control);
  loaded.header = header;
  loaded.packed_file_note = std::move(note);
  bind_weights(loaded.header, loaded.memory.data(), loaded.weights);
  return loaded;
}

int worker_threads(int requested) {
  if (requested > 0) return requested;
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()) - 1);
}

}  // namespace pipo
