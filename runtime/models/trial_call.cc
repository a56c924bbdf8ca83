#include "runtime/models/trial_call.h"

#include <chrono>

#include <fmt/core.h>

#include "costs/error.h"
#include "runtime/device.h"
#include "runtime/stage.h"

namespace dualpipe {
namespace {

constexpr std::chrono::minutes limit{5};  // to set up a library, for large models

}  // namespace

TrialCall::TrialCall(const Stage& stage, Device& device)
    : device_(device),
      input_(device, stage.input_bytes()),
      output_(device, stage.output_bytes()),
      output_gradient_(device, stage.output_bytes()),
      input_gradient_(device, stage.input_bytes()),
      gradient_(device, stage.parameter_count() * sizeof(float)) {}

void TrialCall::finish() const {
  if (!device_.finish(std::chrono::steady_clock::now() + limit)) {
    throw Error(ExitCode::timeout,
                fmt::format("the device has not done a stage's first calls within {} minutes; look "
                            "for other work on it",
                            limit.count()));
  }
}

}  // namespace dualpipe
