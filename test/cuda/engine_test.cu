/// The engine of the CUDA library through its table of functions: every weight type against the engine on the CPU,
/// snapshots, steps with and without a graph, cancellation, and memory.
#include <cmath>
#include <memory>

#include "model/cuda/cuda_description.h"
#include "native/engine_fixture.h"
#include "test/cuda/device_memory.h"
#include "weights/load_weights.h"
#ifndef __CUDACC__
#include "kernels/cuda/emulation/runtime.h"
#endif

extern "C" const PipoCudaApi* pipo_cuda_api(std::uint32_t version);

using namespace pipo;
using namespace pipo::test;

namespace {

constexpr std::int32_t kPositions = 36;  // more than the narrow products take

const PipoCudaApi& api() { return *pipo_cuda_api(PIPO_CUDA_API_VERSION); }

/// Calls that must succeed.
template <class... P, class... A>
void run(PipoCudaStatus (*function)(P...), A... args) {
  PipoCudaError error{};
  if (function(args..., &error) != kPipoCudaOk) throw std::runtime_error(error.words);
}

/// A checkpoint of test/golden, packed and described.
struct Described {
  Described(const std::string& name, WeightDtype dtype)
      : loaded(load_weights(read_description(golden_directory(name)), load_options(dtype), {}, nullptr)),
        cuda(loaded.header.config, device_tensors(loaded.header.config, loaded.weights),
             dtype == WeightDtype::kF32 ? kernels::KvType::kF32 : kernels::KvType::kBf16) {}
  const ModelConfig& config() const { return loaded.header.config; }

  LoadedWeights loaded;
  CudaDescription cuda;
};

class OnDevice {
 public:
  explicit OnDevice(const Described& d, std::int32_t positions = 64) : config(d.config()) {
    run(api().model_create, &d.cuda.config, d.cuda.tensors.data(), d.cuda.n_tensors(),
        static_cast<std::int32_t (*)(void*, double)>(nullptr), static_cast<void*>(nullptr), &model);
    run(api().session_create, model, &session);
    run(api().reserve, session, positions, 0);
  }
  ~OnDevice() {
    api().session_destroy(session);
    api().model_destroy(model);
  }
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;

  PipoCudaExtend chunk(const std::vector<std::int32_t>& ids, std::int32_t first, std::int32_t rows) const {
    PipoCudaExtend e{};
    e.pair_mode = 1;
    e.slots = ids.data() + 2 * first;
    e.rows = rows;
    e.first_position = first;
    e.draft_rows = kPipoDraftCache;
    return e;
  }
  void extend(const std::vector<std::int32_t>& ids, std::int32_t first, std::int32_t rows) const {
    const PipoCudaExtend e = chunk(ids, first, rows);
    run(api().extend, session, &e);
  }
  std::vector<float> read(const float* vector) const {
    std::vector<float> out(static_cast<std::size_t>(config.hidden_size));
    run(api().read, session, vector, config.hidden_size, out.data());
    return out;
  }

