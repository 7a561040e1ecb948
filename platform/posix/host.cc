#include "platform/host.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <string>

namespace sana::platform {
namespace {

constexpr uint64_t kUnlimited = UINT64_MAX;

struct CloseFile {
  void operator()(FILE* file) const { fclose(file); }
};
using File = std::unique_ptr<FILE, CloseFile>;

File open_text(const std::string& path) {
  return File(fopen(path.c_str(), "re"));
}

// Reads one or two numbers at the start of a file. "max" and anything else mean no limit.
uint64_t read_limit(const std::string& path, uint64_t* second = nullptr) {
  const File file = open_text(path);
  unsigned long long first = 0, other = 0;
  if (!file) return kUnlimited;
  const int found = second ? fscanf(file.get(), "%llu %llu", &first, &other) : fscanf(file.get(), "%llu", &first);
  if (second) *second = other;
  return found == (second ? 2 : 1) ? first : kUnlimited;
}

// The value after `key` in a file of "key value" lines, or 0.
uint64_t read_key(const std::string& path, const char* key) {
  const File file = open_text(path);
  char name[64];
  unsigned long long value = 0;
  while (file && fscanf(file.get(), "%63s %llu%*[^\n]", name, &value) >= 1) {
    if (strcmp(name, key) == 0) return value;
    value = 0;
  }
  return 0;
}

// The folder of this process's control group. `controller` is the name of a version 1 hierarchy, or "" for the unified
// one.
std::string group_path(const char* controller) {
  const File file = open_text("/proc/self/cgroup");
  char line[4096];
  while (file && fgets(line, sizeof line, file.get())) {
    line[strcspn(line, "\n")] = 0;
    const char* names = strchr(line, ':');
    const char* path = names ? strchr(names + 1, ':') : nullptr;
    if (!path) continue;
    const std::string listed = "," + std::string(names + 1, path) + ",";
    const bool found =
        *controller ? listed.find("," + std::string(controller) + ",") != std::string::npos : listed == ",,";
    if (found) return path + 1;
  }
  return "/";
}

// Visits the group's folder and all folders above it, because each may set a limit. In a container the path that the
// kernel reports may not be mounted; then the root of the mount is the group.
template <class Visit>
void for_each_group(const std::string& mount, const char* controller, Visit visit) {
  std::string path = group_path(controller);
  while (path.size() > 1) {
    visit(mount + path + "/");
    path.resize(path.find_last_of('/'));
  }
  visit(mount + "/");
}

uint64_t processor_quota() {
  uint64_t processors = kUnlimited;
  const auto consider = [&](uint64_t quota, uint64_t period) {
    if (quota != kUnlimited && quota > 0 && period > 0 && period != kUnlimited) {
      processors = std::min(processors, std::max<uint64_t>(1, (quota + period / 2) / period));
    }
  };
  for_each_group("/sys/fs/cgroup", "", [&](const std::string& folder) {
    uint64_t period = 0;
    const uint64_t quota = read_limit(folder + "cpu.max", &period);
    consider(quota, period);
  });
  for_each_group("/sys/fs/cgroup/cpu", "cpu", [&](const std::string& folder) {
    consider(read_limit(folder + "cpu.cfs_quota_us"), read_limit(folder + "cpu.cfs_period_us"));
  });
  return processors;
}

}  // namespace

uint32_t usable_processors() {
  cpu_set_t set;
  CPU_ZERO(&set);
  // The call fails on machines with more processors than the set can hold; then assume that all may be used.
  const int64_t allowed = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : sysconf(_SC_NPROCESSORS_ONLN);
  return static_cast<uint32_t>(std::min<uint64_t>(std::max<int64_t>(1, allowed), processor_quota()));
}

HostMemory host_memory() {
  struct sysinfo info;
  if (sysinfo(&info) != 0) return {0, 0};
  const uint64_t physical = uint64_t(info.totalram) * info.mem_unit;
  HostMemory memory{physical, uint64_t(info.freeram) * info.mem_unit};
  if (const uint64_t available = read_key("/proc/meminfo", "MemAvailable:")) memory.free_bytes = available * 1024;

  const auto consider = [&](uint64_t limit, uint64_t used, uint64_t reclaimable) {
    if (used == kUnlimited || limit >= physical) return;
    memory.total_bytes = std::min(memory.total_bytes, limit);
    const uint64_t kept = used - std::min(used, reclaimable);
    memory.free_bytes = std::min(memory.free_bytes, limit - std::min(limit, kept));
  };
  for_each_group("/sys/fs/cgroup", "", [&](const std::string& folder) {
    consider(read_limit(folder + "memory.max"), read_limit(folder + "memory.current"),
             read_key(folder + "memory.stat", "inactive_file"));
  });
  for_each_group("/sys/fs/cgroup/memory", "memory", [&](const std::string& folder) {
    consider(read_limit(folder + "memory.limit_in_bytes"), read_limit(folder + "memory.usage_in_bytes"),
             read_key(folder + "memory.stat", "total_inactive_file"));
  });
  return memory;
}

void processor_name(char* name, uint64_t size) {
  snprintf(name, size, "CPU");
  const File file = open_text("/proc/cpuinfo");
  char line[512];
  while (file && fgets(line, sizeof line, file.get())) {
    if (strncmp(line, "model name", 10) != 0) continue;
    const char* value = strchr(line, ':');
    if (!value) continue;
    line[strcspn(line, "\n")] = 0;
    snprintf(name, size, "%s", value + 1 + strspn(value + 1, " "));
    return;
  }
}

}  // namespace sana::platform
