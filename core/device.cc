#include "core/device.h"

#include "core/error.h"

namespace sana {
void check(int status, const SanaFailure& failure) {
  if (status != 0) throw Error(failure.code, "%s", failure.message).in_calls(failure.first_call, failure.last_call);
}

Device::Device(const SanaBackend& backend, uint32_t index, const SanaDeviceOptions& options)
    : backend_(backend), index_(index) {
  SanaFailure failure;
  check(backend_.device_open(index, &options, &handle_, &failure), failure);
  try {
    bytes_ = peak_bytes_ = describe().workspace_bytes;
  } catch (...) {
    backend_.device_close(handle_);
    throw;
  }
}

Device::~Device() {
  backend_.device_close(handle_);
}

SanaDeviceInfo Device::describe() const {
  SanaDeviceInfo info;
  SanaFailure failure;
  check(backend_.device_describe(handle_, &info, &failure), failure);
  return info;
}

void Device::check_support(const SanaCall& call) const {
  SanaFailure failure;
  check(backend_.supports(handle_, &call, &failure), failure);
}

void Device::enter(uint64_t bytes) {
  const uint64_t now = bytes_ += bytes;
  for (uint64_t peak = peak_bytes_; peak < now && !peak_bytes_.compare_exchange_weak(peak, now);) continue;
}

Memory::Memory(std::shared_ptr<Device> device, uint64_t bytes) : device_(std::move(device)), bytes_(bytes) {
  SanaFailure failure;
  check(device_->backend().memory_allocate(device_->handle(), bytes, &handle_, &failure), failure);
  device_->enter(bytes);
}

Memory::~Memory() {
  device_->backend().memory_free(device_->handle(), handle_);
  device_->leave(bytes_);
}

// The device is still held here only if a constructor threw.
Resource::~Resource() {
  if (device_) device_->resources.erase(this);
}

void Resource::dispose() {
  if (!device_) return;
  release();
  device_->resources.erase(this);
  device_.reset();
}

}  // namespace sana
