// Collects violations, all kinds up to a limit each, for compile() and its parts.

#pragma once

#include <array>
#include <string>
#include <utility>
#include <vector>

#include "scheduler/compile.h"

namespace dualpipe {

class Violations {
 public:
  void add(Violation violation) {
    int& count = counts_.at(static_cast<std::size_t>(violation.kind));
    if (count++ < violations_max) {
      list_.push_back(std::move(violation));
    } else {
      ++omitted_;
    }
  }
  [[nodiscard]] bool empty() const { return list_.empty(); }
  [[nodiscard]] int omitted() const { return omitted_; }
  [[nodiscard]] std::vector<Violation> take() { return std::move(list_); }

 private:
  std::array<int, 8> counts_{};
  std::vector<Violation> list_;
  int omitted_ = 0;
};

}  // namespace dualpipe
