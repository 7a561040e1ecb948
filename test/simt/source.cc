// Runs addr2line, which comes with the compiler that built the library.

#include "test/simt/source.h"

#include <dlfcn.h>

#include <cstdint>
#include <cstdio>
#include <cstring>

namespace simt {
namespace {

struct Place {
  std::string function, line;
};

Place look_up(const void* code) {
  Dl_info module;
  if (!dladdr(code, &module)) return {};
  const uintptr_t offset = reinterpret_cast<uintptr_t>(code) - reinterpret_cast<uintptr_t>(module.dli_fbase);
  char command[4096];
  std::snprintf(command, sizeof command, "LD_PRELOAD= addr2line -C -f -e '%s' 0x%zx 2>/dev/null", module.dli_fname,
                static_cast<size_t>(offset));
  Place place;
  if (FILE* const answer = popen(command, "r")) {
    char text[2048];
    if (std::fgets(text, sizeof text, answer)) place.function.assign(text, std::strcspn(text, "\n"));
    if (std::fgets(text, sizeof text, answer)) place.line.assign(text, std::strcspn(text, " \n"));
    pclose(answer);
  }
  return place;
}

void remove_all(std::string& text, const char* part) {
  for (size_t at; (at = text.find(part)) != std::string::npos;) text.erase(at, std::strlen(part));
}

}  // namespace

std::string name_of(const void* function) {
  std::string name = look_up(function).function;
  remove_all(name, "(anonymous namespace)::");
  int depth = 0;  // nesting depth of template arguments; "void a::kernel<(b)1>(float*)" ends before its parameters
  size_t end = name.size(), start = 0;
  for (size_t i = 0; i < name.size() && end == name.size(); ++i) {
    if (name[i] == '<') ++depth;
    if (name[i] == '>') --depth;
    if (depth == 0 && name[i] == '(') end = i;
    if (depth == 0 && name[i] == ' ') start = i + 1;
  }
  name = name.substr(start, end - start);
  remove_all(name, "sana::cuda::");
  return name.empty() || name[0] == '?' ? "kernel" : name;
}

std::string line_of(const void* code) {
  const std::string line = look_up(code).line;
  if (line.empty() || line.back() == '?' || line.ends_with(":0")) return "";
  return line.substr(line.rfind('/') + 1);
}

}  // namespace simt