  ModelConfig config;
  PipoCudaModel* model = nullptr;
  PipoCudaSession* session = nullptr;
};

/// Length of the difference over that of `b`.
double distance(const std::vector<float>& a, const std::vector<float>& b) {
  double difference = 0.0, length = 0.0;
  for (std::size_t i = 0; i < b.size(); ++i) {
    difference += (a[i] - b[i]) * static_cast<double>(a[i] - b[i]);
    length += static_cast<double>(b[i]) * b[i];
  }
  return std::sqrt(difference / length);  // NaN compares as too far
}

std::vector<InspectedPosition> on_cpu(const std::string& name, WeightDtype dtype,
                                      const std::vector<std::int32_t>& ids) {
  const auto engine = load_golden(name, load_options(dtype, "reference"));
  return engine->create_session(64)->inspect(ids, DecodeMode::kPair, 1, true);
}

/// Products of one row round their inputs as the CPU does, those of many rows to bf16; the layers amplify what differs.
constexpr double kExact = 1e-3;
#ifdef __CUDACC__
constexpr bool kRoundsAsCpu = false;  // its square roots and exponentials differ in the last bit, which tips a rounding
#else
constexpr bool kRoundsAsCpu = true;
#endif
struct Format {
  WeightDtype dtype;
  double near;  ///< on average; what has nothing to do with the CPU's is 1.4 away
};
constexpr Format kFormats[] = {
    {WeightDtype::kF32, kExact}, {WeightDtype::kBf16, 0.05}, {WeightDtype::kInt8, 0.2}, {WeightDtype::kInt4, 0.2}};

void check_near(const char* what, std::int32_t first, double sum, std::int32_t rows, double near) {
  CHECK_MESSAGE(sum / rows < near, std::string(what) + " from " + std::to_string(first) + " on are " +
                                       std::to_string(sum / rows) + " away on average");
}

void check_like_cpu(const OnDevice& device, const std::vector<InspectedPosition>& cpu, std::int32_t first,
                    std::int32_t rows, double near) {
  double sum = 0.0;
  for (std::int32_t row = 0; row < rows; ++row) {
    const auto& wanted = cpu[static_cast<std::size_t>(first + row)];
    sum += distance(device.read(api().hidden_row(device.session, row)), wanted.hidden);
  }
  check_near("hidden vectors", first, sum, rows, near);
}

void check_drafts_like_cpu(const OnDevice& device, const std::vector<InspectedPosition>& cpu, std::int32_t rows,
                           double near) {
  double drafts = 0.0, confidences = 0.0;
  for (std::int32_t row = 0; row + 1 < rows; ++row) {
    const auto& wanted = cpu[static_cast<std::size_t>(row)];
    const float* draft = api().draft_row(device.session, row);
    drafts += distance(device.read(draft), wanted.draft_hidden);
    float confidence = 0.0f;
    run(api().confidence, device.session, api().hidden_row(device.session, row), draft, &confidence);
    confidences += std::fabs(confidence - wanted.confidence);
  }
  check_near("draft hidden vectors", 0, drafts, rows - 1, near);
  check_near("confidences", 0, confidences, rows - 1, near);
}

PipoCudaRequest request_after(std::int32_t position, bool use_graph) {
  PipoCudaRequest r{};
  r.pair_mode = 1;
  r.position = position;
  r.max_new_tokens = 30;
  r.max_positions = 64;
  r.threshold = 0.5f;
  r.top_p = 0.9f;
  r.temperature = 1.0f;
  r.repetition_penalty = 1.1f;
  r.seed = 7;
  r.logprobs = 1;
  r.banned_id = -1;
  r.use_graph = use_graph ? 1 : 0;
  return r;
}

/// All steps of a request, two of them under way.
std::vector<PipoCudaStep> steps_of(const OnDevice& device, const PipoCudaRequest& r) {
  run(api().request_begin, device.session, &r);
  run(api().step_launch, device.session);
  std::vector<PipoCudaStep> steps;
  for (;;) {
    run(api().step_launch, device.session);
    std::int32_t any = 0, first = 0;
    PipoCudaStep step{};
    run(api().step_first, device.session, &any, &first);
    run(api().step_take, device.session, &any, &step);
    if (!any) {
      run(api().step_take, device.session, &any, &step);  // the one launched ahead
      CHECK(!any);
      return steps;
    }
    CHECK(first == step.first);
    CHECK(step.begin_ns >= step.previous_end_ns && step.begin_ns > 0);
    CHECK(steps.empty() ? step.previous_end_ns == 0 : step.previous_end_ns >= steps.back().begin_ns);
    steps.push_back(step);
  }
}

bool same(const PipoCudaStep& a, const PipoCudaStep& b) {
  const auto equal = [](float x, float y) { return x == y || (x != x && y != y); };
  return a.first == b.first && a.second == b.second && equal(a.confidence, b.confidence) &&
         equal(a.first_logprob, b.first_logprob) && equal(a.second_logprob, b.second_logprob) &&
         a.drafted == b.drafted && a.executed == b.executed && a.row_written == b.row_written;
}

}  // namespace

TEST("chunks and single positions compute what the CPU does, for every weight type") {
  for (const Format& format : kFormats) {
    const Described described("tiny-4b", format.dtype);
    const std::vector<std::int32_t> ids = random_ids(described.config(), 2 * kPositions, 3);
    const std::vector<InspectedPosition> cpu = on_cpu("tiny-4b", format.dtype, ids);
    const OnDevice device(described);
    PipoCudaExtend whole = device.chunk(ids, 0, kPositions);
    whole.draft_rows = kPipoDraftHidden;
    run(api().extend, device.session, &whole);
    check_like_cpu(device, cpu, 0, kPositions, format.near);
    check_drafts_like_cpu(device, cpu, kPositions, format.near);

    run(api().session_clear, device.session);
    std::int32_t first = 0;
    for (const std::int32_t rows : {1, 1, 1, 14, 1, 2}) {
      device.extend(ids, first, rows);
      check_like_cpu(device, cpu, first, rows, kRoundsAsCpu && first < 3 ? kExact : format.near);
      first += rows;
    }
    // Rows of the draft head that several chunks have left.
    run(api().draft, device.session, first - 1, ids[static_cast<std::size_t>(2 * first)], 0);
    const double away = distance(device.read(api().draft_row(device.session, 0)),
                                 cpu[static_cast<std::size_t>(first - 1)].draft_hidden);
    CHECK_MESSAGE(away < format.near, "the draft is " + std::to_string(away) + " away");
  }
}

