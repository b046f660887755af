#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "pipo/model_description.h"
#include "platform/files.h"

namespace pipo {

/// Reads rows of described tensors as fp32, LoRA merged. Usable from several threads after `open`.
class TensorReader {
 public:
  /// Opens the tensor's files and checks every bound against their real sizes. Throws kBadFile or kIo, naming both.
  void open(const TensorSource& tensor);

  /// Rows of the tensor seen as [shape[0], rest]. `scratch` is reused between calls.
  void read_rows(const TensorSource& tensor, std::int64_t first_row, std::int64_t n_rows, float* out,
                 std::vector<std::byte>& scratch) const;
  /// The same rows as they are stored, LoRA not merged, in the engine's order of rows.
  void read_stored(const TensorRef& ref, std::int64_t first_row, std::int64_t n_rows, std::vector<std::byte>& out) const;

 private:
  void open_ref(const std::string& name, const TensorRef& ref);
  void read(const TensorRef& ref, std::int64_t first_row, std::int64_t n_rows, float* out,
            std::vector<std::byte>& scratch) const;
  void add_lora(const LoraRef& lora, std::int64_t first_row, std::int64_t n_rows, float* out,
                std::vector<std::byte>& scratch) const;

  std::map<std::string, std::unique_ptr<ReadFile>> files_;
};

/// Elements of a row of the tensor seen as [shape[0], rest].
inline std::int64_t row_width(const TensorRef& ref) {
  std::int64_t width = 1;
  for (std::size_t i = 1; i < ref.shape.size(); ++i) width *= ref.shape[i];
  return width;
}

}  // namespace pipo
