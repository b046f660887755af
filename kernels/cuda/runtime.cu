#include "kernels/cuda/runtime.h"

#include <cstdio>

namespace pipo::cuda::runtime {
namespace {

cudaEvent_t as_event(Event event) { return static_cast<cudaEvent_t>(event); }
cudaGraphExec_t as_graph(Graph graph) { return static_cast<cudaGraphExec_t>(graph); }

/// The runtime also remembers a failure until it is asked; later calls must not find it.
int result(cudaError_t code) {
  if (code != cudaSuccess) cudaGetLastError();
  return static_cast<int>(code);
}

PipoCudaStatus refuse(PipoCudaStatus status, PipoCudaError* error, const char* what, cudaError_t code) {
  cudaGetLastError();
  std::snprintf(error->words, sizeof error->words, "%s (%s)", what, cudaGetErrorString(code));
  return status;
}

}  // namespace

PipoCudaStatus describe(PipoCudaDevice* out, PipoCudaError* words) {
  int count = 0;
  cudaDriverGetVersion(&out->driver_version);
  cudaRuntimeGetVersion(&out->runtime_version);
  const cudaError_t counted = cudaGetDeviceCount(&count);
  if (counted == cudaErrorInsufficientDriver) {
    return refuse(kPipoCudaUnusable, words, "the NVIDIA driver is too old for these kernels; update it", counted);
  }
  if (counted != cudaSuccess || count == 0) {
    return refuse(kPipoCudaUnusable, words, "no NVIDIA device can be used here", counted);
  }
  cudaDeviceProp properties{};
  const cudaError_t asked = cudaGetDeviceProperties(&properties, 0);
  if (asked != cudaSuccess) return refuse(kPipoCudaDeviceError, words, "the device does not answer", asked);
  std::snprintf(out->name, sizeof out->name, "%s", properties.name);
  out->capability_major = properties.major;
  out->capability_minor = properties.minor;
  out->multiprocessors = properties.multiProcessorCount;
  std::size_t free_bytes = 0, total_bytes = 0;
  const cudaError_t measured = cudaMemGetInfo(&free_bytes, &total_bytes);
  if (measured != cudaSuccess) return refuse(kPipoCudaDeviceError, words, "the device cannot be opened", measured);
  out->free_bytes = static_cast<std::int64_t>(free_bytes);
  out->total_bytes = static_cast<std::int64_t>(total_bytes);
  return kPipoCudaOk;
}

int most_shared_bytes(int* bytes) {
  return result(cudaDeviceGetAttribute(bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, 0));
}

int allocate(void** at, std::int64_t bytes) { return result(cudaMalloc(at, static_cast<std::size_t>(bytes))); }
void release(void* at) { result(cudaFree(at)); }
int allocate_pinned(void** at, std::int64_t bytes) {
  return result(cudaHostAlloc(at, static_cast<std::size_t>(bytes), cudaHostAllocMapped | cudaHostAllocPortable));
}
void release_pinned(void* at) { result(cudaFreeHost(at)); }

int copy(void* to, const void* from, std::int64_t bytes, Stream stream) {
  return result(cudaMemcpyAsync(to, from, static_cast<std::size_t>(bytes), cudaMemcpyDefault, stream));
}
int fill(void* at, int byte, std::int64_t bytes, Stream stream) {
  return result(cudaMemsetAsync(at, byte, static_cast<std::size_t>(bytes), stream));
}

int create_stream(Stream* stream) { return result(cudaStreamCreateWithFlags(stream, cudaStreamNonBlocking)); }
void destroy_stream(Stream stream) { result(cudaStreamDestroy(stream)); }
int synchronize(Stream stream) { return result(cudaStreamSynchronize(stream)); }
int poll(Stream stream, bool* idle) {
  const cudaError_t code = cudaStreamQuery(stream);
  *idle = code == cudaSuccess;
  const int failed = result(code);
  return code == cudaErrorNotReady ? 0 : failed;
}

int create_event(Event* event) {
  cudaEvent_t made = nullptr;
  const int code = result(cudaEventCreate(&made));
  *event = made;
  return code;
}
void destroy_event(Event event) { result(cudaEventDestroy(as_event(event))); }
int record(Event event, Stream stream) { return result(cudaEventRecord(as_event(event), stream)); }
int wait(Event event) { return result(cudaEventSynchronize(as_event(event))); }
int milliseconds(Event from, Event to, float* out) {
  return result(cudaEventElapsedTime(out, as_event(from), as_event(to)));
}

int begin_capture(Stream stream) { return result(cudaStreamBeginCapture(stream, cudaStreamCaptureModeRelaxed)); }

int end_capture(Stream stream, Graph* graph) {
  cudaGraph_t recorded = nullptr;
  const int ended = result(cudaStreamEndCapture(stream, &recorded));
  if (ended != 0) return ended;
  int made = 0;
  if (*graph != nullptr) {
    cudaGraphExecUpdateResultInfo info{};
    if (result(cudaGraphExecUpdate(as_graph(*graph), recorded, &info)) != 0) {
      destroy_graph(*graph);
      *graph = nullptr;
    }
  }
  if (*graph == nullptr) {
    cudaGraphExec_t executable = nullptr;
    made = result(cudaGraphInstantiate(&executable, recorded, 0));
    *graph = executable;
  }
  cudaGraphDestroy(recorded);
  return made;
}
int launch(Graph graph, Stream stream) { return result(cudaGraphLaunch(as_graph(graph), stream)); }
void destroy_graph(Graph graph) { result(cudaGraphExecDestroy(as_graph(graph))); }

bool is_out_of_memory(int code) { return code == cudaErrorMemoryAllocation; }
const char* error_text(int code) { return cudaGetErrorString(static_cast<cudaError_t>(code)); }

}  // namespace pipo::cuda::runtime
