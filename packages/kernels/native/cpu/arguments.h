// Reading JavaScript arguments, and throwing JavaScript errors that carry a `code` of src/errors.ts.
#pragma once
#include <napi.h>

#include <cmath>
#include <string>

#include "failure.h"

namespace lenggen {

inline Napi::Error jsError(Napi::Env env, const char* code, const std::string& message) {
  Napi::Error error = Napi::Error::New(env, message);
  error.Set("code", code);
  return error;
}

// Runs `body`; what C++ throws leaves as a JavaScript error.
template <typename Body>
auto guarded(Napi::Env env, const Body& body) -> decltype(body()) {
  try {
    return body();
  } catch (const Napi::Error&) {
    throw;
  } catch (const Failure& failure) {
    throw jsError(env, failure.code(), failure.what());
  } catch (const std::invalid_argument& error) {
    throw jsError(env, "E_ARGUMENT", error.what());
  } catch (const std::bad_alloc&) {
    throw jsError(env, "E_MEMORY", "the machine is out of memory");
  } catch (const std::exception& error) {
    throw jsError(env, "E_DEVICE", error.what());
  }
}

inline double numberArgument(const Napi::CallbackInfo& info, size_t i, const char* name) {
  double value = 0;
  if (i >= info.Length() || napi_get_value_double(info.Env(), info[i], &value) != napi_ok) {
    throw Failure("E_ARGUMENT", std::string(name) + " must be a number");
  }
  return value;
}

// A whole number from least to most.
inline int wholeArgument(const Napi::CallbackInfo& info, size_t i, const char* name, int least, int most) {
  const double value = numberArgument(info, i, name);
  if (!(value >= least && value <= most) || value != std::floor(value)) {
    throw Failure("E_ARGUMENT", std::string(name) + " must be a whole number from " + std::to_string(least) + " to "
        + std::to_string(most) +
                                    ", not " + std::to_string(value));
  }
  return static_cast<int>(value);
}

// A number of bytes, at least 1.
inline size_t bytesArgument(const Napi::CallbackInfo& info, size_t i, const char* name) {
  const double value = numberArgument(info, i, name);
  if (!(value >= 1 && value <= 9007199254740991.0)) throw Failure("E_ARGUMENT",
      std::string(name) + " must be a number of bytes of at least 1");
  return static_cast<size_t>(value);
}

inline std::string stringArgument(const Napi::CallbackInfo& info, size_t i, const char* name) {
  if (i >= info.Length() || !info[i].IsString()) throw Failure("E_ARGUMENT", std::string(name) + " must be a string");
  return info[i].As<Napi::String>().Utf8Value();
}

// A typed array of the given element type. The memory is valid until JavaScript runs again.
inline void* arrayArgument(const Napi::CallbackInfo& info, size_t i, const char* name, napi_typedarray_type type, size_t* length) {
  napi_typedarray_type actual = napi_int8_array;
  void* data = nullptr;
  if (i >= info.Length() || napi_get_typedarray_info(info.Env(), info[i], &actual, length, &data, nullptr, nullptr) != napi_ok
      || actual != type) {
    throw Failure("E_ARGUMENT", std::string(name) + " must be a typed array of the right type");
  }
  return data;
}

}  // namespace lenggen
