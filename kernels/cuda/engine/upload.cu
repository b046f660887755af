#include "kernels/cuda/engine/upload.h"

#include <cstring>

#include "kernels/cuda/engine/resources.h"
#include "kernels/cuda/memory_layout.h"
#include "kernels/packed_layout.h"

namespace pipo::cuda {
namespace {

namespace panels = kernels::layout;

/// A pinned buffer, its twin on the device, and a queue. Two of them: while one copies and repacks, the host fills the
/// other from the mapped file.
class Lane {
 public:
  explicit Lane(void* on_device, int multiprocessors) : pinned_(kStagingBytes), on_device_(on_device) {
    queue_.stream = stream_.get();
    queue_.multiprocessors = multiprocessors;
  }
  ~Lane() { runtime::synchronize(queue_.stream); }  // an upload that is given up leaves copies under way
  Lane(const Lane&) = delete;
  Lane& operator=(const Lane&) = delete;

  void send_panels(const std::uint8_t* from, int first_row, int n_panels, std::int64_t panel_bytes, const Matrix& to) {
    const std::int64_t bytes = n_panels * panel_bytes;
    finish();
    std::memcpy(pinned_.get(), from, static_cast<std::size_t>(bytes));
    check(runtime::copy(on_device_, pinned_.get(), bytes, queue_.stream), "take weights");
    check(repack(queue_, on_device_, first_row, n_panels, panel_bytes, to), "take weights");
  }
  void send_vector(const float* from, std::int64_t count, float* to) {
    check(runtime::copy(to, from, 4 * count, queue_.stream), "take weights");
  }
  void finish() { check(runtime::synchronize(queue_.stream), "take weights"); }

 private:
  PinnedMemory pinned_;
  OwnedStream stream_;
  void* on_device_;
  Queue queue_;
};

class Upload {
 public:
  Upload(void* staging, int multiprocessors)
      : lanes_{Lane(staging, multiprocessors),
               Lane(static_cast<std::uint8_t*>(staging) + kStagingBytes, multiprocessors)} {}

  template <class Progress>
  void send(const PlacedTensor& tensor, Progress&& progress) {
    const PipoCudaTensor& t = *tensor.from;
    if (t.n == 0) {
      lanes_[0].send_vector(static_cast<const float*>(t.data), t.k, const_cast<float*>(tensor.vector));
      return;
    }
    const auto type = static_cast<WeightType>(t.type);
    const std::int64_t panel_bytes = panels::panel_bytes(type, t.group, panels::padded_k(t.k));
    if (panel_bytes > kStagingBytes) fail(kPipoCudaUnsupported, "the model has rows too wide for the GPU; use the CPU");
    const int total = (t.n + kernels::kPanelRows - 1) / kernels::kPanelRows;
    const int most = static_cast<int>(kStagingBytes / panel_bytes);
    for (int panel = 0; panel < total; panel += most) {
      const int count = std::min(most, total - panel);
      lanes_[next_].send_panels(static_cast<const std::uint8_t*>(t.data) + panel * panel_bytes,
                                panel * kernels::kPanelRows, count, panel_bytes, tensor.matrix);
      next_ = 1 - next_;
      progress(count * panel_bytes);
    }
  }
  void finish() {
    for (Lane& lane : lanes_) lane.finish();
  }

 private:
  Lane lanes_[2];
  int next_ = 0;
};

std::int64_t packed_bytes_of(const PipoCudaTensor& t) {
  if (t.n == 0) return 0;
  const auto type = static_cast<WeightType>(t.type);
  return panels::panel_bytes(type, t.group, panels::padded_k(t.k)) *
         ((t.n + kernels::kPanelRows - 1) / kernels::kPanelRows);
}

}  // namespace

void upload(const std::vector<PlacedTensor>& tensors, void* staging, int multiprocessors,
            int32_t (*keep_going)(void*, double), void* context) {
  std::int64_t total = 1, done = 0;
  for (const PlacedTensor& t : tensors) total += t.shared ? 0 : packed_bytes_of(*t.from);
  const auto progress = [&](std::int64_t bytes) {
    done += bytes;
    if (keep_going != nullptr && keep_going(context, static_cast<double>(done) / static_cast<double>(total)) == 0) {
      fail(kPipoCudaCancelled, "loading was cancelled");
    }
  };
  Upload lanes(staging, multiprocessors);
  progress(0);
  for (const PlacedTensor& t : tensors) {
    if (!t.shared) lanes.send(t, progress);
  }
  lanes.finish();
}

}  // namespace pipo::cuda
