#include <algorithm>
#include <memory>
#include <vector>

#include "decode/decode_context.h"

namespace pipo {
namespace {

/// Positions before the end of a prompt where snapshots are left. Between two keystrokes only the last few slots of a
/// prompt change; an odd prompt's last pair always does.
constexpr std::int32_t kSnapshotDistances[] = {32, 8, 1, 0};
/// And one now and then, so that a cancelled prefill or a changed prompt loses little.
constexpr std::int32_t kSnapshotInterval = 256;
/// Room for new positions that is made together with the prompt's, so that a usual completion never grows the cache.
constexpr std::int32_t kRoomAhead = 256;

/// The snapshots that a chunk is to fill; kept once the chunk is done, given back otherwise.
class ChunkSnapshots {
 public:
  ChunkSnapshots(Timeline& timeline, std::int32_t begin, std::int32_t end, std::int32_t prompt_end)
      : store_(timeline.snapshots()) {
    if (timeline.states().can_be_cut()) return;
    for (std::int32_t at = begin + 1; at <= end; ++at) {
      if (is_wanted(at, prompt_end) && !store_.has(at)) take(at, begin);
    }
  }
  ~ChunkSnapshots() {
    for (auto& snapshot : taken_) store_.give_back(std::move(snapshot));
  }
  ChunkSnapshots(const ChunkSnapshots&) = delete;
  ChunkSnapshots& operator=(const ChunkSnapshots&) = delete;

  std::span<const SnapshotPoint> points() const { return points_; }
  void keep() {
    for (auto& snapshot : taken_) store_.add(std::move(snapshot));
    taken_.clear();
  }

 private:
  static bool is_wanted(std::int32_t at, std::int32_t prompt_end) {
    const auto* last = std::end(kSnapshotDistances);
    return at % kSnapshotInterval == 0 || std::find(kSnapshotDistances, last, prompt_end - at) != last;
  }
  void take(std::int32_t at, std::int32_t begin) {
    std::unique_ptr<Snapshot> snapshot = store_.take_free(at);
    if (!snapshot) return;
    points_.push_back({at - begin, snapshot.get()});
    taken_.push_back(std::move(snapshot));
  }

  SnapshotStore& store_;
  std::vector<std::unique_ptr<Snapshot>> taken_;
  std::vector<SnapshotPoint> points_;
};

}  // namespace

std::optional<StopReason> prefill(DecodeContext& c, std::span<const std::int32_t> slots) {
  Timeline& timeline = c.timeline;
  const std::int32_t per_position = c.request.mode == DecodeMode::kPair ? 2 : 1;
  const auto prompt_end = static_cast<std::int32_t>(slots.size()) / per_position;
  GenerateStats& stats = c.result.stats;
  stats.cached_positions = timeline.rewind_to_match(c.request.mode, slots);
  const std::int32_t ahead = std::min({c.request.max_new_tokens, kRoomAhead, timeline.max_positions() - prompt_end});
  timeline.reserve(prompt_end + ahead);

  while (timeline.positions() < prompt_end) {
    const Turn turn(c.turns, [&c] { return c.stop.requested(); });
    if (!turn) return c.stop_reason();
    const std::int32_t begin = timeline.positions();
    const std::int32_t end = std::min(prompt_end, begin + c.model.max_rows());
    ChunkSnapshots snapshots(timeline, begin, end, prompt_end);
    const auto chunk = slots.subspan(static_cast<std::size_t>(begin) * per_position,
                                     static_cast<std::size_t>(end - begin) * per_position);
    const RunResult run = c.model.extend(timeline, chunk, snapshots.points(), &c.stop);
    c.require_ok(run.status);
    if (run.stopped) return c.stop_reason();
    snapshots.keep();
    stats.extend_positions += end - begin;
  }
  stats.prefill_ms = c.clock.ms();
  return std::nullopt;
}

}  // namespace pipo
