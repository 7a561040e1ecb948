#include "test/kernels/case.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <fstream>
#include <iterator>
#include <sstream>

#include "core/error.h"
#include "core/tensor.h"

namespace sana::kernels {
namespace {

// Placeholders for dtypes that depend on the run.
enum : uint32_t { kRunDType = 100, kOtherDType };

constexpr const char* kFile = "ERR_SANA_FILE";

template <class Names>
int index_of(const Names& names, const std::string& name) {
  const auto found = std::find_if(std::begin(names), std::end(names), [&](const char* each) { return name == each; });
  return found == std::end(names) ? -1 : static_cast<int>(found - std::begin(names));
}

template <class Number>
Number number(const std::string& text) {
  Number value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) {
    throw Error(kFile, "'%s' is not %s", text.c_str(), std::is_integral_v<Number> ? "an integer" : "a number");
  }
  return value;
}

// `name[:word]...[sizes][@pitch[+first]]`
void parse_operand(const std::string& word, Case& parsed) {
  const size_t open = word.find('['), close = word.find(']');
  if (close == std::string::npos || close < open) throw Error(kFile, "'%s' has no sizes in brackets", word.c_str());
  const std::vector<std::string> names = split(word.substr(0, open), ':');
  const OperandSpec* const operands = parsed.spec().operands;
  int i = 0;
  while (operands[i].name && names[0] != operands[i].name) ++i;
  if (!operands[i].name) throw Error(kFile, "%s has no operand '%s'", parsed.spec().name, names[0].c_str());
  SanaTensor& tensor = parsed.call.operands[i];
  if (tensor.rank) throw Error(kFile, "operand '%s' is given twice", names[0].c_str());

  const std::string layouts = split(operands[i].layout, '|')[0];
  tensor.buffer = 1;
  tensor.layout = static_cast<uint32_t>(std::max(0, index_of(kLayoutNames, layouts)));  // "pitched" is dense
  const uint32_t mask = operands[i].dtypes;
  tensor.dtype =
      (mask & kDTypeActivation) == kDTypeActivation ? uint32_t{kRunDType} : static_cast<uint32_t>(__builtin_ctz(mask));
  for (size_t j = 1; j < names.size(); ++j) {
    const int dtype = index_of(kDTypeNames, names[j]), layout = index_of(kLayoutNames, names[j]);
    if (dtype >= 0) {
      tensor.dtype = static_cast<uint32_t>(dtype);
    } else if (layout >= 0) {
      tensor.layout = static_cast<uint32_t>(layout);
    } else if (names[j] == "other") {
      tensor.dtype = kOtherDType;
    } else {
      throw Error(kFile, "'%s' is neither a dtype nor a layout", names[j].c_str());
    }
  }

  const std::vector<std::string> sizes = split(word.substr(open + 1, close - open - 1), ',');
  if (sizes.size() > kSanaMaxRank) throw Error(kFile, "'%s' has more than 4 sizes", word.c_str());
  for (const std::string& size : sizes) tensor.shape[tensor.rank++] = number<int64_t>(size);
  tensor.pitch = columns(tensor);
  if (close + 1 == word.size()) return;
  if (word[close + 1] != '@') throw Error(kFile, "'%s' has text after its sizes", word.c_str());
  const std::vector<std::string> view = split(word.substr(close + 2), '+');
  if (view.size() > 2) throw Error(kFile, "'%s' must end in @pitch or @pitch+first", word.c_str());
  tensor.pitch = number<int64_t>(view[0]);
  tensor.offset = view.size() == 2 ? number<uint32_t>(view[1]) : 0;
}

// `name=value`
void parse_value(const std::string& word, Case& parsed) {
  const size_t equals = word.find('=');
  const std::string name = word.substr(0, equals), value = word.substr(equals + 1);
  if (name == "flops") {
    parsed.flops = number<double>(value);
  } else if (name == "count") {
    parsed.count = number<int64_t>(value);
  } else if (name == "group") {
    parsed.group = value;
  } else {
    const AttributeSpec* const attributes = parsed.spec().attributes;
    int i = 0;
    while (attributes[i].name && name != attributes[i].name) ++i;
    if (!attributes[i].name) throw Error(kFile, "%s has no attribute '%s'", parsed.spec().name, name.c_str());
    const std::string kind = attributes[i].kind;
    double& attribute = parsed.call.attributes[i];
    if (kind == "number") {
      attribute = number<double>(value);
    } else if (kind == "integer") {
      attribute = static_cast<double>(number<int64_t>(value));
    } else if (kind == "list") {
      for (const std::string& entry : split(value, ',')) parsed.list.push_back(number<int64_t>(entry));
      parsed.call.list_length = static_cast<uint32_t>(parsed.list.size());
    } else {
      const std::vector<std::string> choices = split(kind, '|');
      const auto choice = std::find(choices.begin(), choices.end(), value);
      if (choice == choices.end())
        throw Error(kFile, "%s must be %s, got '%s'", name.c_str(), kind.c_str(), value.c_str());
      attribute = static_cast<double>(choice - choices.begin());
    }
  }
}

bool is_fact(const std::string& word) {
  return word.starts_with("flops=") || word.starts_with("count=") || word.starts_with("group=");
}

Case parse(const std::vector<std::string>& words) {
  Case parsed{};
  uint32_t op = 0;
  while (op < kOperatorCount && words[0] != kOperators[op].name) ++op;
  if (op == kOperatorCount) throw Error(kFile, "there is no operator '%s'", words[0].c_str());
  parsed.call.op = op;
  parsed.text = words[0];
  for (size_t i = 1; i < words.size(); ++i) {
    const std::string& word = words[i];
    if (!is_fact(word)) parsed.text += " " + word;
    if (word.find('[') != std::string::npos) {
      parse_operand(word, parsed);
    } else if (word.find('=') != std::string::npos) {
      parse_value(word, parsed);
    } else {
      throw Error(kFile, "'%s' is neither name[sizes] nor name=value", word.c_str());
    }
  }
  for (int i = 0; parsed.spec().operands[i].name; ++i) {
    const OperandSpec& operand = parsed.spec().operands[i];
    if (!parsed.call.operands[i].rank && std::strcmp(operand.role, "in?") != 0) {
      throw Error(kFile, "operand '%s' is missing", operand.name);
    }
  }
  return parsed;
}

}  // namespace

