// A program as a backend runs it: its calls with their addresses resolved. Addresses in the arena are resolved at each
// run, because the arena is passed to the run.

#pragma once

#include <cstring>
#include <vector>

#include "core/arguments.h"

namespace sana {

// `Call` is Arguments, or a type that a backend derives from it.
template <class Call>
struct Step {
  uint32_t op;
  Call call;
  bool in_arena[kSanaMaxOperands];
  uint64_t arena_offset[kSanaMaxOperands];

  void place(char* arena) {
    for (int i = 0; i < kSanaMaxOperands; ++i) {
      if (in_arena[i]) call.operands[i].data = arena + arena_offset[i];
    }
  }
};

template <class Call>
class ProgramSteps {
 public:
  // `address_of(index)` returns the address of a buffer's memory; it is not called for the arena.
  template <class AddressOf>
  ProgramSteps(const SanaCall* calls, uint32_t count, AddressOf address_of) {
    uint64_t list_entries = 0;
    for (uint32_t i = 0; i < count; ++i) list_entries += calls[i].list_length;
    lists_.reserve(list_entries);  // the steps point into it
    steps_.reserve(count);
    for (uint32_t i = 0; i < count; ++i) {
      const SanaCall& call = calls[i];
      Step<Call> step = {};
      step.op = call.op;
      for (int operand = 0; operand < kSanaMaxOperands; ++operand) {
        const SanaTensor& tensor = call.operands[operand];
        if (tensor.rank == 0) continue;
        step.in_arena[operand] = tensor.buffer == 0;
        step.arena_offset[operand] = tensor.offset;
        step.call.operands[operand] =
            view(tensor, step.in_arena[operand] ? nullptr : address_of(tensor.buffer) + tensor.offset);
      }
      std::memcpy(step.call.attributes, call.attributes, sizeof call.attributes);
      step.call.list = lists_.data() + lists_.size();
      step.call.list_length = call.list_length;
      lists_.insert(lists_.end(), call.list, call.list + call.list_length);
      steps_.push_back(step);
    }
  }
  ProgramSteps(const ProgramSteps&) = delete;
  ProgramSteps& operator=(const ProgramSteps&) = delete;

  size_t size() const { return steps_.size(); }
  Step<Call>& operator[](size_t i) { return steps_[i]; }
  const Step<Call>& operator[](size_t i) const { return steps_[i]; }
  auto begin() { return steps_.begin(); }
  auto end() { return steps_.end(); }

 private:
  std::vector<Step<Call>> steps_;
  std::vector<int64_t> lists_;
};

}  // namespace sana
