// Error: what the user can put right - a config, a schedule file, an impossible shape, a peer that
// went away. The message says where, what was expected, what was found and what to do. It is caught
// once, in main, which exits with the error's code. A broken invariant of our own is no Error: see
// check.h. Both live in the lowest layer because every layer uses them.

#pragma once

#include <span>
#include <stdexcept>
#include <string>
#include <string_view>

namespace dualpipe {

// The exit codes of both programs; scripts may rely on them.
enum class ExitCode : int {
  ok = 0,
  internal_error = 1,
  usage = 2,  // command line or config
  invalid_schedule = 3,
  infeasible = 4,
  input_output = 5,
  outside_tolerance = 6,
  timeout = 86,    // the runtime waited longer than its deadline
  transport = 87,  // a peer or the transport failed
  callback = 88,   // the trainer's code failed
  interrupted = 130,
};

class Error final : public std::runtime_error {
 public:
  Error(ExitCode code, const std::string& message) : std::runtime_error(message), code_(code) {}

  [[nodiscard]] ExitCode code() const { return code_; }

 private:
  ExitCode code_;
};

// " (did you mean 'x'?)" for the candidate nearest to `word` by edit distance, or "" when none is
// near enough to be a slip of the keyboard.
[[nodiscard]] std::string did_you_mean(std::string_view word,
                                       std::span<const std::string_view> candidates);

}  // namespace dualpipe