SanaCall Case::in(SanaDType run) const {
  SanaCall resolved = call;
  resolved.list = list.data();
  for (SanaTensor& tensor : resolved.operands) {
    if (tensor.dtype == kRunDType) tensor.dtype = run;
    if (tensor.dtype == kOtherDType) tensor.dtype = run == kSanaF32 ? kSanaBF16 : kSanaF32;
    tensor.offset *= element_bytes(tensor.dtype);
  }
  return resolved;
}

SanaCall Case::in_f32() const {
  SanaCall wide = call;
  wide.list = list.data();
  for (SanaTensor& tensor : wide.operands) {
    if (tensor.dtype != kSanaI32 && tensor.dtype != kSanaU8) tensor.dtype = kSanaF32;
    tensor.offset *= element_bytes(tensor.dtype);
  }
  return wide;
}

bool Case::fixed() const {
  return std::none_of(std::begin(call.operands), std::end(call.operands),
                      [](const SanaTensor& tensor) { return tensor.rank && tensor.dtype >= kRunDType; });
}

std::vector<Case> read_cases(const std::string& path) {
  std::ifstream file(path);
  if (!file) throw Error(kFile, "%s cannot be opened", path.c_str());
  std::vector<Case> cases;
  std::string line;
  for (int i = 1; std::getline(file, line); ++i) {
    std::istringstream stream(line.substr(0, line.find('#')));
    const std::vector<std::string> words{std::istream_iterator<std::string>(stream), {}};
    if (words.empty()) continue;
    const std::string where = path + ":" + std::to_string(i);
    try {
      cases.push_back(parse(words));
      cases.back().where = where;
    } catch (const Error& error) {
      throw Error(error.code(), "%s: %s", where.c_str(), error.what());
    }
  }
  return cases;
}

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> entries;
  size_t start = 0;
  for (size_t end; (end = text.find(separator, start)) != std::string::npos; start = end + 1) {
    entries.push_back(text.substr(start, end - start));
  }
  entries.push_back(text.substr(start));
  return entries;
}

SanaDType dtype_named(const std::string& name) {
  const int dtype = index_of(kDTypeNames, name);
  if (dtype < 0 || dtype > kSanaF16) throw Error(kFile, "'%s' is not f32, bf16 or f16", name.c_str());
  return static_cast<SanaDType>(dtype);
}

}  // namespace sana::kernels
