#pragma once

#include <napi.h>

#include <exception>
#include <string>
#include <utility>

#include "pipo/error.h"

namespace pipo::binding {

/// An `Error` with `code`.
Napi::Error to_js_error(Napi::Env env, const Error& error);
/// The same for whatever was thrown; JavaScript errors pass through, unknown ones become `internal`.
Napi::Error to_js_error(Napi::Env env, const std::exception_ptr& thrown);

/// Runs the body of a synchronous export: C++ exceptions leave as JavaScript errors with `code`.
template <class Body>
auto guarded(Napi::Env env, Body body) {
  try {
    return body();
  } catch (const Napi::Error&) {
    throw;
  } catch (...) {
    throw to_js_error(env, std::current_exception());
  }
}

/// Runs the body of an export that returns a promise: exceptions before the work starts reject it.
template <class Body>
Napi::Value guarded_promise(Napi::Env env, Body body) {
  try {
    return body();
  } catch (...) {
    auto deferred = Napi::Promise::Deferred::New(env);
    deferred.Reject(to_js_error(env, std::current_exception()).Value());
    return deferred.Promise();
  }
}

}  // namespace pipo::binding
