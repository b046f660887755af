#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "pipo/engine.h"
#include "pipo/model_description.h"
#include "weights/weight_map.h"

namespace pipo {

/// One tensor in the packed image. Matrices are in panel layout, the rest are plain fp32.
struct PackedTensor {
  std::string name;
  bool is_matrix = false;
  kernels::WeightType type = kernels::WeightType::kF32;
  std::int32_t group = 0;
  std::int32_t n = 0;  ///< rows; 1 for vectors
  std::int32_t k = 0;  ///< columns; all elements for vectors
  std::uint64_t offset = 0;
  std::uint64_t bytes = 0;

  bool operator==(const PackedTensor&) const = default;
};

/// The head of a packed file: everything needed to use the rest, and to know what it was made from.
/// Layout of the file: preamble (magic, version, sizes, checksums), header fields, tensors at 64-byte offsets.
struct PackedHeader {
  std::string name;
  std::string fingerprint;
  ModelConfig config;
  WeightDtype dtype = WeightDtype::kInt8;
  std::int32_t group_size = 0;
  std::vector<PackedTensor> tensors;
  std::uint64_t header_bytes = 0;
  std::uint64_t file_bytes = 0;
  std::uint64_t body_checksum = 0;
};

/// Plans where every tensor of a described model goes. Throws kUnsupported when the dtype or group cannot hold a matrix.
PackedHeader plan_packed(const ModelDescription& model, WeightDtype dtype, std::int32_t group_size);

/// The same for a config without files; the dtype is none that depends on them.
PackedHeader plan_packed(const std::string& name, const std::string& fingerprint, const ModelConfig& config,
                         WeightDtype dtype, std::int32_t group_size);

std::vector<std::byte> encode_header(const PackedHeader& header);

/// Reads and checks the head of a packed file of `file.size()` bytes: magic, version, checksum, size, and that the
/// tensors lie where this version would put them. Throws kBadFile with the reason.
PackedHeader decode_header(std::span<const std::byte> file);

/// Bodies up to this size are checked at load; for larger ones, reading everything would cost more than loading.
inline constexpr std::uint64_t kCheckedBodyBytes = 128u << 20;
std::uint64_t body_checksum(const PackedHeader& header, std::span<const std::byte> file);

/// Points the fields of `weights` into an image that starts at `image`; without one they are shapes only.
void bind_weights(const PackedHeader& header, const std::byte* image, ModelWeights& weights);

}  // namespace pipo
