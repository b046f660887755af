#pragma once

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "pipo/engine.h"
#include "pipo/session.h"

namespace pipo::binding {

class SessionState;

/// A loaded engine as its JavaScript object, its sessions' objects and their tasks share it.
/// Fields are used on the environment's thread only, except where said otherwise.
class EngineState {
 public:
  explicit EngineState(std::shared_ptr<Engine> engine) : engine_(std::move(engine)) {}

  bool is_closed() const { return closed_; }
  Engine& engine() const { return *engine_; }
  void add(const std::shared_ptr<SessionState>& session);
  /// No new requests; running ones are asked to end.
  void close();
  /// Waits for the running requests to end and frees sessions and weights. On any thread, after `close`.
  void release();

  /// A request runs from construction to destruction; from any thread.
  class RequestScope {
   public:
    explicit RequestScope(EngineState& state);
    ~RequestScope();

   private:
    EngineState& state_;
  };

 private:
  std::shared_ptr<Engine> engine_;
  std::vector<std::weak_ptr<SessionState>> sessions_;
  bool closed_ = false;
  std::mutex mutex_;  // guards requests_ and the freeing
  std::condition_variable idle_;
  int requests_ = 0;
};

/// One timeline. At most one task uses it at a time, and holds a reference meanwhile.
class SessionState {
 public:
  SessionState(std::shared_ptr<EngineState> engine, std::unique_ptr<Session> session)
      : engine_(std::move(engine)), session_(std::move(session)) {}

  /// Throws kClosed or kBusy unless a request may start; then it counts as running until `end_request`.
  void begin_request();
  void end_request();
  /// Asks the running request to end; false when there is none.
  bool cancel();
  void reset();
  /// Frees the memory, after the running request where there is one.
  void close();
  void close_with_engine();

  EngineState& engine() { return *engine_; }
  /// For the task of the running request.
  Session& session() { return *session_; }
  bool is_cancelled() const { return cancelled_; }
  /// Stays where it is while a task holds the session.
  const std::atomic<bool>* cancelled_flag() const { return &cancelled_; }
  bool is_engine_closed() const { return engine_closed_; }

 private:
  friend class EngineState;

  void require_open() const;
  void free_session();

  std::shared_ptr<EngineState> engine_;
  std::unique_ptr<Session> session_;
  std::mutex mutex_;  // guards freeing session_ against cancelling it
  bool busy_ = false;
  bool closed_ = false;
  std::atomic<bool> cancelled_{false};      // also read by the task's thread
  std::atomic<bool> engine_closed_{false};  // also read by the task's thread
};

}  // namespace pipo::binding
