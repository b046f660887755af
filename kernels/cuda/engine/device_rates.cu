#include "kernels/cuda/engine/device_rates.h"

#include <algorithm>

#include "kernels/cuda/engine/resources.h"
#include "kernels/cuda/matrix_rate.cuh"

namespace pipo::cuda {
namespace {

constexpr int kPasses = 5;

/// Best rate of a few passes, each of which does `amount` of something with what `queue_work` queues.
template <class QueueWork>
double best_rate(const OwnedStream& stream, double amount, const char* what, const QueueWork& queue_work) {
  const OwnedEvent begin, end;
  double best = 0.0;
  for (int pass = 0; pass < kPasses; ++pass) {
    float ms = 0.0f;
    check(runtime::record(begin.get(), stream.get()), what);
    check(queue_work(), what);
    check(runtime::record(end.get(), stream.get()), what);
    check(runtime::wait(end.get()), what);
    check(runtime::milliseconds(begin.get(), end.get(), &ms), what);
    best = std::max(best, 1e3 * amount / std::max(ms, 1e-6f));
  }
  return best;
}

}  // namespace

double measure_copy_rate(std::int64_t bytes) {
  const DeviceMemory from(bytes), to(bytes);
  const OwnedStream stream;
  check(runtime::fill(from.get(), 1, bytes, stream.get()), "fill memory");
  return best_rate(stream, 2.0 * static_cast<double>(bytes), "measure a copy",
                   [&] { return runtime::copy(to.get(), from.get(), bytes, stream.get()); });
}

double measure_matrix_rate() {
  PipoCudaDevice device{};
  PipoCudaError error{};
  if (const PipoCudaStatus status = runtime::describe(&device, &error); status != kPipoCudaOk) {
    fail(status, error.words);
  }
  const DeviceMemory found(4);
  const OwnedStream stream;
  const Shape all{dim3(2 * device.multiprocessors), dim3(kMatrixThreads), 0, stream.get()};
  const double amount = kMatrixBlockOps * 2 * device.multiprocessors * kMatrixLaunches;
  return best_rate(stream, amount, "measure products", [&] {
    int code = 0;
    for (int i = 0; i < kMatrixLaunches && code == 0; ++i) {
      code = launch(all, matrix_kernel, static_cast<float*>(found.get()));
    }
    return code;
  });
}

}  // namespace pipo::cuda
