#include <algorithm>
#include <cstdlib>
#include <exception>
#include <thread>

#include "kernels/backend.h"
#include "kernels/cpu/cpu_backend.h"
#include "kernels/reference/reference_backend.h"

namespace pipo::kernels {
namespace {

constexpr const char* kReference = "reference";
constexpr const char* kProcessor = "cpu";

std::string join(const std::vector<std::string>& names) {
  std::string all;
  for (const std::string& name : names) all += (all.empty() ? "" : ", ") + name;
  return all;
}

int wanted_threads(int threads) {
  constexpr int kMostThreads = 1024;
  if (threads > 0) return std::min(threads, kMostThreads);
  // One core is left to the editor: the loss is small, and a busy neighbour no longer stalls every loop.
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()) - 1);
}

const cpu::Target* find_target(const std::string& name) {
  for (const cpu::Target* target : cpu::compiled_targets()) {
    if (name == target->name) return target;
  }
  return nullptr;
}

std::unique_ptr<Backend> refuse(std::string* reason, const std::string& why) {
  if (reason != nullptr) *reason = why + "; choose one of: " + join(available_backends());
  return nullptr;
}

}  // namespace

/// The one place where the environment is read.
std::string wanted_kernels(const std::string& name) {
  if (!name.empty()) return name;
  const char* forced = std::getenv("PIPO_KERNELS");
  return forced != nullptr && *forced != '\0' ? forced : kAutomatic;
}

std::vector<std::string> available_backends() {
  std::vector<std::string> names;
  for (const cpu::Target* target : cpu::compiled_targets()) {
    if (cpu::runs_here(*target)) names.push_back(target->name);
  }
  names.push_back(kReference);
  return names;
}

std::unique_ptr<Backend> make_backend(const BackendOptions& options, std::string* reason) {
  std::string name = wanted_kernels(options.name);
  if (name == kAutomatic || name == kProcessor) name = available_backends().front();
  const int threads = wanted_threads(options.threads);
  try {
    if (name == kReference) return make_reference_backend(threads);
    const cpu::Target* target = find_target(name);
    if (target == nullptr) return refuse(reason, "there are no kernels named '" + name + "' in this build");
    if (!cpu::runs_here(*target))
      return refuse(reason, "this CPU lacks the instructions of the kernels '" + name + "'");
    return std::make_unique<cpu::CpuBackend>(*target, threads);
  } catch (const std::exception& error) {
    return refuse(reason, "the kernels '" + name + "' could not start " + std::to_string(threads) + " threads (" +
                              error.what() + ")");
  }
}

}  // namespace pipo::kernels
