#include "runtime/models/spin_message.h"

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>

#include <fmt/core.h>

#include "runtime/models/random.h"
#include "runtime/stage.h"

namespace dualpipe {
namespace {

std::string describe(const SpinMessage& message) {
  return fmt::format("{} of stage {}, microbatch {}, step {} (checksum {:016x})",
                     message.is_gradient == 0 ? "activation" : "gradient", message.stage,
                     message.microbatch, message.step, message.checksum[0]);
}

}  // namespace

SpinMessage spin_message(bool is_gradient, int stage, const StageOp& op) {
  SpinMessage message{.is_gradient = is_gradient ? 1U : 0U,
                      .step = op.step,
                      .stage = static_cast<std::uint64_t>(stage),
                      .microbatch = static_cast<std::uint64_t>(op.microbatch)};
  const RandomStream random = RandomStream{message.step}
                                  .child(message.is_gradient)
                                  .child(message.stage)
                                  .child(message.microbatch);
  for (std::size_t word = 0; word < message.checksum.size(); ++word) {
    message.checksum[word] = random.bits(word);
  }
  return message;
}

void require_same(const SpinMessage& expected, const SpinMessage& found) {
  if (found != expected) {
    throw std::runtime_error(fmt::format("a stage got a wrong message: expected {}; found {}",
                                         describe(expected), describe(found)));
  }
}

}  // namespace dualpipe
