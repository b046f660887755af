#include "kernels/reference/reference_backend.h"

namespace pipo::kernels {

std::unique_ptr<Backend> make_reference_backend(int /*threads*/) { return std::make_unique<ReferenceBackend>(); }

}  // namespace pipo::kernels
