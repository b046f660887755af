#include "model/backbones/qwen3_5.h"

namespace pipo {

std::unique_ptr<Backbone> make_backbone(const std::string& architecture) {
  if (architecture == "qwen3_5") return make_qwen3_5();
  return nullptr;
}

}  // namespace pipo
