// The boundary of a backend: runs a body and turns its exceptions into a SanaFailure, because no exception may cross
// the table.

#pragma once

#include <cstdio>
#include <exception>
#include <new>

#include "core/backend.h"
#include "core/error.h"

namespace sana {

template <class Body>
int attempt(SanaFailure* failure, Body&& body) noexcept {
  failure->first_call = failure->last_call = -1;
  try {
    body();
    return 0;
  } catch (const Error& error) {
    failure->code = error.code();
    failure->first_call = error.first_call();
    failure->last_call = error.last_call();
    std::snprintf(failure->message, sizeof failure->message, "%s", error.what());
  } catch (const std::bad_alloc&) {
    failure->code = "ERR_SANA_MEMORY";
    std::snprintf(failure->message, sizeof failure->message, "out of host memory");
  } catch (const std::exception& error) {
    failure->code = "ERR_SANA_DEVICE";
    std::snprintf(failure->message, sizeof failure->message, "%s", error.what());
  }
  return 1;
}

}  // namespace sana
