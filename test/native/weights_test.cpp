/// Reading and placing weights: widening, the weight map against the published counts, the packed layout.
#include <bit>
#include <cmath>
#include <cstring>
#include <fstream>
#include <functional>
#include <limits>
#include <set>

#include "cache/state_shape.h"
#include "native/engine_fixture.h"
#include "pipo/random_model.h"
#include "weights/disk_dtype.h"
#include "weights/packed_file.h"
#include "weights/tensor_reader.h"

using namespace pipo;

namespace {

std::vector<float> read_as(DiskDtype dtype, const std::vector<std::uint16_t>& bits) {
  const test::TempFolder folder;
  const std::string path = folder.file("tensor.bin");
  std::ofstream(path, std::ios::binary).write(reinterpret_cast<const char*>(bits.data()), 2 * std::ssize(bits));
  const auto n = static_cast<std::int64_t>(bits.size());
  const TensorSource source{"t", {path, 0, 2 * bits.size(), dtype, {n}}, std::nullopt};
  TensorReader reader;
  reader.open(source);
  std::vector<float> out(bits.size());
  std::vector<std::byte> scratch;
  reader.read_rows(source, 0, n, out.data(), scratch);
  return out;
}

/// A file of fp32 numbers counted from 0, read as a tensor of some shape.
std::vector<float> read_counted(std::vector<std::int64_t> shape, std::int32_t interleaved_heads,
                                std::int64_t first_row, std::int64_t n_rows) {
  const test::TempFolder folder;
  const std::string path = folder.file("tensor.bin");
  std::vector<float> counted(static_cast<std::size_t>(element_count(shape)));
  for (std::size_t i = 0; i < counted.size(); ++i) counted[i] = static_cast<float>(i);
  std::ofstream(path, std::ios::binary).write(reinterpret_cast<const char*>(counted.data()), 4 * std::ssize(counted));
  TensorSource source{"t", {path, 0, 4 * counted.size(), DiskDtype::kF32, std::move(shape)}, std::nullopt};
  source.ref.interleaved_heads = interleaved_heads;
  TensorReader reader;
  reader.open(source);
  std::vector<float> out(static_cast<std::size_t>(n_rows * row_width(source.ref)));
  std::vector<std::byte> scratch;
  reader.read_rows(source, first_row, n_rows, out.data(), scratch);
  return out;
}

std::size_t count_tensors(const ModelConfig& config) {
  ModelWeights weights;
  return map_weights(config, weights).size();
}

std::int64_t count_parameters(const ModelConfig& config, const std::string& prefix) {
  ModelWeights weights;
  std::int64_t sum = 0;
  for (const WeightSpec& spec : map_weights(config, weights)) {
    if (spec.name.starts_with(prefix)) sum += spec.elements();
  }
  return sum;
}

bool is_about(std::int64_t found, double millions) { return std::abs(found / 1e6 - millions) < 0.006 * millions; }

}  // namespace

TEST("bf16 and f16 widen exactly, subnormal and infinite numbers included") {
  const auto bf16 = read_as(DiskDtype::kBf16, {0x0000, 0x3f80, 0xc040, 0x7f80, 0x0001});
  CHECK(bf16[0] == 0.0f && bf16[1] == 1.0f && bf16[2] == -3.0f && std::isinf(bf16[3]));
  CHECK(bf16[4] == std::bit_cast<float>(0x00010000u));
  const auto f16 =
      read_as(DiskDtype::kF16, {0x0000, 0x8000, 0x3c00, 0xc200, 0x7bff, 0x0400, 0x0001, 0x83ff, 0xfc00, 0x7e00});
  CHECK(f16[0] == 0.0f && std::signbit(f16[1]) && f16[2] == 1.0f && f16[3] == -3.0f && f16[4] == 65504.0f);
  CHECK(f16[5] == 0x1p-14f && f16[6] == 0x1p-24f && f16[7] == -1023 * 0x1p-24f);
  CHECK(f16[8] == -std::numeric_limits<float>::infinity() && std::isnan(f16[9]));
}

