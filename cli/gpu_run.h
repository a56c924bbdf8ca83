// What dualpipe-run needs of the GPU backends, and what it says where a build has none of them.

#pragma once

#include <chrono>
#include <memory>
#include <string_view>
#include <vector>

#include <CLI/CLI.hpp>

#include "runtime/device.h"
#include "runtime/models/math.h"
#include "runtime/models/model.h"
#include "runtime/stage.h"
#include "runtime/transport.h"
#include "scheduler/program.h"

namespace dualpipe {

struct GpuOptions {
  int reserved_sms = 32;
  bool share_gpus = false;
};

void add_gpu_options(CLI::App& app, GpuOptions& options);

// nccl, cuda-inproc.
[[nodiscard]] bool is_gpu_transport(std::string_view transport);

// Sees to the environment, and that the transport is one of this build. To be called first, while
// there is one thread. Throws Error (usage).
void prepare_gpu_transport(std::string_view transport);

// As make_cuda_inproc_transports(). Requires: prepared.
[[nodiscard]] std::vector<std::unique_ptr<Transport>> cuda_inproc_transports(int ranks);

// As make_nccl_transport(). Requires: prepared.
[[nodiscard]] std::unique_ptr<Transport> nccl_over(std::unique_ptr<Transport> inner,
                                                   const Program& program,
                                                   const GpuOptions& options,
                                                   std::chrono::nanoseconds timeout);

// A model for one rank's device, which must outlive it.
struct RankModel {
  std::unique_ptr<Math> math;  // that the stages compute by; null where they need none
  StageFactory make_stage;
};
// Throws what Model::make() throws, and Error (usage) for a precision that the device does not
// have.
[[nodiscard]] RankModel model_for(const Model& model, const ModelOptions& options, Device& device);

}  // namespace dualpipe
