#include "scheduler/op.h"

#include <charconv>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <system_error>

#include "costs/error.h"

namespace dualpipe {
namespace {

// Reads a non-negative int off the front of `text`; false if there is none.
bool take_int(std::string_view& text, int& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || text.front() == '-') {
    return false;
  }
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return true;
}

bool take_kind(std::string_view& text, OpKind& kind) {
  if (text.empty() || std::string_view("FBIW").find(text.front()) == std::string_view::npos) {
    return false;
  }
  kind = static_cast<OpKind>(text.front());
  text.remove_prefix(1);
  return true;
}

}  // namespace

void stop_at_unknown_stage(const Op& op, int stages) {
  std::fprintf(stderr, "%s: a pipeline of %d stages has none of that number\n",
               to_string(op).c_str(), stages);
  std::abort();
}

std::string to_string(const Op& op) {
  return std::to_string(op.stage) + static_cast<char>(op.kind) + std::to_string(op.microbatch);
}

std::string to_string(const Value& value) {
  const std::string owner =
      "stage " + std::to_string(value.stage) + ", microbatch " + std::to_string(value.microbatch);
  switch (value.kind) {
    case ValueKind::activation:
      return "the activation of " + owner;
    case ValueKind::input_gradient:
      return "the input gradient of " + owner;
    case ValueKind::weight_operands:
      return "the weight operands of " + owner;
  }
  return "";
}

Op parse_op(std::string_view text) {
  Op op;
  std::string_view rest = text;
  if (!take_int(rest, op.stage) || !take_kind(rest, op.kind) || !take_int(rest, op.microbatch) ||
      !rest.empty()) {
    throw Error(ExitCode::invalid_schedule,
                "'" + std::string(text.substr(0, 40)) +
                    "' is not an op: expected <stage><F|B|I|W><microbatch>, as in 2F5");
  }
  return op;
}

}  // namespace dualpipe
