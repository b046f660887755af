#pragma once

#include <string>

#include "model/model.h"

namespace pipo {

/// Why results of `device` must not be relied on; empty when nothing speaks against it. A few positions go through every
/// layer on the device and on `cpu`, which holds the same weights; more of them go through the device in both of its
/// ways; and its own steps must choose what its operations choose one by one. Takes about as long as a few decode steps
/// of the CPU. Throws kInternal when an operation fails.
std::string device_disagreement(Model& device, Model& cpu);

}  // namespace pipo
