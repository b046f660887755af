#pragma once

#include <memory>

#include "model/backbone.h"

namespace pipo {

/// Qwen3.5 text decoder: gated delta layers with a gated full-attention layer now and then.
std::unique_ptr<Backbone> make_qwen3_5();

}  // namespace pipo
