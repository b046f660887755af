#include "kernels/cuda/engine/upload.h"

#include <atomic>
#include <cstring>
#include <exception>
#include <thread>

#include "kernels/cuda/engine/resources.h"
#include "kernels/cuda/memory_layout.h"
#include "kernels/packed_layout.h"

namespace pipo::cuda {
namespace {

namespace panels = kernels::layout;

/// Neighbouring panels of one matrix that travel together.
struct Piece {
  const PlacedTensor* tensor;
  int first_panel, n_panels;
  std::int64_t panel_bytes;

  std::int64_t bytes() const { return n_panels * panel_bytes; }
  const std::uint8_t* from() const {
    return static_cast<const std::uint8_t*>(tensor->from->data) + first_panel * panel_bytes;
  }
};

void cut(const PlacedTensor& tensor, std::vector<Piece>& pieces) {
  const PipoCudaTensor& t = *tensor.from;
  const std::int64_t bytes = panels::panel_bytes(static_cast<WeightType>(t.type), t.group, panels::padded_k(t.k));
  require(bytes <= kStagingBytes, "the model has rows too wide for the GPU; use the CPU");
  const int total = (t.n + kernels::kPanelRows - 1) / kernels::kPanelRows;
  const int most = static_cast<int>(kStagingBytes / bytes);
  for (int panel = 0; panel < total; panel += most) {
    pieces.push_back({&tensor, panel, std::min(most, total - panel), bytes});
  }
}

/// A pinned buffer, its twin on the device, and a queue that copies from one to the other and repacks from there.
class Lane {
 public:
  Lane(void* on_device, int multiprocessors) : pinned_(kStagingBytes), on_device_(on_device) {
    queue_.stream = stream_.get();
    queue_.multiprocessors = multiprocessors;
  }
  ~Lane() { runtime::synchronize(queue_.stream); }  // an upload that is given up leaves copies under way
  Lane(const Lane&) = delete;
  Lane& operator=(const Lane&) = delete;

  void send(const Piece& piece) {
    finish();  // what the buffer held before
    std::memcpy(pinned_.get(), piece.from(), static_cast<std::size_t>(piece.bytes()));
    check(runtime::copy(on_device_, pinned_.get(), piece.bytes(), queue_.stream), "take weights");
    check(repack(queue_, on_device_, piece.first_panel * kernels::kPanelRows, piece.n_panels, piece.panel_bytes,
                 piece.tensor->matrix),
          "take weights");
  }
  void send_vector(const PlacedTensor& tensor) {
    const PipoCudaTensor& t = *tensor.from;
    check(runtime::copy(const_cast<float*>(tensor.vector), t.data, 4ll * t.k, queue_.stream), "take weights");
  }
  void finish() { check(runtime::synchronize(queue_.stream), "take weights"); }

 private:
  PinnedMemory pinned_;
  OwnedStream stream_;
  void* on_device_;
  Queue queue_;
};

/// Two lanes with a thread each: reading a mapped file takes a processor about as long as its way to the device.
class Upload {
 public:
  Upload(const std::vector<PlacedTensor>& tensors, void* staging, int multiprocessors)
      : here_(staging, multiprocessors), beside_(static_cast<std::uint8_t*>(staging) + kStagingBytes, multiprocessors) {
    for (const PlacedTensor& tensor : tensors) {
      if (tensor.shared) continue;
      if (tensor.from->n == 0) here_.send_vector(tensor);
      else cut(tensor, pieces_);
    }
    for (const Piece& piece : pieces_) total_ += piece.bytes();
  }

  /// `progress` hears the fraction done, on the caller's thread; it may throw.
  template <class Progress>
  void run(Progress progress) {
    std::thread other([this] { work_beside(); });
    std::exception_ptr failed;
    try {
      work(here_, [&] { progress(static_cast<double>(done_) / static_cast<double>(total_)); });
    } catch (...) {
      failed = std::current_exception();
      given_up_ = true;
    }
    other.join();
    if (!failed) failed = failed_beside_;
    if (failed) std::rethrow_exception(failed);
    progress(1.0);
  }

 private:
  template <class After>
  void work(Lane& lane, After after) {
    for (std::size_t i = next_++; i < pieces_.size() && !given_up_; i = next_++) {
      lane.send(pieces_[i]);
      done_ += pieces_[i].bytes();
      after();
    }
    lane.finish();
  }
  void work_beside() noexcept {
    try {
      work(beside_, [] {});
    } catch (...) {
      failed_beside_ = std::current_exception();
      given_up_ = true;
    }
  }

  Lane here_, beside_;
  std::vector<Piece> pieces_;
  std::int64_t total_ = 0;
  std::atomic<std::size_t> next_{0};
  std::atomic<std::int64_t> done_{0};
  std::atomic<bool> given_up_{false};
  std::exception_ptr failed_beside_;
};

}  // namespace

void upload(const std::vector<PlacedTensor>& tensors, void* staging, int multiprocessors,
            int32_t (*keep_going)(void*, double), void* context) {
  Upload(tensors, staging, multiprocessors).run([&](double fraction) {
    if (keep_going != nullptr && keep_going(context, fraction) == 0) fail(kPipoCudaCancelled, "loading was cancelled");
  });
}

}  // namespace pipo::cuda
