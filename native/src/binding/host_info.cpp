#include "binding/host_info.h"

#include <fstream>
#include <string>
#include <thread>

#if defined(__APPLE__)
#include <sys/sysctl.h>
#elif defined(__unix__)
#include <unistd.h>
#endif

#include "kernels/backend.h"
#include "platform/memory.h"

namespace pipo::binding {
namespace {

#if defined(__APPLE__)

std::string cpu_name() {
  char name[256] = {};
  std::size_t size = sizeof(name) - 1;
  return sysctlbyname("machdep.cpu.brand_string", name, &size, nullptr, 0) == 0 ? name : "unknown";
}

double total_memory() {
  std::uint64_t bytes = 0;
  std::size_t size = sizeof(bytes);
  return sysctlbyname("hw.memsize", &bytes, &size, nullptr, 0) == 0 ? static_cast<double>(bytes) : 0.0;
}

#elif defined(__unix__)

/// x86 says "model name"; other processors often say nothing more than numbers.
std::string cpu_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with("model name")) continue;
    const auto start = line.find_first_not_of(": \t", line.find(':'));
    return start == std::string::npos ? "unknown" : line.substr(start);
  }
  return "unknown";
}

double total_memory() {
  return static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGESIZE));
}

#else

std::string cpu_name() { return "unknown"; }
double total_memory() { return 0.0; }

#endif

}  // namespace

Napi::Object make_cuda_info(Napi::Env env, const DeviceInfo& device) {
  auto object = Napi::Object::New(env);
  if (!device.reason.empty()) {
    object.Set("reason", device.reason);
    return object;
  }
  auto description = Napi::Object::New(env);
  description.Set("name", device.name);
  description.Set("capability", device.capability);
  description.Set("driver", device.driver);
  description.Set("totalMemory", static_cast<double>(device.total_bytes));
  description.Set("freeMemory", static_cast<double>(device.free_bytes));
  object.Set("device", description);
  return object;
}

Napi::Object make_host_info(Napi::Env env) {
  const auto names = kernels::available_backends();
  auto kernel_names = Napi::Array::New(env, names.size());
  for (std::uint32_t i = 0; i < names.size(); i++) kernel_names.Set(i, names[i]);
  auto object = Napi::Object::New(env);
  object.Set("version", PIPO_VERSION);
  object.Set("cpu", cpu_name());
  object.Set("kernels", kernel_names);
  object.Set("cores", std::thread::hardware_concurrency());
  object.Set("totalMemory", total_memory());
  object.Set("availableMemory", static_cast<double>(available_memory().value_or(0)));
  return object;
}

}  // namespace pipo::binding
