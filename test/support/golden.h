#pragma once

#include <cstdint>
#include <fstream>
#include <map>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "pipo/model_description.h"
#include "weights/config_document.h"

/// Readers of the text twins in test/golden; their format is described in test/golden/README.md.
namespace pipo::test {

struct GoldenTensor {
  std::vector<std::int64_t> shape;
  std::vector<float> floats;       ///< of an f32 entry
  std::vector<std::int32_t> ints;  ///< of an i32 entry

  std::int64_t width() const { return shape.size() < 2 ? 1 : shape[1]; }
  const float* row(std::int64_t i) const { return floats.data() + i * width(); }
  const std::int32_t* int_row(std::int64_t i) const { return ints.data() + i * width(); }
};

/// `golden.txt` by entry name.
class Golden {
 public:
  explicit Golden(const std::string& directory) {
    std::ifstream file(directory + "/golden.txt");
    if (!file) throw std::runtime_error("no golden.txt in " + directory);
    std::string head, values;
    while (std::getline(file, head) && std::getline(file, values)) add(head, values);
  }
  bool has(const std::string& name) const { return entries_.contains(name); }
  const GoldenTensor& at(const std::string& name) const {
    const auto found = entries_.find(name);
    if (found == entries_.end()) throw std::runtime_error("no golden called " + name);
    return found->second;
  }
  /// How many cases "pair.N", "decode.N", ... there are; `entry` is one that each of them has.
  int count(const std::string& kind, const std::string& entry) const {
    int n = 0;
    while (has(kind + "." + std::to_string(n) + "." + entry)) ++n;
    return n;
  }

 private:
  void add(const std::string& head, const std::string& values) {
    std::istringstream in(head), numbers(values);
    std::string word, name, type;
    std::size_t n_dims = 0;
    in >> word >> name >> type >> n_dims;
    GoldenTensor tensor;
    tensor.shape.resize(n_dims);
    for (auto& dim : tensor.shape) in >> dim;
    if (type == "i32") {
      for (std::int32_t v; numbers >> v;) tensor.ints.push_back(v);
    } else {
      for (std::string v; numbers >> v;) tensor.floats.push_back(std::stof(v));
    }
    entries_.emplace(name, std::move(tensor));
  }

  std::map<std::string, GoldenTensor> entries_;
};

namespace detail {

inline TensorRef read_ref(std::istringstream& in, const std::string& directory) {
  TensorRef ref;
  std::string dtype;
  std::size_t n_dims = 0;
  in >> ref.file >> dtype >> ref.offset >> ref.bytes >> n_dims;
  ref.file = directory + "/" + ref.file;
  ref.dtype = dtype == "F32" ? DiskDtype::kF32 : dtype == "BF16" ? DiskDtype::kBf16 : DiskDtype::kF16;
  ref.shape.resize(n_dims);
  for (auto& dim : ref.shape) in >> dim;
  return ref;
}

}  // namespace detail

/// The description of a checkpoint in test/golden, from `config.txt` and `tensors.txt`.
inline ModelDescription read_description(const std::string& directory) {
  ModelDescription model;
  model.name = directory.substr(directory.rfind('/') + 1);
  model.fingerprint = "golden " + model.name;
  std::ifstream config(directory + "/config.txt"), tensors(directory + "/tensors.txt");
  if (!config || !tensors) throw std::runtime_error("no config.txt or tensors.txt in " + directory);
  model.config = read_config_document({std::istreambuf_iterator<char>(config), {}});
  std::map<std::string, std::size_t> places;
  for (std::string line; std::getline(tensors, line);) {
    std::istringstream in(line);
    std::string kind, name;
    if (!(in >> kind >> name)) continue;
    if (kind == "tensor") {
      places[name] = model.tensors.size();
      model.tensors.push_back({name, detail::read_ref(in, directory), std::nullopt});
      continue;
    }
    auto& lora = model.tensors.at(places.at(name)).lora;
    if (!lora) lora.emplace();
    in >> lora->scale;
    (kind == "lora_a" ? lora->a : lora->b) = detail::read_ref(in, directory);
  }
  return model;
}

}  // namespace pipo::test
