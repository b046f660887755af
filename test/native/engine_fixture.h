#pragma once

#include <sys/resource.h>

#include <csignal>
#include <filesystem>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "kernels/backend.h"
#include "pipo/engine.h"
#include "pipo/session.h"
#include "support/check.h"
#include "support/golden.h"

/// Engines over the checkpoints of test/golden, and small helpers that several tests share.
namespace pipo::test {

inline const char* const kPairCheckpoints[] = {"tiny-08b",     "tiny-4b",    "tiny-9b",   "tiny-lora",
                                               "tiny-pregate", "tiny-qwen2", "tiny-qwen3"};
inline const char* const kAllCheckpoints[] = {"tiny-08b",   "tiny-4b",   "tiny-9b",
                                              "tiny-plain", "tiny-lora", "tiny-pregate",
                                              "tiny-qwen2", "tiny-qwen3"};

inline std::string golden_directory(const std::string& name) { return std::string(PIPO_GOLDEN_DIR) + "/" + name; }

inline LoadOptions load_options(WeightDtype dtype = WeightDtype::kF32, const std::string& kernels = {}) {
  LoadOptions options;
  options.dtype = dtype;
  options.threads = 2;
  options.kernels = kernels;
  return options;
}

inline std::shared_ptr<Engine> load_golden(const std::string& name, const LoadOptions& options = load_options()) {
  return Engine::load(read_description(golden_directory(name)), options);
}

/// Random real ids without PAD; equal seeds give equal ids.
inline std::vector<std::int32_t> random_ids(const ModelConfig& config, std::size_t count, std::uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<std::int32_t> ids(count);
  for (std::int32_t& id : ids) {
    do {
      id = static_cast<std::int32_t>(random() % static_cast<std::uint32_t>(config.real_vocab_size));
    } while (config.pipo && id == config.pipo->pad_token_id);
  }
  return ids;
}

inline GenerateRequest greedy(std::vector<std::int32_t> prompt, std::int32_t max_new_tokens, float threshold = 0.5f) {
  GenerateRequest request;
  request.prompt_ids = std::move(prompt);
  request.max_new_tokens = max_new_tokens;
  request.threshold = threshold;
  return request;
}

inline std::vector<std::int32_t> joined(std::vector<std::int32_t> a, const std::vector<std::int32_t>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

/// A folder that goes with the test.
class TempFolder {
 public:
  TempFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "pipo-test-XXXXXX").string();
    if (mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("cannot make a temporary folder");
    path_ = pattern;
  }
  ~TempFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  std::string file(const std::string& name) const { return (path_ / name).string(); }
  std::size_t n_files() const {
    return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator(path_), {}));
  }

 private:
  std::filesystem::path path_;
};

/// Makes writes beyond `bytes` fail for as long as it lives: how a process meets a full disk without one.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(std::size_t bytes) : handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    getrlimit(RLIMIT_FSIZE, &before_);
    rlimit limited = before_;
    limited.rlim_cur = bytes;
    setrlimit(RLIMIT_FSIZE, &limited);
  }
  ~FileSizeLimit() {
    setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, handler_);
  }
  FileSizeLimit(const FileSizeLimit&) = delete;
  FileSizeLimit& operator=(const FileSizeLimit&) = delete;

 private:
  void (*handler_)(int);
  rlimit before_{};
};

/// The code of the pipo::Error that `call` throws, and its message in `words`; fails the test when it throws none.
template <class Call>
ErrorCode error_of(Call call, std::string* words = nullptr) {
  try {
    call();
  } catch (const Error& error) {
    if (words != nullptr) *words = error.what();
    return error.code();
  }
  fail(__FILE__, __LINE__, "expected an error, got none");
  return ErrorCode::kInternal;
}

}  // namespace pipo::test
