#include "binding/state.h"

namespace pipo::binding {

void EngineState::add(const std::shared_ptr<SessionState>& session) {
  std::erase_if(sessions_, [](const auto& known) { return known.expired(); });
  sessions_.push_back(session);
}

void EngineState::close() {
  closed_ = true;
  for (const auto& known : sessions_) {
    if (const auto session = known.lock()) session->close_with_engine();
  }
}

void EngineState::release() {
  std::unique_lock lock(mutex_);
  idle_.wait(lock, [this] { return requests_ == 0; });
  for (const auto& known : sessions_) {
    if (const auto session = known.lock()) session->free_session();
  }
  engine_.reset();
}

EngineState::RequestScope::RequestScope(EngineState& state) : state_(state) {
  const std::lock_guard lock(state_.mutex_);
  state_.requests_++;
}

EngineState::RequestScope::~RequestScope() {
  const std::lock_guard lock(state_.mutex_);
  state_.requests_--;
  state_.idle_.notify_all();
}

void SessionState::require_open() const {
  if (engine_->is_closed()) throw Error(ErrorCode::kClosed, "The engine is closed. Load the model again.");
  if (closed_) throw Error(ErrorCode::kClosed, "The session is closed. Create another one.");
}

void SessionState::begin_request() {
  require_open();
  if (busy_)
    throw Error(ErrorCode::kBusy, "The session is running a request. Wait for it, cancel it, or use another session.");
  busy_ = true;
  cancelled_ = false;
}

void SessionState::end_request() {
  busy_ = false;
  if (closed_) free_session();
}

bool SessionState::cancel() {
  if (!busy_) return false;
  cancelled_ = true;
  const std::lock_guard lock(mutex_);
  if (session_) session_->cancel();
  return true;
}

void SessionState::reset() {
  require_open();
  if (busy_) throw Error(ErrorCode::kBusy, "The session is running a request. Cancel it and wait before resetting.");
  session_->reset();
}

void SessionState::close() {
  if (closed_) return;
  closed_ = true;
  if (!cancel()) free_session();
}

void SessionState::free_session() {
  const std::lock_guard lock(mutex_);
  session_.reset();
}

void SessionState::close_with_engine() {
  engine_closed_ = true;
  cancel();
}

}  // namespace pipo::binding
