#include "kernels/cuda/engine/request.h"

#include <chrono>
#include <cstring>
#include <thread>

#include "kernels/cuda/engine/step.h"

namespace pipo::cuda {
namespace {

void check_request(const Session& session, const PipoCudaRequest& r) {
  require(!r.pair_mode || session.model().is_pair(), "this model has no pair tensors; use plain mode");
  require(r.position >= 1, "a request needs at least one position before it");
  require(r.n_stop_ids <= kMostStopIds, "the request has more than 1024 stop ids; use fewer");
  // Every step but the last executes one position.
  const std::int64_t wanted = std::int64_t{r.position} + std::max(0, r.max_new_tokens - 1);
  require(session.capacity() >= std::min<std::int64_t>(r.max_positions, wanted),
          "the session has no room for the request's positions; reserve it first");
}

StepKind kind_of(const Model& model, const PipoCudaRequest& r) {
  StepKind kind;
  kind.pair = r.pair_mode != 0;
  kind.proposes = kind.pair && r.threshold < 1.0f;
  kind.pre_gate = kind.proposes && model.config().has_pre_gate && r.pre_gate_threshold > 0.0f;
  kind.draws = r.temperature > 0.0f;
  return kind;
}

/// The two structs of a request, as they are uploaded.
struct Uploaded {
  StepState step;
  SampleRequest sampling;
};
static_assert(offsetof(Uploaded, sampling) == sizeof(StepState));

StepState step_state(const Session& session, const PipoCudaRequest& r, bool penalties) {
  const PipoCudaConfig& c = session.model().config();
  const RequestMemory& memory = session.request_memory();
  StepState s{};
  s.pair_mode = r.pair_mode;
  s.pad = c.pad_token_id;
  s.max_positions = r.max_positions;
  s.max_new_tokens = r.max_new_tokens;
  s.n_stop_ids = r.n_stop_ids;
  s.stop_ids = memory.stop_ids;
  s.threshold = r.threshold;
  s.pre_gate_threshold = r.pre_gate_threshold;
  s.has_pre_gate = c.has_pre_gate;
  s.first_visible_mode = r.first_visible_mode;
  s.first_visible = r.first_visible;
  s.seen = penalties ? memory.seen : nullptr;
  s.ring = session.ring();
  s.cancel = session.cancel();
  s.active = r.max_new_tokens > 0;
  s.position = r.position;
  return s;
}

SampleRequest sample_request(const Session& session, const PipoCudaRequest& r, bool penalties) {
  const RequestMemory& memory = session.request_memory();
  SampleRequest s;
  s.temperature = r.temperature;
  s.top_p = r.top_p;
  s.min_p = r.min_p;
  s.top_k = r.top_k;
  s.repetition_penalty = r.repetition_penalty;
  s.presence_penalty = r.presence_penalty;
  s.seed = r.seed;
  s.banned = r.banned_id;
  s.wants_logprob = r.logprobs;
  s.min_new_tokens = r.min_new_tokens;
  s.n_stop_ids = r.n_stop_ids;
  s.stop_ids = memory.stop_ids;
  s.allowed = r.allowed_ids != nullptr ? memory.allowed : nullptr;
  s.seen = penalties ? memory.seen : nullptr;
  return s;
}

std::vector<std::uint8_t> seen_flags(const PipoCudaConfig& c, const PipoCudaRequest& r) {
  std::vector<std::uint8_t> seen(static_cast<std::size_t>(c.vocab_size));
  for (int i = 0; i < r.n_prompt_ids; ++i) {
    const int id = r.prompt_ids[i];
    if (id >= 0 && id < c.real_vocab_size && id != r.banned_id) seen[static_cast<std::size_t>(id)] = kSeenInPrompt;
  }
  return seen;
}

void upload_request(Session& session, const PipoCudaRequest& r) {
  const PipoCudaConfig& c = session.model().config();
  const RequestMemory& memory = session.request_memory();
  const Stream stream = session.model().queue().stream;
  const bool penalties = r.presence_penalty != 0.0f || r.repetition_penalty != 1.0f;
  const auto send = [&](void* to, const void* from, std::int64_t bytes) {
    if (bytes > 0) check(runtime::copy(to, from, bytes, stream), "begin a request");
  };
  if (penalties) {
    const std::vector<std::uint8_t> seen = seen_flags(c, r);
    send(memory.seen, seen.data(), static_cast<std::int64_t>(seen.size()));
  }
  if (r.allowed_ids != nullptr) send(memory.allowed, r.allowed_ids, (c.real_vocab_size + 7) / 8);
  send(memory.stop_ids, r.stop_ids, 4ll * r.n_stop_ids);
  Uploaded all{step_state(session, r, penalties), sample_request(session, r, penalties)};
  all.step.step = session.request().launched;
  send(session.step_state(), &all, sizeof all);
}

/// Rounded up, so that a growing context seldom needs another graph.
int context_bucket(int positions) {
  int bucket = 256;
  while (bucket < positions) bucket *= 4;
  return bucket;
}

runtime::Graph capture(Session& session, const StepKind& kind) {
  const Model& model = session.model();
  Queue queue = model.queue();
  queue.overlap = model.can_overlap();
  check(runtime::begin_capture(queue.stream), "record a step");
  runtime::Graph graph = nullptr;
  try {
    queue_step(session, queue, kind);
  } catch (...) {
    if (runtime::end_capture(queue.stream, &graph) == 0) runtime::destroy_graph(graph);
    throw;
  }
  check(runtime::end_capture(queue.stream, &graph), "record a step");
  session.graphs().add(kind, graph);
  return graph;
}

unsigned load(const volatile unsigned& number) {
  return __atomic_load_n(const_cast<const unsigned*>(&number), __ATOMIC_ACQUIRE);
}

/// Waits until the device has written `wanted`. A device that has failed or stopped ends the wait.
void wait_for(const Session& session, const volatile unsigned& number, unsigned wanted) {
  constexpr int kSpins = 2000, kSleepsPerPoll = 64;
  const Stream stream = session.model().queue().stream;
  for (int tries = 0; load(number) != wanted; ++tries) {
    if (tries < kSpins) continue;
    std::this_thread::sleep_for(std::chrono::microseconds(20));
    if (tries % kSleepsPerPoll != 0) continue;
    bool idle = false;
    check(runtime::poll(stream, &idle), "run a step");
    if (idle && load(number) != wanted) {
      fail(kPipoCudaDeviceError, "the GPU ended a step without a result; restart the engine, and choose the CPU if it "
                                 "happens again");
    }
  }
}

StepRecord& oldest_step(Session& session) {
  const Session::Request& request = session.request();
  require(request.launched != request.taken, "no step is under way");
  return session.ring()[request.taken % kRing];
}

}  // namespace

void begin_request(Session& session, const PipoCudaRequest& r) {
  check_request(session, r);
  Session::Request& request = session.request();
  if (request.launched != request.taken) {  // steps of an abandoned request
    check(runtime::synchronize(session.model().queue().stream), "run a step");
    request.taken = request.launched;
  }
  *session.cancel() = 0;
  upload_request(session, r);
  request.kind = kind_of(session.model(), r);
  request.position = r.position;
  request.first_step = request.launched;
  request.use_graph = r.use_graph != 0;
  request.begun = true;
}

/// The first step of a kind goes out as it is, and is recorded while it runs: no request waits for a graph.
void launch_step(Session& session) {
  Session::Request& request = session.request();
  require(request.begun, "no request has begun");
  require(request.launched - request.taken < kStepsAhead, "two steps are under way; take one first");
  const Model& model = session.model();
  const unsigned number = request.launched - request.first_step;
  StepKind kind = request.kind;
  kind.splits = model.splits(context_bucket(request.position + static_cast<int>(number) + 1));
  runtime::Graph graph = request.use_graph ? session.graphs().find(kind) : nullptr;
  if (graph == nullptr && request.use_graph && number > 0) graph = capture(session, kind);
  if (graph != nullptr) check(runtime::launch(graph, model.queue().stream), "run a step");
  else queue_step(session, model.queue(), kind);
  ++request.launched;
}

bool first_of_step(Session& session, int* first) {
  const StepRecord& record = oldest_step(session);
  wait_for(session, record.first_number, session.request().taken + 1);
  *first = record.first;
  return record.ended == 0;
}

bool take_step(Session& session, PipoCudaStep* out) {
  const StepRecord& record = oldest_step(session);
  wait_for(session, record.number, session.request().taken + 1);
  ++session.request().taken;
  if (record.ended != 0) return false;
  *out = {record.first,          record.second,  record.confidence, record.first_logprob,
          record.second_logprob, record.drafted, record.executed,   record.row_written,
          record.begin_ns,       record.previous_end_ns};
  return true;
}

}  // namespace pipo::cuda
