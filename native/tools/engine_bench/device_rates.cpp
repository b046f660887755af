#include "engine_bench/device_rates.h"

#include <algorithm>

#include "kernels/backend.h"
#include "pipo/error.h"

namespace pipo::bench {
namespace {

void require_ok(PipoCudaStatus status, const PipoCudaError& error) {
  if (status != kPipoCudaOk) throw Error(ErrorCode::kInternal, error.words);
}

}  // namespace

DeviceRates::DeviceRates(const Options& o, const EngineInfo& info)
    : bytes_(std::min<std::int64_t>(info.backbone_bytes_per_step + info.head_bytes, 1 << 30)), threads_(info.threads) {
  if (!info.device.empty()) cuda_ = kernels::open_cuda_library({o.cuda.library, o.cuda.driver}, nullptr);
}

double DeviceRates::memory_pass() const {
  if (!cuda_) return kernels::measure_read_bandwidth(bytes_, threads_, 3);
  double found = 0;
  PipoCudaError error{};
  require_ok(cuda_->api().measure_copy(bytes_, &found, &error), error);
  return found;
}

double DeviceRates::matrix() const {
  double found = 0;
  PipoCudaError error{};
  require_ok(cuda_->api().measure_matrix(&found, &error), error);
  return found;
}

}  // namespace pipo::bench
