#include "weights/packed_file.h"

#include <cstring>
#include <string_view>

#include "weights/byte_stream.h"

namespace pipo {
namespace {

constexpr char kMagic[8] = {'P', 'I', 'P', 'O', 'P', 'A', 'C', 'K'};
/// Raised whenever the header, the placement or the panel layout changes.
constexpr std::uint32_t kVersion = 1;
/// magic, version, reserved, header bytes, file bytes, checksum of the header fields, checksum of the body.
constexpr std::size_t kPreambleBytes = 8 + 4 + 4 + 8 + 8 + 8 + 8;
constexpr std::uint32_t kMaxLayers = 4096;

std::uint64_t aligned(std::uint64_t offset) {
  constexpr std::uint64_t align = kernels::kPackedAlign;
  return (offset + align - 1) / align * align;
}

/// Which modules beside the backbone a file holds. Files without a pre-gate are as they were before there was one.
enum class Modules : std::uint8_t { kNone = 0, kPair = 1, kPairAndPreGate = 2 };

Modules modules_of(const ModelConfig& c) {
  if (!c.pipo) return Modules::kNone;
  return c.pipo->pre_gate ? Modules::kPairAndPreGate : Modules::kPair;
}

void write_config(ByteWriter& out, const ModelConfig& c) {
  out.text(c.architecture);
  out.value(static_cast<std::uint32_t>(c.layer_types.size()));
  for (const LayerType type : c.layer_types) out.value(type);
  for (const std::int32_t v :
       {c.vocab_size, c.real_vocab_size, c.hidden_size, c.intermediate_size, c.num_attention_heads,
        c.num_key_value_heads, c.head_dim, c.rotary_dim, c.linear_conv_kernel_dim, c.linear_key_head_dim,
        c.linear_value_head_dim, c.linear_num_key_heads, c.linear_num_value_heads, c.max_positions}) {
    out.value(v);
  }
  out.value(c.rope_theta);
  out.value(c.rms_norm_eps);
  out.value(static_cast<std::uint8_t>(c.tie_word_embeddings));
  out.value(modules_of(c));
  if (c.pipo) {
    out.value(c.pipo->compressor);
    out.value(c.pipo->pad_token_id);
  }
}

ModelConfig read_config(ByteReader& in) {
  ModelConfig c;
  c.architecture = in.text();
  const auto n_layers = in.value<std::uint32_t>();
  if (n_layers > kMaxLayers) throw Error(ErrorCode::kBadFile, "its header is damaged");
  for (std::uint32_t i = 0; i < n_layers; ++i) c.layer_types.push_back(in.value<LayerType>());
  for (std::int32_t* v :
       {&c.vocab_size, &c.real_vocab_size, &c.hidden_size, &c.intermediate_size, &c.num_attention_heads,
        &c.num_key_value_heads, &c.head_dim, &c.rotary_dim, &c.linear_conv_kernel_dim, &c.linear_key_head_dim,
        &c.linear_value_head_dim, &c.linear_num_key_heads, &c.linear_num_value_heads, &c.max_positions}) {
    in.into(*v);
  }
  in.into(c.rope_theta);
  in.into(c.rms_norm_eps);
  c.tie_word_embeddings = in.value<std::uint8_t>() != 0;
  if (const auto modules = in.value<Modules>(); modules != Modules::kNone) {
    c.pipo.emplace();
    c.pipo->pre_gate = modules == Modules::kPairAndPreGate;
    in.into(c.pipo->compressor);
    in.into(c.pipo->pad_token_id);
  }
  return c;
}

std::vector<std::byte> encode_fields(const PackedHeader& h) {
  ByteWriter out;
  out.text(h.name);
  out.text(h.fingerprint);
  out.value(h.dtype);
  out.value(h.group_size);
  write_config(out, h.config);
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
  h.config = read_config(in);
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

PackedTensor plan_tensor(const WeightSpec& spec, WeightDtype dtype, std::int32_t group_size) {
  PackedTensor t;
  t.name = spec.name;
  t.is_matrix = spec.is_matrix();
  if (!t.is_matrix) {
    t.n = 1;
    t.k = static_cast<std::int32_t>(spec.elements());
    t.bytes = static_cast<std::uint64_t>(t.k) * sizeof(float);
    return t;
  }
  t.type = weight_type(spec.role, dtype);
  t.group = t.type == kernels::WeightType::kInt8 || t.type == kernels::WeightType::kInt4 ? group_size : 0;
  t.n = static_cast<std::int32_t>(spec.shape[0]);
  t.k = static_cast<std::int32_t>(spec.shape[1]);
  t.bytes = static_cast<std::uint64_t>(kernels::packed_bytes(t.type, t.group, t.n, t.k));
  if (t.bytes == 0) {
    throw Error(ErrorCode::kUnsupported,
                "group size " + std::to_string(group_size) + " does not suit " + spec.name + "; choose 32 or 64");
  }
  return t;
}

}  // namespace

PackedHeader plan_packed(const std::string& name, const std::string& fingerprint, const ModelConfig& config,
                         WeightDtype dtype, std::int32_t group_size) {
  PackedHeader h;
  h.name = name;
  h.fingerprint = fingerprint;
  h.config = config;
  h.dtype = dtype;
  h.group_size = group_size;
  ModelWeights unused;
  for (const WeightSpec& spec : map_weights(config, unused)) {
    h.tensors.push_back(plan_tensor(spec, dtype, group_size));
  }
  h.header_bytes = aligned(kPreambleBytes + encode_fields(h).size());
  std::uint64_t offset = h.header_bytes;
  for (PackedTensor& t : h.tensors) {
    t.offset = offset;
    offset = aligned(offset + t.bytes);
  }
  h.file_bytes = offset;
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
  const PackedHeader planned = plan_packed(h.name, h.fingerprint, h.config, h.dtype, h.group_size);
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
