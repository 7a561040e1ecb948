// An open device and its memory, independent of JavaScript (programs are in program.h). All are owned by shared
// pointers: queued work keeps what it uses alive, and the last user frees it, on any thread.

#pragma once

#include <atomic>
#include <memory>
#include <set>

#include "core/backend.h"

namespace sana {

class Resource;

// Turns a backend's failure into an exception.
void check(int status, const SanaFailure& failure);

class Device {
 public:
  Device(const SanaBackend&, uint32_t index, const SanaDeviceOptions&);
  ~Device();
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  const SanaBackend& backend() const { return backend_; }
  SanaDevice* handle() const { return handle_; }
  uint32_t index() const { return index_; }
  SanaDeviceInfo describe() const;
  void check_support(const SanaCall&) const;  // throws if the device does not support a validated call

  // Accounting: the device's own workspace and all of its live Memory objects.
  uint64_t bytes() const { return bytes_; }
  uint64_t peak_bytes() const { return peak_bytes_; }
  void reset_peak() { peak_bytes_ = bytes_.load(); }
  void enter(uint64_t bytes);
  void leave(uint64_t bytes) { bytes_ -= bytes; }

  // The resources of this device that JavaScript holds; JavaScript thread only.
  std::set<Resource*> resources;

 private:
  const SanaBackend& backend_;
  const uint32_t index_;
  SanaDevice* handle_ = nullptr;
  std::atomic<uint64_t> bytes_{0}, peak_bytes_{0};
};

class Memory {
 public:
  Memory(std::shared_ptr<Device>, uint64_t bytes);  // zero-filled; throws ERR_SANA_MEMORY if there is not enough
  ~Memory();
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  const Device& device() const { return *device_; }
  SanaMemory* handle() const { return handle_; }
  uint64_t bytes() const { return bytes_; }

 private:
  const std::shared_ptr<Device> device_;
  const uint64_t bytes_;
  SanaMemory* handle_ = nullptr;
};

// A resource of a device that JavaScript holds. It releases the device when it is disposed of, at the latest together
// with the device. JavaScript thread only; queued work holds the underlying Memory or CompiledProgram.
class Resource {
 public:
  explicit Resource(std::shared_ptr<Device> device) : device_(std::move(device)) { device_->resources.insert(this); }
  Resource(const Resource&) = delete;
  Resource& operator=(const Resource&) = delete;

  bool on(const Device& device) const { return device_.get() == &device; }
  void dispose();  // idempotent; every destructor calls it

 protected:
  ~Resource();
  virtual void release() = 0;

 private:
  std::shared_ptr<Device> device_;
};

}  // namespace sana