TEST("the weight map has the tensors and parameters of the released models") {
  CHECK(count_tensors(released_config("4b")) == 448);
  CHECK(count_tensors(released_config("9b")) == 449);
  ModelConfig linear = released_config("4b");
  linear.pipo->compressor = CompressorType::kLinear;
  CHECK(count_tensors(linear) == 446);

  struct Size {
    const char* name;
    double backbone, draft_head, compressor, confidence_head;
  };
  for (const Size& s : {Size{"0.8b", 752, 20.5, 6.29, 2.10}, Size{"2b", 1882, 60.8, 25.17, 8.39},
                        Size{"4b", 4206, 120.6, 39.33, 13.11}, Size{"9b", 8954, 243.3, 100.68, 33.57}}) {
    const ModelConfig config = released_config(s.name);
    CHECK(is_about(count_parameters(config, "model.") + count_parameters(config, "lm_head."), s.backbone));
    CHECK(is_about(count_parameters(config, "mtp."), s.draft_head));
    CHECK(is_about(count_parameters(config, "compressor."), s.compressor));
    CHECK(is_about(count_parameters(config, "confidence_head."), s.confidence_head));
  }
}

TEST("states have the published sizes") {
  const StateShape small = StateShape::of(released_config("0.8b"), kernels::KvType::kBf16);
  CHECK(4 * small.n_delta_layers * small.recurrent_floats == 18 << 20);
  CHECK(small.kv_bytes_per_position() == 12288 + 2048);
  const StateShape large = StateShape::of(released_config("4b"), kernels::KvType::kBf16);
  CHECK(4 * large.n_delta_layers * large.recurrent_floats == 48 << 20);
  CHECK(large.conv_floats == 3 * 8192);
}

TEST("rows of interleaved heads come in the engine's order, from any row on") {
  // Two heads of four rows each: a head's rows 0 1 2 3 are stored as 0 2 1 3.
  const std::vector<float> expected = {0, 2, 1, 3, 4, 6, 5, 7};
  CHECK(read_counted({8, 1}, 2, 0, 8) == expected);
  CHECK(read_counted({8, 1}, 2, 3, 3) == std::vector<float>(expected.begin() + 3, expected.begin() + 6));
  CHECK(read_counted({8}, 2, 0, 8) == expected);
  CHECK(read_counted({4, 2}, 1, 1, 1) == std::vector<float>({4, 5}));
  CHECK(read_counted({8, 1}, 0, 2, 2) == std::vector<float>({2, 3}));
}

TEST("a stored type is kept in the packed format that holds it, vectors and small matrices in fp32") {
  using kernels::WeightType;
  const std::pair<DiskDtype, WeightType> kept[] = {
      {DiskDtype::kF32, WeightType::kF32}, {DiskDtype::kBf16, WeightType::kBf16}, {DiskDtype::kF16, WeightType::kBf16},
      {DiskDtype::kQ8_0, WeightType::kQ8}, {DiskDtype::kQ6K, WeightType::kQ8},    {DiskDtype::kIq4Nl, WeightType::kQ8},
      {DiskDtype::kQ5_0, WeightType::kQ5}, {DiskDtype::kQ5K, WeightType::kQ5},    {DiskDtype::kQ4_1, WeightType::kQ4},
      {DiskDtype::kQ4K, WeightType::kQ4}};
  for (const auto& [on_disk, type] : kept) {
    CHECK(weight_type(WeightRole::kMatrix, WeightDtype::kStored, on_disk) == type);
    CHECK(weight_type(WeightRole::kSmallMatrix, WeightDtype::kStored, on_disk) == WeightType::kF32);
    CHECK(weight_type(WeightRole::kMatrix, WeightDtype::kInt8, on_disk) == WeightType::kInt8);
  }
}

TEST("sizes that no number holds are told apart from large ones") {
  CHECK(element_count({3, 5}) == 15 && element_count({}) == 1 && element_count({4, 0}) == 0);
  CHECK(element_count({std::int64_t{1} << 40, std::int64_t{1} << 40}) == -1 && element_count({-1}) == -1);
}

