#include "cache/host_states.h"

#include <cstring>

namespace pipo {

HostStates::HostStates(const StateShape& shape)
    : shape_(shape), kv_(shape), recurrent_(shape), hidden_(static_cast<std::size_t>(shape.hidden_size)) {
  hidden_.zero();
}

void HostStates::restore(const Snapshot& snapshot) {
  recurrent_.copy_from(host(snapshot).states);
  std::memcpy(hidden_.data(), host(snapshot).hidden.data(), hidden_.bytes());
}

}  // namespace pipo
