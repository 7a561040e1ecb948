// kernels test|bench [options] CASES...: runs operator calls (case.h) on a backend's library, without Node.
//
//   compute-sanitizer kernels test test/kernels/awkward.txt
//   kernels test --flops 1e10 test/kernels/models.txt
//   kernels bench --dtype bf16 --json results.jsonl test/kernels/models.txt

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <limits>

#include "core/error.h"
#include "core/libraries.h"
#include "cpu/backend.h"
#include "test/kernels/options.h"

namespace {

using namespace sana;
using namespace sana::kernels;

constexpr const char* kUsage = R"(kernels test|bench [options] CASES...

  --library FILE   the backend's library, or `cpu` (default: the CUDA library beside this executable)
  --device 0       the device's index
  --dtype LIST     any of f32,bf16,f16 (default: all)
  --only LIST      operators by name
  --variant NAME   forces a code path of the device, such as a tile
  --flops COUNT    test: skips cases with more work; bench: does not compute their reference (default: no limit)
  --runs 20        bench: timed runs of each case
  --json FILE      bench: appends a record of each case
)";

[[noreturn]] void fail(const std::string& why) {
  std::fprintf(stderr, "%s\n\n%s", why.c_str(), kUsage);
  std::exit(2);
}

std::shared_ptr<Device> open_device(const std::string& library, uint32_t index, const std::string& variant) {
  const SanaDeviceOptions options = {0, variant.empty() ? nullptr : variant.c_str()};
  if (library == "cpu") return std::make_shared<Device>(cpu::kBackend, index, options);
  const std::string beside = std::filesystem::read_symlink("/proc/self/exe").parent_path() / "libsana_cuda";
  const std::string given = library.find('/') == std::string::npos ? "./" + library : library;
  if (!open_libraries(library.empty() ? std::vector{beside + "13.so", beside + "12.so"} : std::vector{given}).backend) {
    std::string why = "no library can be used";
    for (const auto& one : backend_libraries().tried) why += "\n" + one.file + ": " + one.problem;
    throw Error("ERR_SANA_DEVICE", "%s", why.c_str());
  }
  return std::make_shared<Device>(*backend_libraries().backend, index, options);
}

int run(int count, char** words) {
  const std::string command = count > 1 ? words[1] : "";
  if (command != "test" && command != "bench") fail("the command is `test` or `bench`");
  Options options;
  options.flops = std::numeric_limits<double>::infinity();
  std::string library, dtypes = "f32,bf16,f16", only;
  uint32_t device = 0;
  std::vector<std::string> files;
  for (int i = 2; i < count; ++i) {
    const std::string word = words[i];
    if (!word.starts_with("--")) {
      files.push_back(word);
      continue;
    }
    if (++i == count) fail(word + " needs a value");
    const std::string value = words[i];
    if (word == "--library") {
      library = value;
    } else if (word == "--device") {
      device = static_cast<uint32_t>(std::atoi(value.c_str()));
    } else if (word == "--dtype") {
      dtypes = value;
    } else if (word == "--only") {
      only = value;
    } else if (word == "--variant") {
      options.variant = value;
    } else if (word == "--flops") {
      options.flops = std::atof(value.c_str());
    } else if (word == "--runs") {
      options.runs = std::max(1, std::atoi(value.c_str()));
    } else if (word == "--json") {
      options.json = value;
    } else {
      fail("unknown option " + word);
    }
  }
  if (files.empty()) fail("no files of cases are given");
  for (const std::string& name : split(dtypes, ',')) options.dtypes.push_back(dtype_named(name));
  const std::vector<std::string> wanted = split(only, ',');
  for (const std::string& file : files) {
    for (Case& one : read_cases(file)) {
      if (only.empty() || std::count(wanted.begin(), wanted.end(), one.spec().name)) {
        options.cases.push_back(std::move(one));
      }
    }
  }
  if (options.cases.empty()) fail("no case matches the options");
  options.device = open_device(library, device, options.variant);
  options.reference = open_device("cpu", 0, "");
  const bool good = command == "bench" ? bench(options) : test(options);
  return good ? 0 : 1;
}

}  // namespace

int main(int count, char** words) {
  try {
    return run(count, words);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 2;
  }
}
