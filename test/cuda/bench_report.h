#pragma once

#include <algorithm>
#include <cstdio>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

#include "test/cuda/device_memory.h"

/// Timing on the device, and what is printed of it: a table for people, one line of JSON for scripts.
namespace pipo::test {

/// Times launches as the engine makes them: recorded once as a graph, so that the host's part does not count.
class Stopwatch {
 public:
  explicit Stopwatch(bool overlap) : overlap_(overlap) {
    require(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking));
    require(cudaEventCreate(&begin_));
    require(cudaEventCreate(&end_));
    require(cudaDeviceSynchronize());  // the workspace is cleared
  }
  ~Stopwatch() {
    cudaEventDestroy(begin_);
    cudaEventDestroy(end_);
    cudaStreamDestroy(stream_);
  }
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;

  using Run = std::function<int(const cuda::Queue&, int)>;

  /// Median microseconds of one of `count` runs, which are numbered and return the code of their launch.
  double microseconds(int count, const Run& run) const {
    check(run(queue(), 0));  // modules are loaded at the first launch, which must not be recorded
    require(cudaStreamSynchronize(stream_));
    const cudaGraphExec_t graph = record(count, run);
    time(graph, 1);
    const int repeat = static_cast<int>(std::clamp(1000.0 / time(graph, 1), 1.0, 50.0));
    std::vector<double> samples;
    for (int i = 0; i < 7; ++i) samples.push_back(time(graph, repeat) / count);
    require(cudaGraphExecDestroy(graph));
    std::sort(samples.begin(), samples.end());
    return samples[samples.size() / 2];
  }

  cuda::Queue queue() const {
    cuda::Queue q = test::queue();
    q.stream = stream_;
    q.overlap = overlap_;
    q.workspace = workspace_.get();
    return q;
  }

 private:
  static void check(int code) {
    if (code > 0) throw std::runtime_error(cudaGetErrorString(static_cast<cudaError_t>(code)));
    if (code < 0) throw std::runtime_error("no kernel for this shape");
  }

  cudaGraphExec_t record(int count, const Run& run) const {
    cudaGraph_t recorded = nullptr;
    cudaGraphExec_t graph = nullptr;
    require(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeRelaxed));
    int failed = 0;
    for (int i = 0; i < count && failed == 0; ++i) failed = run(queue(), i);
    require(cudaStreamEndCapture(stream_, &recorded));
    check(failed);
    require(cudaGraphInstantiate(&graph, recorded, 0));
    require(cudaGraphDestroy(recorded));
    return graph;
  }

  /// Microseconds of one graph, of `repeat` in a row.
  double time(cudaGraphExec_t graph, int repeat) const {
    require(cudaEventRecord(begin_, stream_));
    for (int i = 0; i < repeat; ++i) require(cudaGraphLaunch(graph, stream_));
    require(cudaEventRecord(end_, stream_));
    require(cudaEventSynchronize(end_));
    float ms = 0.0f;
    require(cudaEventElapsedTime(&ms, begin_, end_));
    return ms * 1e3 / repeat;
  }

  bool overlap_;
  Device<std::uint8_t> workspace_{cuda::kWorkspaceBytes};
  cudaStream_t stream_ = nullptr;
  cudaEvent_t begin_ = nullptr, end_ = nullptr;
};

/// What an op moves or computes, and what of the device that is a share of.
struct Amount {
  double value = 0;  ///< bytes or operations; 0: only time counts
  double peak = 0;   ///< per second
  const char* unit = "";
};

class Report {
 public:
  void line(const std::string& group, const std::string& op, double us, const Amount& amount = {}) {
    const double rate = amount.value / us / 1e6;  // tera per second
    const double share = amount.peak > 0 ? rate * 1e12 / amount.peak : 0;
    std::printf("%-10s %-44s %10.2f us", group.c_str(), op.c_str(), us);
    if (amount.value > 0) std::printf(" %9.2f %-8s %5.1f %%", rate, amount.unit, 100 * share);
    std::printf("\n");
    std::fflush(stdout);
    char entry[256];
    std::snprintf(entry, sizeof entry, "{\"group\":\"%s\",\"op\":\"%s\",\"us\":%.3f,\"rate\":%.4f,\"share\":%.4f}",
                  group.c_str(), op.c_str(), us, rate, share);
    entries_ += (entries_.empty() ? "" : ",") + std::string(entry);
  }

  /// Times an op. One that fails is reported, and the others go on.
  double time(const Stopwatch& stopwatch, const std::string& group, const std::string& op, int count,
              const Amount& amount, const Stopwatch::Run& run) {
    try {
      const double us = stopwatch.microseconds(count, run);
      line(group, op, us, amount);
      return us;
    } catch (const std::exception& failure) {
      std::printf("%-10s %-44s failed: %s\n", group.c_str(), op.c_str(), failure.what());
      ++failures_;
      return 0;
    }
  }

  int failures() const { return failures_; }
  void json(const std::string& device) const {
    std::printf("{\"device\":\"%s\",\"failures\":%d,\"lines\":[%s]}\n", device.c_str(), failures_, entries_.c_str());
  }

 private:
  std::string entries_;
  int failures_ = 0;
};

}  // namespace pipo::test
