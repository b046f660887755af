#include "kernels/cuda/engine/extend.h"

#include "kernels/cuda/engine/forward.h"

namespace pipo::cuda {
namespace {

/// With a stop to ask for, at most so many layers are queued ahead of the device.
constexpr int kLayersAhead = 3;

void check_chunk(const Session& session, const PipoCudaExtend& e) {
  require(e.rows >= 1 && e.rows <= kChunkRows, "a chunk has more positions than the GPU's workspace");
  require(e.first_position >= 0 && e.first_position + e.rows <= session.capacity(),
          "the session has no room for these positions; reserve it first");
  require(!e.pair_mode || session.model().is_pair(), "this model has no pair tensors; use plain mode");
  int before = 0;
  for (int i = 0; i < e.n_points; ++i) {
    require(e.points[i].rows >= before && e.points[i].rows <= e.rows && e.points[i].rows > 0,
            "snapshots must be wanted in order and inside of the chunk");
    before = e.points[i].rows;
  }
}

/// Asks whether to stop, without letting the queue run far ahead of the answer.
class Stopper {
 public:
  Stopper(const PipoCudaExtend& e, Stream stream) : e_(e), stream_(stream) {}

  void before_layer(int index) {
    if (e_.stop == nullptr) return;
    if (index >= kLayersAhead) check(runtime::wait(events_[index % kLayersAhead].get()), "run the model");
    if (e_.stop(e_.stop_context) != 0) fail(kPipoCudaCancelled, "cancelled");
  }
  void after_layer(int index) {
    if (e_.stop != nullptr) check(runtime::record(events_[index % kLayersAhead].get(), stream_), "run the model");
  }

 private:
  const PipoCudaExtend& e_;
  Stream stream_;
  OwnedEvent events_[kLayersAhead];
};

class Chunk {
 public:
  Chunk(Session& session, const PipoCudaExtend& e)
      : s_(session), m_(session.model()), ws_(m_.workspace()), e_(e), hidden_size_(m_.config().hidden_size) {
    upload_words();
  }

  void run() {
    if (e_.pair_mode && e_.first_position > 0) copy_hidden(ws_.hidden, s_.hidden());
    backbone();
    if (e_.pair_mode && e_.draft_rows != kPipoDraftNone) complete_draft_rows();
    for (int i = 0; i < e_.n_points; ++i) {
      copy_hidden(snapshot(i)->states().hidden(), hidden_row(e_.points[i].rows - 1));
    }
    copy_hidden(s_.hidden(), hidden_row(e_.rows - 1));
  }

 private:
  const Snapshot* snapshot(int point) const { return reinterpret_cast<const Snapshot*>(e_.points[point].snapshot); }
  float* hidden_row(int row) const { return ws_.hidden + std::int64_t{row + 1} * hidden_size_; }
  void copy_hidden(float* to, const float* from) const {
    check(runtime::copy(to, from, 4 * hidden_size_, m_.queue().stream), "copy a vector");
  }

  /// Rows of ws.hidden whose draft row needs no work: row p needs the first slot of position p + 1, so the chunk's
  /// first slot completes the position before, and the chunk's last position waits.
  int rows_without_draft() const {
    if (e_.first_position == 0) return 1;
    return e_.draft_rows == kPipoDraftCache && e_.skip_row_before ? 1 : 0;
  }

  /// Ids, next ids of the draft head, and the positions at which runs of the delta rule begin.
  void upload_words() {
    std::vector<std::int32_t> words(e_.slots, e_.slots + std::int64_t{e_.rows} * (e_.pair_mode ? 2 : 1));
    ids_ = ws_.words;
    next_ids_ = ws_.words + words.size();
    for (int row = rows_without_draft(); row < e_.rows && e_.pair_mode; ++row) words.push_back(e_.slots[2 * row]);
    position_ = ws_.words + words.size();
    words.push_back(e_.first_position);
    int done = 0;
    for (int i = 0; i < e_.n_points; ++i) {
      segments_.push_back({e_.points[i].rows - done, ws_.words + words.size() - 1, &snapshot(i)->states()});
      done = e_.points[i].rows;
      words.push_back(e_.first_position + done);
    }
    if (done < e_.rows) segments_.push_back({e_.rows - done, ws_.words + words.size() - 1, nullptr});
    check(runtime::copy(ws_.words, words.data(), static_cast<std::int64_t>(4 * words.size()), m_.queue().stream),
          "take ids");
  }

  Run make_run(int rows, int offset, float* rotation_table) const {
    Run run;
    run.queue = m_.queue();
    run.rows = rows;
    run.position = position_;
    run.offset = offset;
    run.first_position = e_.first_position;
    if (rows > 1) return run;
    run.splits = m_.splits(e_.first_position + offset + 1);
    run.rotation = rotation_table;
    check(rotation(run.queue, ws_.inv_freq, m_.config().rotary_dim / 2, position_, offset, rotation_table),
          "rotate positions");
    return run;
  }

  void backbone() {
    const Run run = make_run(e_.rows, 0, ws_.rotation);
    make_latents(m_, run, e_.pair_mode != 0, ids_, ws_.x);
    Stopper stopper(e_, run.queue.stream);
    int index = 0;
    for (const LayerWeights& layer : m_.weights().layers) {
      stopper.before_layer(index);
      run_layer(s_, run, layer, segments_, ws_.x);
      stopper.after_layer(index++);
    }
    check(rms_norm(run.queue, ws_.x, m_.weights().final_norm, m_.config().eps, e_.rows, m_.config().hidden_size,
                   hidden_row(0), nullptr),
          "run a norm");
  }

  void complete_draft_rows() {
    const int skipped = rows_without_draft();
    if (skipped == e_.rows) return;
    const Run run = make_run(e_.rows - skipped, skipped - 1, ws_.rotation + m_.config().rotary_dim);
    const float* hidden = hidden_row(skipped - 1);
    if (e_.draft_rows == kPipoDraftCache) run_draft_rows(s_, run, next_ids_, hidden);
    else run_draft(s_, run, next_ids_, hidden, ws_.draft);
  }

  Session& s_;
  const Model& m_;
  const Workspace& ws_;
  const PipoCudaExtend& e_;
  const std::int64_t hidden_size_;
  const std::int32_t* ids_ = nullptr;
  const std::int32_t* next_ids_ = nullptr;
  const std::int32_t* position_ = nullptr;
  std::vector<Segment> segments_;
};

}  // namespace

void extend(Session& session, const PipoCudaExtend& chunk) {
  check_chunk(session, chunk);
  Chunk(session, chunk).run();
}

}  // namespace pipo::cuda
