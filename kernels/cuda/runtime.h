#pragma once

#include <cstdint>

#include "kernels/cuda/device.cuh"
#include "kernels/cuda_api.h"

/// The calls of the CUDA runtime that the engine makes, behind names of their own, because tests run the engine under
/// emulation. Functions that return int return the runtime's error code, 0 for success.
///
/// The library uses device 0 and never selects another one, so every host thread works with it from the start.
namespace pipo::cuda::runtime {

using Event = void*;
using Graph = void*;

/// What the device is. `words`, when it cannot be used, are for the user.
PipoCudaStatus describe(PipoCudaDevice* out, PipoCudaError* words);

/// Shared memory that one block may have.
int most_shared_bytes(int* bytes);

int allocate(void** at, std::int64_t bytes);
void release(void* at);
/// Host memory that the device reads and writes at the same address.
int allocate_pinned(void** at, std::int64_t bytes);
void release_pinned(void* at);

/// Between any memories. What is copied from ordinary host memory may be changed as soon as this returns; a copy into
/// ordinary host memory is complete when it returns.
int copy(void* to, const void* from, std::int64_t bytes, Stream stream);
int fill(void* at, int byte, std::int64_t bytes, Stream stream);

int create_stream(Stream* stream);
void destroy_stream(Stream stream);
int synchronize(Stream stream);
/// `idle`: everything queued has ended.
int poll(Stream stream, bool* idle);

int create_event(Event* event);
void destroy_event(Event event);
int record(Event event, Stream stream);
int wait(Event event);
int milliseconds(Event from, Event to, float* out);

/// From here on `stream` records launches instead of running them.
int begin_capture(Stream stream);
/// Makes a graph of what was recorded, or changes the one in `graph` into it.
int end_capture(Stream stream, Graph* graph);
int launch(Graph graph, Stream stream);
void destroy_graph(Graph graph);

bool is_out_of_memory(int code);
const char* error_text(int code);

}  // namespace pipo::cuda::runtime