TEST("a snapshot inside of a chunk is where the timeline goes on from") {
  const Described described("tiny-4b", WeightDtype::kF32);
  const std::vector<std::int32_t> ids = random_ids(described.config(), 2 * kPositions, 4);
  const OnDevice device(described);
  PipoCudaSnapshot* snapshots[2] = {};
  for (PipoCudaSnapshot*& snapshot : snapshots) run(api().snapshot_create, device.session, &snapshot);
  const PipoCudaPoint points[] = {{3, snapshots[0]}, {7, snapshots[1]}};
  PipoCudaExtend e = device.chunk(ids, 0, 9);
  e.points = points;
  e.n_points = 2;
  run(api().extend, device.session, &e);
  const std::vector<float> before = device.read(api().hidden_row(device.session, 2));
  const std::vector<float> last = device.read(api().hidden(device.session));
  for (const PipoCudaPoint& point : points) {
    run(api().restore, device.session, static_cast<const PipoCudaSnapshot*>(point.snapshot));
    if (point.rows == 3) CHECK(device.read(api().hidden(device.session)) == before);
    device.extend(ids, point.rows, 9 - point.rows);
    CHECK(distance(device.read(api().hidden(device.session)), last) < 1e-4);
  }
  for (PipoCudaSnapshot* snapshot : snapshots) api().snapshot_destroy(snapshot);
}

TEST("steps are the same with a graph and without one, request after request") {
  const Described described("tiny-pregate", WeightDtype::kInt8);
  const std::vector<std::int32_t> ids = random_ids(described.config(), 20, 5);
  const OnDevice device(described);
  for (const float pre_gate : {0.0f, 0.5f}) {
    std::vector<std::vector<PipoCudaStep>> runs;
    for (const bool use_graph : {false, true, true}) {
      run(api().session_clear, device.session);
      device.extend(ids, 0, 10);
      PipoCudaRequest r = request_after(10, use_graph);
      r.pre_gate_threshold = pre_gate;
      r.prompt_ids = ids.data();
      r.n_prompt_ids = static_cast<std::int32_t>(ids.size());
      runs.push_back(steps_of(device, r));
    }
    CHECK(runs[0].size() > cuda::kRing);  // the ring has gone round
    for (const auto& steps : runs) {
      CHECK(steps.size() == runs[0].size() && std::equal(steps.begin(), steps.end(), runs[0].begin(), same));
    }
  }
}

TEST("a captured step serves requests of other sampling, and room that grew") {
  const Described described("tiny-4b", WeightDtype::kF32);
  const std::vector<std::int32_t> ids = random_ids(described.config(), 20, 6);
  const OnDevice device(described, 40);
  const auto steps_with = [&](std::uint64_t seed, bool use_graph) {
    run(api().session_clear, device.session);
    device.extend(ids, 0, 10);
    PipoCudaRequest r = request_after(10, use_graph);
    r.max_new_tokens = 12;
    r.seed = seed;
    return steps_of(device, r);
  };
  const auto equal = [](const auto& a, const auto& b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(), same);
  };
  CHECK(equal(steps_with(1, true), steps_with(1, false)));
  CHECK(equal(steps_with(2, true), steps_with(2, false)));
  run(api().reserve, device.session, 80, 10);
  CHECK(equal(steps_with(2, true), steps_with(2, false)));
}

TEST("what the device copies and multiplies is measured") {
  double copied = 0, multiplied = 0;
  run(api().measure_copy, std::int64_t{1} << 20, &copied);
  run(api().measure_matrix, &multiplied);
  CHECK(copied > 0 && multiplied > 0 && std::isfinite(copied) && std::isfinite(multiplied));
}

TEST("no more than two steps are under way, and none without a request or room") {
  const Described described("tiny-4b", WeightDtype::kF32);
  const std::vector<std::int32_t> ids = random_ids(described.config(), 8, 7);
  const OnDevice device(described, 20);
  device.extend(ids, 0, 4);
  CHECK_THROWS(run(api().step_launch, device.session));
  PipoCudaRequest r = request_after(4, true);
  CHECK_THROWS(run(api().request_begin, device.session, &r));  // 30 tokens, 20 positions
  r.max_positions = 20;
  run(api().request_begin, device.session, &r);
  run(api().step_launch, device.session);
  run(api().step_launch, device.session);
  CHECK_THROWS(run(api().step_launch, device.session));
}

