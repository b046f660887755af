#include "weights/packed_file.h"

#include <cstring>
#include <functional>
#include <limits>
#include <map>
#include <string_view>

#include "weights/byte_stream.h"
#include "weights/config_document.h"

namespace pipo {
namespace {

constexpr char kMagic[8] = {'P', 'I', 'P', 'O', 'P', 'A', 'C', 'K'};
/// Raised whenever the header, the placement or the panel layout changes.
constexpr std::uint32_t kVersion = 2;
/// magic, version, reserved, header bytes, file bytes, checksum of the header fields, checksum of the body.
constexpr std::size_t kPreambleBytes = 8 + 4 + 4 + 8 + 8 + 8 + 8;

std::uint64_t aligned(std::uint64_t offset) {
  constexpr std::uint64_t align = kernels::kPackedAlign;
  return (offset + align - 1) / align * align;
}

std::vector<std::byte> encode_fields(const PackedHeader& h) {
  ByteWriter out;
  out.text(h.name);
  out.text(h.fingerprint);
  out.value(h.dtype);
  out.value(h.group_size);
  out.text(write_config_document(h.config));
  out.value(static_cast<std::uint32_t>(h.tensors.size()));
  for (const PackedTensor& t : h.tensors) {
    out.text(t.name);
    out.value(static_cast<std::uint8_t>(t.is_matrix));
    out.value(t.type);
    out.value(t.group);
    out.value(t.n);
    out.value(t.k);
    out.value(t.offset);
    out.value(t.bytes);
  }
  return std::move(out.bytes());
}

PackedHeader decode_fields(std::span<const std::byte> bytes) {
  ByteReader in(bytes);
  PackedHeader h;
  h.name = in.text();
  h.fingerprint = in.text();
  in.into(h.dtype);
  in.into(h.group_size);
  h.config = read_config_document(in.text());
  const auto count = in.value<std::uint32_t>();
  for (std::uint32_t i = 0; i < count; ++i) {
    PackedTensor& t = h.tensors.emplace_back();
    t.name = in.text();
    t.is_matrix = in.value<std::uint8_t>() != 0;
    in.into(t.type);
    in.into(t.group);
    in.into(t.n);
    in.into(t.k);
    in.into(t.offset);
    in.into(t.bytes);
  }
  return h;
}

/// Inputs per scale: the load's for what is rounded here, a file's own blocks for what keeps them.
std::int32_t group_of(kernels::WeightType type, std::int32_t group_size) {
  using kernels::WeightType;
  if (type == WeightType::kF32 || type == WeightType::kBf16) return 0;
  return type == WeightType::kInt8 || type == WeightType::kInt4 ? group_size : 32;
}

PackedTensor plan_tensor(const WeightSpec& spec, kernels::WeightType type, std::int32_t group_size) {
  PackedTensor t;
  t.name = spec.name;
  t.is_matrix = spec.is_matrix();
  const std::int64_t rows = t.is_matrix ? spec.shape[0] : 1, columns = t.is_matrix ? spec.shape[1] : spec.elements();
  if (columns > std::numeric_limits<std::int32_t>::max() || rows > std::numeric_limits<std::int32_t>::max()) {
    throw Error(ErrorCode::kUnsupported, spec.name + " is too large");
  }
  t.n = static_cast<std::int32_t>(rows);
  t.k = static_cast<std::int32_t>(columns);
  if (!t.is_matrix) {
    t.bytes = static_cast<std::uint64_t>(columns) * sizeof(float);
    return t;
  }
  t.type = type;
  t.group = group_of(type, group_size);
  t.bytes = static_cast<std::uint64_t>(kernels::packed_bytes(t.type, t.group, t.n, t.k));
  if (t.bytes == 0) {
    throw Error(ErrorCode::kUnsupported,
                "group size " + std::to_string(group_size) + " does not suit " + spec.name + "; choose 32 or 64");
  }
  return t;
}

/// The weight type of a matrix, asked for by its place in the weight map.
using TypeOf = std::function<kernels::WeightType(const WeightSpec& spec, std::size_t index)>;

void plan_tensors(PackedHeader& h, const TypeOf& type_of) {
  ModelWeights unused;
  const std::vector<WeightSpec> specs = map_weights(h.config, unused);
  h.tensors.clear();
  for (std::size_t i = 0; i < specs.size(); ++i) {
    const auto type = specs[i].is_matrix() ? type_of(specs[i], i) : kernels::WeightType::kF32;
    h.tensors.push_back(plan_tensor(specs[i], type, h.group_size));
  }
  h.header_bytes = aligned(kPreambleBytes + encode_fields(h).size());
  std::uint64_t offset = h.header_bytes;
  for (PackedTensor& t : h.tensors) {
    t.offset = offset;
    offset = aligned(offset + t.bytes);
  }
  h.file_bytes = offset;
}

PackedHeader empty_header(const std::string& name, const std::string& fingerprint, const ModelConfig& config,
                          WeightDtype dtype, std::int32_t group_size) {
  PackedHeader h;
  h.name = name;
  h.fingerprint = fingerprint;
  h.config = config;
  h.dtype = dtype;
  h.group_size = group_size;
  return h;
}

}  // namespace

PackedHeader plan_packed(const ModelDescription& model, WeightDtype dtype, std::int32_t group_size) {
  std::map<std::string, DiskDtype> stored;
  for (const TensorSource& tensor : model.tensors) stored[tensor.name] = tensor.ref.dtype;
  PackedHeader h = empty_header(model.name, model.fingerprint, model.config, dtype, group_size);
  plan_tensors(h, [&](const WeightSpec& spec, std::size_t) {
    const auto found = stored.find(spec.name);
    return weight_type(spec.role, dtype, found == stored.end() ? DiskDtype::kF32 : found->second);
  });
  return h;
}

PackedHeader plan_packed(const std::string& name, const std::string& fingerprint, const ModelConfig& config,
                         WeightDtype dtype, std::int32_t group_size) {
  PackedHeader h = empty_header(name, fingerprint, config, dtype, group_size);
  plan_tensors(h, [dtype](const WeightSpec& spec, std::size_t) { return weight_type(spec.role, dtype); });
  return h;
}

std::vector<std::byte> encode_header(const PackedHeader& h) {
  const std::vector<std::byte> fields = encode_fields(h);
  ByteWriter out;
  for (const char c : kMagic) out.value(c);
  out.value(kVersion);
  out.value(static_cast<std::uint32_t>(fields.size()));
  out.value(h.header_bytes);
  out.value(h.file_bytes);
  out.value(checksum(fields));
  out.value(h.body_checksum);
  std::vector<std::byte>& bytes = out.bytes();
  bytes.insert(bytes.end(), fields.begin(), fields.end());
  bytes.resize(h.header_bytes);
  return std::move(bytes);
}

PackedHeader decode_header(std::span<const std::byte> file) {
  ByteReader in(file);
  char magic[8];
  for (char& c : magic) in.into(c);
  if (std::memcmp(magic, kMagic, sizeof magic) != 0) throw Error(ErrorCode::kBadFile, "it is not a packed model");
  if (in.value<std::uint32_t>() != kVersion) {
    throw Error(ErrorCode::kBadFile, "it was written by another version");
  }
  const auto fields_bytes = in.value<std::uint32_t>();
  const auto header_bytes = in.value<std::uint64_t>();
  const auto file_bytes = in.value<std::uint64_t>();
  const auto fields_checksum = in.value<std::uint64_t>();
  const auto stored_body_checksum = in.value<std::uint64_t>();
  if (file_bytes != file.size()) throw Error(ErrorCode::kBadFile, "its size is not what it was when written");
  if (kPreambleBytes + fields_bytes > file.size()) throw Error(ErrorCode::kBadFile, "its header ends too early");
  const auto fields = file.subspan(kPreambleBytes, fields_bytes);
  if (checksum(fields) != fields_checksum) throw Error(ErrorCode::kBadFile, "its header is damaged");

  PackedHeader h = decode_fields(fields);
  h.body_checksum = stored_body_checksum;
  PackedHeader planned = empty_header(h.name, h.fingerprint, h.config, h.dtype, h.group_size);
  plan_tensors(planned, [&h](const WeightSpec&, std::size_t index) {
    return index < h.tensors.size() ? h.tensors[index].type : kernels::WeightType::kF32;
  });
  if (planned.tensors != h.tensors || planned.header_bytes != header_bytes || planned.file_bytes != file_bytes) {
    throw Error(ErrorCode::kBadFile, "its tensors are laid out by another version");
  }
  h.header_bytes = header_bytes;
  h.file_bytes = file_bytes;
  if (body_checksum(h, file) != stored_body_checksum) throw Error(ErrorCode::kBadFile, "its weights are damaged");
  return h;
}

std::uint64_t body_checksum(const PackedHeader& h, std::span<const std::byte> file) {
  if (h.file_bytes - h.header_bytes > kCheckedBodyBytes) return 0;
  return checksum(file.subspan(h.header_bytes, h.file_bytes - h.header_bytes));
}

void bind_weights(const PackedHeader& header, const std::byte* image, ModelWeights& weights) {
  const std::vector<WeightSpec> specs = map_weights(header.config, weights);
  for (std::size_t i = 0; i < specs.size(); ++i) {
    const PackedTensor& t = header.tensors[i];
    const std::byte* data = image == nullptr ? nullptr : image + t.offset;
    if (specs[i].is_matrix()) {
      *specs[i].matrix = {data, t.type, static_cast<std::uint16_t>(t.group), t.n, t.k};
    } else {
      *specs[i].vector = reinterpret_cast<const float*>(data);
    }
  }
  finish_weights(header.config, weights);
}

}  // namespace pipo
