#include "test/simt/checker.h"

#include <link.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "test/simt/async_checks.h"
#include "test/simt/scheduler.h"
#include "test/simt/shadow.h"
#include "test/simt/source.h"

namespace simt::checker {
namespace {

// ---- findings -------------------------------------------------------------------------------------------------------

struct Finding {
  const void* code;
  const char* what;
  std::string text;
  size_t times;
};
constexpr size_t kMostFindings = 4;  // reported in full; further ones are only counted

std::vector<Finding> findings;
size_t untold = 0;

std::string here() {
  return "thread " + std::to_string(context.fiber->linear) + " of block " + std::to_string(context.block_linear);
}

// May be called from a thread of a kernel. Findings of the same kind at the same place are reported once, with the text
// of the first.
template <class Whom>
__attribute__((noinline)) void found(const char* what, const void* code, const Whom& whom, bool first = false) {
  for (Finding& finding : findings) {
    if (finding.code == code && finding.what == what) {
      ++finding.times;
      return;
    }
  }
  if (findings.size() == kMostFindings && !first) {
    ++untold;
    return;
  }
  const std::string line = line_of(code);
  findings.insert(first ? findings.begin() : findings.end(),
                  {code, what, what + (line.empty() ? "" : " at " + line) + ": " + whom(), 1});
}

std::string tell_all() {
  std::string text;
  for (const Finding& finding : findings) {
    text += (text.empty() ? "" : "; ") + finding.text;
    if (finding.times > 1) text += " (" + std::to_string(finding.times) + " times)";
  }
  if (untold) text += "; " + std::to_string(untold) + " more elsewhere";
  return text;
}

// For errors that would end the launch on a device, or corrupt the emulation's memory.
template <class Whom>
[[noreturn]] void fatal(const char* what, const void* code, const Whom& whom) {
  found(what, code, whom, true);
  abandon_launch(tell_all());
}

// ---- memory ---------------------------------------------------------------------------------------------------------

// The range of static shared memory: the variables of this library. Those that are never written need no check.
struct Variables {
  uintptr_t begin = 0, end = 0;                      // written
  uintptr_t constants_begin = 0, constants_end = 0;  // the whole library, including what it may only read
};

int find_variables(dl_phdr_info* module, size_t, void* result) {
  const auto inside = reinterpret_cast<uintptr_t>(&context);
  Variables found;
  bool own = false;
  for (int i = 0; i < module->dlpi_phnum; ++i) {
    const auto& part = module->dlpi_phdr[i];
    const uintptr_t begin = module->dlpi_addr + part.p_vaddr, end = begin + part.p_memsz;
    if (part.p_type == PT_LOAD) {
      found.constants_begin = found.constants_end ? std::min(found.constants_begin, begin) : begin;
      found.constants_end = std::max(found.constants_end, end);
      if (begin <= inside && inside < end) {
        own = true;
        found.begin = std::max(found.begin, begin);
        found.end = end;
      }
    } else if (part.p_type == PT_GNU_RELRO) {  // written only by the loader; at the start of the variables
      found.begin = std::max(found.begin, end);
    }
  }
  if (own) *static_cast<Variables*>(result) = found;
  return own;
}

// All allocations of device memory, and the one that was accessed last.
std::map<uintptr_t, std::unique_ptr<Shadow>> device_memory;
Shadow* recent[2] = {};
std::mutex memory_mutex;  // a launch and an allocation may happen at the same time

Shadow* find_device_memory(uintptr_t address, bool write) {
  if (Shadow* const last = recent[write]; last && last->holds(address)) return last;
  const std::lock_guard lock(memory_mutex);
  auto next = device_memory.upper_bound(address);
  if (next == device_memory.begin()) return nullptr;
  Shadow* const shadow = std::prev(next)->second.get();
  if (!shadow->holds(address)) return nullptr;
  return recent[write] = shadow;
}

// The position relative to the closest allocation: "12 bytes after the end of 1024 bytes of device memory".
std::string position(uintptr_t address, size_t size) {
  const std::lock_guard lock(memory_mutex);
  const auto next = device_memory.upper_bound(address);
  size_t distance = ~size_t(0), bytes = 0;
  const char* side = "";
  if (next != device_memory.begin()) {
    const Shadow& before = *std::prev(next)->second;
    if (before.holds(address)) {
      return std::to_string(size - (before.begin + before.bytes - address)) + " of them after the end of " +
             std::to_string(before.bytes) + " bytes of device memory";
    }
    distance = address - (before.begin + before.bytes);
    bytes = before.bytes;
    side = "bytes after the end of";
  }
  if (next != device_memory.end() && next->first - address < distance) {
    distance = next->first - address;
    bytes = next->second->bytes;
    side = "bytes before";
  }
  if (distance > (size_t(1) << 30)) return "far from any device memory";
  return std::to_string(distance) + " " + side + " " + std::to_string(bytes) + " bytes of device memory";
}

struct SharedMemory {
  explicit SharedMemory(const Variables& range)
      : range(range),
        variables(range.begin & ~uintptr_t(1), range.end - range.begin + 1),
        dynamic(reinterpret_cast<uintptr_t>(context.dynamic_shared), kMostSharedBytes) {}
  const Variables range;
  const Shadow variables, dynamic;
};
std::unique_ptr<SharedMemory> shared_memory;

// ---- blocks that ran before others in effect ------------------------------------------------------------------------
//
// A block that calls __threadfence and then uses an atomic publishes its earlier writes to every block that uses the
// same atomic later, as in "the last block adds up the results of all blocks".

struct Publication {
  uint32_t block_epoch;
  uintptr_t atomic;
};

bool fenced = false;                                     // this block has called __threadfence
std::vector<Publication> published;                      // in this launch, in order
std::vector<uintptr_t> used_atomics;                     // by this block
std::vector<std::pair<uint32_t, unsigned>> block_order;  // first epochs of the blocks of this launch and their indices

const std::pair<uint32_t, unsigned>& block_of(uint32_t epoch) {
  return *std::prev(std::upper_bound(block_order.begin(), block_order.end(), std::pair(epoch, ~0u)));
}

void use_atomic(uintptr_t address) {
  if (std::find(used_atomics.begin(), used_atomics.end(), address) == used_atomics.end()) {
    used_atomics.push_back(address);
    if (fenced) published.push_back({context.block_epoch, address});
  }
}

bool is_published(uint32_t epoch) {
  const uint32_t block = block_of(epoch).first;
  for (const Publication& publication : published) {
    if (publication.block_epoch == block &&
        std::find(used_atomics.begin(), used_atomics.end(), publication.atomic) != used_atomics.end()) {
      return true;
    }
  }
  return false;
}

// ---- races ----------------------------------------------------------------------------------------------------------

struct Self {
  uint32_t epoch, block_epoch, first_epoch;  // first_epoch: earlier accesses cannot race with this one
  uint16_t thread, warp_epoch;
};

enum class Between { kNothing, kSameWarp, kSameBlock, kOtherBlock };

// How the thread of an access at `epoch` relates to this one. kNothing: the accesses cannot be concurrent.
Between between(const Self& self, uint32_t epoch, unsigned thread, unsigned warp_epoch, bool several_in_warp = false) {
  if (epoch < self.first_epoch) return Between::kNothing;
  if (epoch < self.block_epoch) return is_published(epoch) ? Between::kNothing : Between::kOtherBlock;
  if (epoch != self.epoch || (thread == self.thread && !several_in_warp)) return Between::kNothing;
  if (thread / 32 != self.thread / 32) return Between::kSameBlock;
  return warp_epoch == self.warp_epoch ? Between::kSameWarp : Between::kNothing;
}

__attribute__((noinline)) void race(const char* what, Between relation, uint32_t epoch, unsigned thread,
                                    const void* code) {
  const bool other = relation == Between::kOtherBlock;
  const unsigned block = other ? block_of(epoch).second : context.block_linear;
  const char* const missing = relation == Between::kSameWarp    ? ", no __syncwarp between"
                              : relation == Between::kSameBlock ? ", no __syncthreads between"
                                                                : ", in one launch";
  found(what, code, [&] {
    return here() + " and thread " + std::to_string(thread) + " of block " + std::to_string(block) + missing;
  });
}

bool is_start(Access access) {
  return access == Access::kCopyStarted || access == Access::kTensorStarted;
}
bool is_landing(Access access) {
  return access == Access::kCopyLanded || access == Access::kTensorLanded;
}
bool is_tensor_copy(Access access) {
  return access == Access::kTensorStarted || access == Access::kTensorLanded;
}

inline void read(Cell& cell, const Self& self, unsigned bytes, const void* code) {
  if (cell.write_bytes & bytes) {
    if (cell.write_in_flight && cell.write_epoch >= self.block_epoch) {
      found("a read while a copy is in flight", code,
            [&] { return here() + ", copied by thread " + std::to_string(cell.writer); });
    }
    const Between relation = cell.write_by_tensor_copy
                                 ? Between::kNothing
                                 : between(self, cell.write_epoch, cell.writer, cell.write_warp_epoch);
    if (relation != Between::kNothing)
      race("a read of another thread's write", relation, cell.write_epoch, cell.writer, code);
  }
  const bool in_block = cell.read_epoch >= self.block_epoch;
  const bool in_grid = cell.read_epoch >= self.first_epoch && (cell.read_by_grid || !in_block);
  if (in_block && cell.read_epoch == self.epoch && (cell.reader != self.thread || cell.read_by_block)) {
    if (cell.reader / 32 != self.thread / 32) cell.read_by_block = 1;
    cell.read_by_warp = cell.reader / 32 == self.thread / 32 && cell.read_warp_epoch == self.warp_epoch;
  } else {
    cell.read_by_block = 0;
    cell.read_by_warp &= cell.read_epoch == self.epoch && cell.read_warp_epoch == self.warp_epoch;
  }
  cell.read_bytes = cell.read_epoch == self.epoch ? cell.read_bytes | bytes : bytes;
  cell.read_by_grid = in_grid;
  cell.reader = self.thread;
  cell.read_epoch = self.epoch;
  cell.read_warp_epoch = self.warp_epoch;
}

inline void write(Cell& cell, const Self& self, unsigned bytes, Access access, const void* code) {
  const bool atomic = access == Access::kAtomic;
  if (cell.write_bytes & bytes) {
    if (cell.write_in_flight && cell.write_epoch >= self.block_epoch && !is_landing(access)) {
      found("a write while a copy is in flight", code,
            [&] { return here() + ", copied by thread " + std::to_string(cell.writer); });
    }
    const bool known = (atomic && cell.write_atomic) || (is_tensor_copy(access) && cell.write_by_tensor_copy);
    const Between relation = between(self, cell.write_epoch, cell.writer, cell.write_warp_epoch);
    if (relation != Between::kNothing && !known) {
      race("a write over another thread's write", relation, cell.write_epoch, cell.writer, code);
    }
  }
  if (cell.read_bytes & bytes) {
    Between relation = between(self, cell.read_epoch, cell.reader, cell.read_warp_epoch, cell.read_by_warp);
    if (cell.read_epoch == self.epoch && cell.read_by_block) relation = Between::kSameBlock;
    if (cell.read_epoch >= self.first_epoch && cell.read_by_grid) {
      found("a write over memory that other blocks read", code, here);
    } else if (relation != Between::kNothing) {
      race("a write over memory that another thread reads", relation, cell.read_epoch, cell.reader, code);
    }
  }
  cell.read_bytes &= ~bytes;  // reported, or ordered before this
  const bool again = cell.writer == self.thread && cell.write_epoch == self.epoch;
  cell.write_bytes = again ? cell.write_bytes | bytes : bytes;
  cell.write_atomic = atomic;
  cell.write_in_flight = is_start(access);
  cell.write_by_tensor_copy = is_tensor_copy(access);
  cell.writer = self.thread;
  cell.write_epoch = self.epoch;
  cell.write_warp_epoch = self.warp_epoch;
}

inline void use(const Shadow& shadow, uintptr_t address, size_t bytes, Access access, bool shared, const void* code) {
  const Fiber& fiber = *context.fiber;
  const Self self = {context.epoch, context.block_epoch, shared ? context.block_epoch : context.launch_epoch,
                     static_cast<uint16_t>(fiber.linear), static_cast<uint16_t>(fiber.warp->epoch)};
  const uintptr_t end = address + bytes;
  for (uintptr_t at = address & ~uintptr_t(1); at < end; at += 2) {
    const unsigned touched = (at >= address ? 1u : 0u) | (at + 1 < end ? 2u : 0u);
    Cell& cell = shadow.cell(at);
    const bool reads = access == Access::kRead || access == Access::kAtomic || access == Access::kProductRead;
    if (shared && reads && cell.write_epoch < self.block_epoch) {
      found("a read of shared memory that was not written", code, here);
    }
    if (access == Access::kProductRead) continue;
    if (access == Access::kRead) {
      read(cell, self, touched, code);
    } else {
      write(cell, self, touched, access, code);
    }
  }
}

// ---- every access ---------------------------------------------------------------------------------------------------

size_t access_count = 0;

__attribute__((noinline)) void use_other_memory(uintptr_t address, size_t bytes, Access access, const void* code) {
  const auto in = [&](const void* begin, size_t size) {
    const auto offset = address - reinterpret_cast<uintptr_t>(begin);
    return offset < size && bytes <= size - offset;
  };
  const Variables& range = shared_memory->range;
  const bool constant = in(reinterpret_cast<void*>(range.constants_begin), range.constants_end - range.constants_begin);
  const bool argument = in(context.call, context.call_bytes) || in(context.body, sizeof *context.body);
  if (access == Access::kRead && (constant || argument)) return;
  const char* const what =
      access == Access::kRead ? "a read outside the device's memory" : "a write outside the device's memory";
  fatal(what, code, [&] { return here() + ", " + std::to_string(bytes) + " bytes, " + position(address, bytes); });
}

inline void look(const void* pointer, size_t bytes, Access access, const void* code) {
  const Fiber* const fiber = context.fiber;
  if (!fiber) return;
  const auto address = reinterpret_cast<uintptr_t>(pointer);
  if (address - reinterpret_cast<uintptr_t>(fiber->stack) < kStackBytes) return;
  if (address - reinterpret_cast<uintptr_t>(&context) < sizeof context) return;  // built-in variables such as threadIdx
  ++access_count;
  const SharedMemory& shared = *shared_memory;
  if (shared.dynamic.holds(address)) {
    if (access == Access::kRead) async_checks::thread_reads(address, bytes, code);
    if (address - shared.dynamic.begin + bytes > context.dynamic_shared_bytes) {
      fatal("an access beyond the dynamic shared memory", code, [&] {
        return here() + ", byte " + std::to_string(address - shared.dynamic.begin) + " of " +
               std::to_string(context.dynamic_shared_bytes);
      });
    }
    use(shared.dynamic, address, bytes, access, true, code);
    return;
  }
  if (shared.variables.holds(address)) {
    use(shared.variables, address, bytes, access, true, code);
    return;
  }
  Shadow* const memory = find_device_memory(address, access != Access::kRead);
  if (!memory || address + bytes > memory->begin + memory->bytes) {
    use_other_memory(address, bytes, access, code);
    return;
  }
  if (access == Access::kAtomic) use_atomic(address);
  if ((access == Access::kRead || access == Access::kAtomic) && !memory->is_filled(address, bytes)) {
    found("a read of memory that was never written", code, here);
  }
  use(*memory, address, bytes, access, false, code);
  if (access != Access::kRead) memory->fill(address, bytes);
}

template <size_t bytes>
inline void look_aligned(const void* pointer, Access access, const void* code) {
  if (reinterpret_cast<uintptr_t>(pointer) % bytes && context.fiber) {
    fatal("an access to a misaligned address", code, [&] { return here() + ", " + std::to_string(bytes) + " bytes"; });
  }
  look(pointer, bytes, access, code);
}

}  // namespace

void note(const void* address, size_t bytes, Access access) {
  look(address, bytes, access, __builtin_return_address(0));
}

void fence() {
  fenced = true;
}

void tell(const char* what, const void* code, const std::string& whom) {
  found(what, code ? code : context.kernel, [&] { return here() + whom; });
}

void missing_lane(unsigned lane) {
  found("a shuffle from a lane that does not take part", context.kernel,
        [&] { return here() + " from lane " + std::to_string(lane); });
}

void launch_begins() {
  if (!shared_memory) {
    Variables variables;
    dl_iterate_phdr(find_variables, &variables);
    shared_memory = std::make_unique<SharedMemory>(variables);
  }
  findings.clear();
  untold = 0;
  published.clear();
  block_order.clear();
}

void block_begins() {
  fenced = false;
  used_atomics.clear();
  block_order.emplace_back(context.block_epoch, context.block_linear);
}

std::string launch_ends() {
  return tell_all();
}

void allocated(const void* address, size_t bytes) {
  const std::lock_guard lock(memory_mutex);
  const auto begin = reinterpret_cast<uintptr_t>(address);
  device_memory[begin] = std::make_unique<Shadow>(begin, bytes);
}

void freed(const void* address) {
  const std::lock_guard lock(memory_mutex);
  recent[0] = recent[1] = nullptr;
  device_memory.erase(reinterpret_cast<uintptr_t>(address));
}

void filled(const void* address, size_t bytes) {
  const auto begin = reinterpret_cast<uintptr_t>(address);
  Shadow* const memory = find_device_memory(begin, true);
  if (memory && begin + bytes <= memory->begin + memory->bytes) memory->fill(begin, bytes);
}

size_t accesses() {
  return access_count;
}

}  // namespace simt::checker