TEST("a cancelled request ends before its next step, and the session goes on") {
  const Described described("tiny-4b", WeightDtype::kF32);
  const std::vector<std::int32_t> ids = random_ids(described.config(), 8, 8);
  const OnDevice device(described);
  device.extend(ids, 0, 4);
  const PipoCudaRequest r = request_after(4, true);
  run(api().request_begin, device.session, &r);
  run(api().step_launch, device.session);
  std::int32_t any = 0, first = 0;
  PipoCudaStep step{};
  run(api().step_take, device.session, &any, &step);
  CHECK(any && step.executed);
  api().request_cancel(device.session);
  run(api().step_launch, device.session);
  run(api().step_first, device.session, &any, &first);
  CHECK(!any);
  run(api().step_take, device.session, &any, &step);
  CHECK(!any);
  run(api().session_clear, device.session);
  device.extend(ids, 0, 4);
  CHECK(!steps_of(device, r).empty());
}

TEST("a chunk stops between layers when it is asked to") {
  const Described described("tiny-4b", WeightDtype::kF32);
  const std::vector<std::int32_t> ids = random_ids(described.config(), 8, 9);
  const OnDevice device(described);
  int asked = 0;
  PipoCudaExtend e = device.chunk(ids, 0, 4);
  e.stop_context = &asked;
  e.stop = [](void* count) -> std::int32_t { return ++*static_cast<int*>(count) == 3; };
  PipoCudaError error{};
  CHECK(api().extend(device.session, &e, &error) == kPipoCudaCancelled);
  CHECK(asked == 3);
}

TEST("what a caller may not ask for is refused in words") {
  const Described described("tiny-4b", WeightDtype::kF32);
  const std::vector<std::int32_t> ids = random_ids(described.config(), 200, 10);
  const OnDevice device(described, 20);
  PipoCudaExtend e = device.chunk(ids, 0, 21);
  PipoCudaError error{};
  CHECK(api().extend(device.session, &e, &error) == kPipoCudaUnsupported);
  CHECK_MESSAGE(std::string(error.words).find("no room") != std::string::npos, error.words);
  Described incomplete("tiny-4b", WeightDtype::kF32);
  incomplete.cuda.tensors.pop_back();
  PipoCudaModel* model = nullptr;
  const PipoCudaStatus made = api().model_create(&incomplete.cuda.config, incomplete.cuda.tensors.data(),
                                                 incomplete.cuda.n_tensors(), nullptr, nullptr, &model, &error);
  CHECK(made == kPipoCudaUnsupported && model == nullptr);
}

#ifndef __CUDACC__
TEST("what is allocated is what was planned, and all of it is given back") {
  for (const char* name : {"tiny-9b", "tiny-4b", "tiny-plain"}) {  // the first has an output matrix of its own
    const Described described(name, WeightDtype::kInt8);
    PipoCudaMemory plan{};
    run(api().plan, &described.cuda.config, described.cuda.tensors.data(), described.cuda.n_tensors(), 50, 1, &plan);
    const std::int64_t before = simt::memory().used;
    {
      const OnDevice device(described, 0);
      CHECK(simt::memory().used - before == plan.weights + plan.workspace + plan.states + plan.step);
      PipoCudaSnapshot* snapshot = nullptr;
      run(api().snapshot_create, device.session, &snapshot);
      run(api().reserve, device.session, 50, 0);
      CHECK(simt::memory().used - before ==
            plan.weights + plan.workspace + plan.states + plan.step + plan.snapshots + plan.kv);
      api().snapshot_destroy(snapshot);
    }
    CHECK(simt::memory().used == before && simt::memory().allocations == 0);
  }
}

TEST("loading that is cancelled or finds no memory leaves nothing behind") {
  const Described described("tiny-4b", WeightDtype::kF32);
  const auto load = [&](std::int32_t (*keep_going)(void*, double), PipoCudaError* error) {
    PipoCudaModel* model = nullptr;
    return api().model_create(&described.cuda.config, described.cuda.tensors.data(), described.cuda.n_tensors(),
                              keep_going, nullptr, &model, error);
  };
  PipoCudaError error{};
  CHECK(load([](void*, double fraction) -> std::int32_t { return fraction < 0.5; }, &error) == kPipoCudaCancelled);
  CHECK(simt::memory().allocations == 0);
  const std::int64_t limit = simt::memory().limit;
  simt::memory().limit = 4 << 20;
  CHECK(load(nullptr, &error) == kPipoCudaOutOfMemory);
  CHECK_MESSAGE(std::string(error.words).find("smaller") != std::string::npos, error.words);
  simt::memory().limit = limit;
  CHECK(simt::memory().allocations == 0 && simt::memory().used == 0);
}
#endif

int main(int argc, char** argv) { return device_present() ? pipo::test::run(argc, argv) : kSkipped; }