TEST("every tensor has one name and its own aligned place in the packed file") {
  for (const WeightDtype dtype : {WeightDtype::kF32, WeightDtype::kBf16, WeightDtype::kInt8, WeightDtype::kInt4,
                                  WeightDtype::kMix}) {
    const PackedHeader header = plan_packed("x", "y", released_config("9b"), dtype, 32);
    std::set<std::string> names;
    std::uint64_t end = header.header_bytes;
    for (const PackedTensor& t : header.tensors) {
      CHECK(names.insert(t.name).second);
      CHECK(t.offset >= end && t.offset % 64 == 0 && t.bytes > 0);
      end = t.offset + t.bytes;
    }
    CHECK(end <= header.file_bytes);
  }
}

namespace {

/// How a tensor of the 0.8B model is kept under a dtype.
std::function<kernels::WeightType(const std::string& name)> types_under(WeightDtype dtype) {
  return [header = plan_packed("x", "y", released_config("0.8b"), dtype, 32)](const std::string& name) {
    for (const PackedTensor& t : header.tensors) {
      if (t.name == name) return t.type;
    }
    throw std::runtime_error("no tensor " + name);
  };
}

}  // namespace

TEST("the mix keeps four bits in the backbone's MLPs and eight in every other big matrix") {
  using kernels::WeightType;
  const auto type_of = types_under(WeightDtype::kMix);
  for (const char* name : {"gate_proj", "up_proj", "down_proj"}) {
    const std::string matrix = std::string("mlp.") + name + ".weight";
    CHECK(type_of("model.layers.0." + matrix) == WeightType::kInt4);
    CHECK(type_of("mtp.layers.0." + matrix) == WeightType::kInt8);
  }
  for (const char* name : {"model.embed_tokens.weight", "model.layers.0.linear_attn.in_proj_qkv.weight",
                           "model.layers.3.self_attn.o_proj.weight", "mtp.fc.weight", "compressor.mlp.0.weight",
                           "confidence_head.fc1.weight"}) {
    CHECK(type_of(name) == WeightType::kInt8);
  }
  for (const char* name : {"model.layers.0.linear_attn.in_proj_a.weight", "model.norm.weight"}) {
    CHECK(type_of(name) == WeightType::kF32);
  }
}

TEST("what is sensitive keeps eight bits under int4, what is small stays fp32") {
  using kernels::WeightType;
  const auto type_of = types_under(WeightDtype::kInt4);
  CHECK(type_of("model.layers.0.mlp.gate_proj.weight") == WeightType::kInt4);
  CHECK(type_of("mtp.fc.weight") == WeightType::kInt4);
  for (const char* name : {"model.embed_tokens.weight", "compressor.mlp.0.weight", "confidence_head.fc1.weight"}) {
    CHECK(type_of(name) == WeightType::kInt8);
  }
  for (const char* name : {"model.layers.0.linear_attn.in_proj_a.weight", "model.layers.0.linear_attn.conv1d.weight",
                           "model.norm.weight", "confidence_head.fc2.weight", "compressor.mlp.0.bias"}) {
    CHECK(type_of(name) == WeightType::kF32);
  }
}

TEST("a block of panels packed alone has the bytes of its place in the whole matrix") {
  constexpr int kRows = 50, kColumns = 100;
  std::vector<float> values(kRows * kColumns);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = std::sin(static_cast<float>(i));
  using kernels::WeightType;
  for (const WeightType type : {WeightType::kF32, WeightType::kBf16, WeightType::kInt8, WeightType::kInt4}) {
    const int group = type == WeightType::kInt8 || type == WeightType::kInt4 ? 32 : 0;
    std::vector<std::byte> whole(kernels::packed_bytes(type, group, kRows, kColumns)), pieces(whole.size());
    CHECK(kernels::pack_rows(type, group, kRows, kColumns, 0, kRows, values.data(), whole.data()) ==
          kernels::Status::kOk);
    const auto panel = kernels::packed_bytes(type, group, kernels::kPanelRows, kColumns);
    for (int row = 0; row < kRows; row += 32) {
      const int n = std::min(32, kRows - row);
      CHECK(kernels::pack_rows(type, group, n, kColumns, 0, n, values.data() + row * kColumns,
                               pieces.data() + row / kernels::kPanelRows * panel) == kernels::Status::kOk);
    }
    CHECK(whole == pieces);
  }
}

int main(int argc, char** argv) { return pipo::test::run(argc, argv); }
