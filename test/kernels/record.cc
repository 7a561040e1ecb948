#include "test/kernels/record.h"

#include <cmath>
#include <cstdio>
#include <ctime>
#include <thread>

#include "core/error.h"
#include "core/generated/operators.h"

namespace sana::kernels {
namespace {

std::string quoted(const std::string& text) {
  std::string json = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') json += '\\';
    json += c;
  }
  return json + "\"";
}

std::string number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.6g", value);
  return std::isfinite(value) ? text : "null";
}

// The first line of a command's output.
std::string output_of(const char* command) {
  char line[128] = "";
  FILE* const pipe = popen(command, "r");
  if (!pipe) return "";
  if (!std::fgets(line, sizeof line, pipe)) line[0] = 0;
  pclose(pipe);
  return split(line, '\n')[0];
}

std::string origin(const Options& options) {
  const std::time_t now = std::time(nullptr);
  char when[32];
  std::strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%S.000Z", std::gmtime(&now));
  const std::string head = output_of("git rev-parse --short=12 HEAD 2>/dev/null");
  const std::string changed = output_of("git status --porcelain 2>/dev/null");
  const std::string commit = head.empty() ? "unknown" : head + (changed.empty() ? "" : "+");
  std::string json = "{\"schema\":1,\"when\":" + quoted(when) + ",\"commit\":" + quoted(commit) +
                     ",\"machine\":{\"cpu\":" + quoted(options.reference->describe().name) +
                     ",\"cores\":" + std::to_string(std::thread::hardware_concurrency());
  if (&options.device->backend() != &options.reference->backend()) {
    json += ",\"gpu\":" + quoted(options.device->describe().name);
  }
  return json + ",\"node\":\"none\"}";
}

}  // namespace

Records::Records(const Options& options) : options_(options) {
  if (options.json.empty()) return;
  file_ = std::fopen(options.json.c_str(), "a");
  if (!file_) throw Error("ERR_SANA_FILE", "%s cannot be written", options.json.c_str());
  origin_ = origin(options);
}

Records::~Records() {
  if (file_) std::fclose(file_);
}

void Records::append(const Case& one, SanaDType dtype, const Measurement& measured, int warm_up) {
  if (!file_) return;
  const auto& [ms, tflop, gb, floor_ms, compared, error] = measured;
  const std::string path = options_.variant.empty() ? options_.device->describe().path : options_.variant;
  std::string json = origin_ + ",\"case\":{\"stage\":" + quoted(std::string("op:") + one.spec().name) +
                     ",\"batch\":1,\"dtype\":" + quoted(kDTypeNames[dtype]) + ",\"acc\":\"f32\"}" +
                     ",\"impl\":\"sana-native\",\"options\":{\"call\":" + quoted(one.text) +
                     ",\"group\":" + quoted(one.group) + ",\"count\":" + std::to_string(one.count) +
                     ",\"path\":" + quoted(path) + ",\"replayed_ms\":" + number(ms.replayed) + "}" +
                     ",\"runs\":" + std::to_string(options_.runs) + ",\"warmup\":" + std::to_string(warm_up) +
                     ",\"ms\":{\"median\":" + number(ms.median) + ",\"min\":" + number(ms.min) +
                     ",\"p90\":" + number(ms.p90) + "}";
  if (tflop > 0) {
    json += ",\"work\":{\"tflop\":" + number(tflop) + ",\"gb\":" + number(gb) + ",\"floor_ms\":" + number(floor_ms) +
            "},\"achieved\":{\"tflops\":" + number(1e3 * tflop / ms.median) +
            ",\"gbps\":" + number(1e3 * gb / ms.median) + ",\"pct_floor\":" + number(100 * floor_ms / ms.median) + "}";
  }
  if (compared) {
    json += ",\"error\":{\"ref\":\"sana-native cpu f32\",\"rel_l2\":" + number(error.rel_l2) +
            ",\"max_abs\":" + number(error.max_abs) + ",\"cos\":" + number(error.cos) + "}";
  }
  std::fputs((json + "}\n").c_str(), file_);
  std::fflush(file_);
}

}  // namespace sana::kernels
