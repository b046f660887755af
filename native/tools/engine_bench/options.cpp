#include "engine_bench/options.h"

#include <filesystem>
#include <functional>
#include <map>
#include <sstream>

#include "pipo/error.h"

namespace pipo::bench {
namespace {

std::vector<std::string> split(const std::string& list) {
  std::vector<std::string> words;
  std::istringstream in(list);
  for (std::string word; std::getline(in, word, ',');) words.push_back(word);
  return words;
}

std::vector<int> numbers(const std::string& list) {
  std::vector<int> found;
  for (const std::string& word : split(list)) found.push_back(std::stoi(word));
  return found;
}

DeviceStepping stepping_of(const std::string& name) {
  const std::map<std::string, DeviceStepping> names = {{"graph", DeviceStepping::kGraph},
                                                       {"launches", DeviceStepping::kLaunches},
                                                       {"eager", DeviceStepping::kEager}};
  return names.at(name);
}

}  // namespace

Options parse_options(int argc, char** argv) {
  Options o;
  o.cache = (std::filesystem::temp_directory_path() / "pipo-bench").string();
  const std::map<std::string, std::function<void(const std::string&)>> flags = {
      {"--size", [&](const std::string& v) { o.sizes = split(v); }},
      {"--dtype", [&](const std::string& v) { o.dtypes = split(v); }},
      {"--group", [&](const std::string& v) { o.group = std::stoi(v); }},
      {"--threads", [&](const std::string& v) { o.threads = std::stoi(v); }},
      {"--kernels", [&](const std::string& v) { o.kernels = v; }},
      {"--steps", [&](const std::string& v) { o.steps = std::stoi(v); }},
      {"--prompt", [&](const std::string& v) { o.prompts = numbers(v); }},
      {"--context", [&](const std::string& v) { o.context = std::stoi(v); }},
      {"--repeat", [&](const std::string& v) { o.repeat = std::stoi(v); }},
      {"--matrix-tflops", [&](const std::string& v) { o.matrix_tflops = std::stod(v); }},
      {"--cuda-library", [&](const std::string& v) { o.cuda.library = v; }},
      {"--cuda-driver", [&](const std::string& v) { o.cuda.driver = v; }},
      {"--stepping", [&](const std::string& v) { o.cuda.stepping = stepping_of(v); }},
      {"--cache", [&](const std::string& v) { o.cache = v; }},
  };
  for (int i = 1; i < argc; i += 2) {
    const auto flag = flags.find(argv[i]);
    if (flag == flags.end() || i + 1 == argc)
      throw Error(ErrorCode::kBadRequest, std::string("unknown or incomplete option ") + argv[i]);
    flag->second(argv[i + 1]);
  }
  return o;
}

WeightDtype dtype_of(const std::string& name) {
  const std::map<std::string, WeightDtype> names = {{"f32", WeightDtype::kF32},
                                                    {"bf16", WeightDtype::kBf16},
                                                    {"int8", WeightDtype::kInt8},
                                                    {"int4", WeightDtype::kInt4},
                                                    {"mix", WeightDtype::kMix}};
  return names.at(name);
}

}  // namespace pipo::bench
