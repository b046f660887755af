#pragma once

namespace pipo::test {

/// What the failing library does from the order on.
enum class Failure : int {
  kNone,
  kSmallDevice,  ///< the model does not fit, by the plan
  kUpload,       ///< memory runs out while the model is uploaded
  kRoom,         ///< no room for more than 400 positions
  kExtend,       ///< the device breaks in a prefill
  kStep,         ///< the device breaks in a step
  kWrongChunks,  ///< prompts come out wrong
  kWrongSteps,   ///< steps choose other tokens
};

}  // namespace pipo::test
