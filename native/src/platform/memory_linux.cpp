#include <algorithm>
#include <fstream>
#include <limits>
#include <string>

#include "platform/memory.h"

namespace pipo {
namespace {

std::optional<std::int64_t> number_in(const std::string& path) {
  std::ifstream file(path);
  std::int64_t value = 0;
  if (!(file >> value)) return std::nullopt;  // "max": no limit
  return value;
}

/// The value after `key` in a file of "key value" lines.
std::optional<std::int64_t> field_in(const std::string& path, const std::string& key) {
  std::ifstream file(path);
  std::string word;
  while (file >> word) {
    std::int64_t value = 0;
    if (word == key && file >> value) return value;
    file.ignore(std::numeric_limits<std::streamsize>::max(), '\n');
  }
  return std::nullopt;
}

/// Our group's path in the unified hierarchy: "0::/user.slice/..."; "/" inside a container.
std::string own_group() {
  std::ifstream file("/proc/self/cgroup");
  std::string line;
  while (std::getline(file, line)) {
    if (line.starts_with("0::")) return line.substr(3);
  }
  return "/";
}

void lower(std::optional<std::int64_t>& least, std::int64_t value) { least = least ? std::min(*least, value) : value; }

/// The tightest limit from our group up to the root, less what is used and cannot be dropped.
void apply_group_limits(std::optional<std::int64_t>& least) {
  for (std::string group = own_group();; group.resize(group.rfind('/'))) {
    const std::string directory = "/sys/fs/cgroup" + group;
    const auto limit = number_in(directory + "/memory.max");
    const auto used = number_in(directory + "/memory.current");
    if (limit && used) {
      const std::int64_t files = field_in(directory + "/memory.stat", "inactive_file").value_or(0) +
                                 field_in(directory + "/memory.stat", "active_file").value_or(0);
      lower(least, std::max<std::int64_t>(0, *limit - std::max<std::int64_t>(0, *used - files)));
    }
    if (group.empty() || group.rfind('/') == std::string::npos) return;
  }
}

}  // namespace

std::optional<std::int64_t> available_memory() {
  std::optional<std::int64_t> least;
  if (const auto kilobytes = field_in("/proc/meminfo", "MemAvailable:")) least = *kilobytes * 1024;
  apply_group_limits(least);
  return least;
}

}  // namespace pipo
