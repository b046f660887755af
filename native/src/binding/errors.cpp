#include "binding/errors.h"

#include <new>

#include "pipo/model_schema.h"

namespace pipo::binding {

Napi::Error to_js_error(Napi::Env env, const Error& error) {
  Napi::Error made = Napi::Error::New(env, error.what());
  made.Set("code", schema::word_of<ErrorCode>(schema::kErrorCodes, error.code()));
  return made;
}

Napi::Error to_js_error(Napi::Env env, const std::exception_ptr& thrown) {
  try {
    std::rethrow_exception(thrown);
  } catch (const Napi::Error& error) {
    return error;
  } catch (const Error& error) {
    return to_js_error(env, error);
  } catch (const std::bad_alloc&) {
    return to_js_error(env, Error(ErrorCode::kNotEnoughMemory,
                                  "The system has no memory left. Close other programs or "
                                  "use a smaller model."));
  } catch (const std::exception& error) {
    return to_js_error(env, Error(ErrorCode::kInternal, std::string("The engine failed: ") + error.what()));
  } catch (...) {
    return to_js_error(env, Error(ErrorCode::kInternal, "The engine failed for an unknown reason."));
  }
}

}  // namespace pipo::binding