// ---- what the compiler calls before every access --------------------------------------------------------------------

using simt::checker::Access;

#define SIMT_HOOKS(bytes)                                                                     \
  void __tsan_read##bytes(void* address) {                                                    \
    simt::checker::look_aligned<bytes>(address, Access::kRead, __builtin_return_address(0));  \
  }                                                                                           \
  void __tsan_write##bytes(void* address) {                                                   \
    simt::checker::look_aligned<bytes>(address, Access::kWrite, __builtin_return_address(0)); \
  }                                                                                           \
  void __tsan_unaligned_read##bytes(void* address) {                                          \
    simt::checker::look(address, bytes, Access::kRead, __builtin_return_address(0));          \
  }                                                                                           \
  void __tsan_unaligned_write##bytes(void* address) {                                         \
    simt::checker::look(address, bytes, Access::kWrite, __builtin_return_address(0));         \
  }

extern "C" {

SIMT_HOOKS(1)
SIMT_HOOKS(2)
SIMT_HOOKS(4)
SIMT_HOOKS(8)
SIMT_HOOKS(16)

void __tsan_read_range(void* address, size_t bytes) {
  simt::checker::look(address, bytes, Access::kRead, __builtin_return_address(0));
}
void __tsan_write_range(void* address, size_t bytes) {
  simt::checker::look(address, bytes, Access::kWrite, __builtin_return_address(0));
}

void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void*, void*) {}

void __tsan_vptr_read(void*) {}

// Kernels call these instead of memcpy and memset.
void* simt_memcpy(void* to, const void* from, size_t bytes) {
  if (bytes) {
    simt::checker::look(from, bytes, Access::kRead, __builtin_return_address(0));
    simt::checker::look(to, bytes, Access::kWrite, __builtin_return_address(0));
  }
  return std::memcpy(to, from, bytes);
}
void* simt_memset(void* to, int value, size_t bytes) {
  if (bytes) simt::checker::look(to, bytes, Access::kWrite, __builtin_return_address(0));
  return std::memset(to, value, bytes);
}

}  // extern "C"
