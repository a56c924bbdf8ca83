#include "cli/gpu_run.h"

#include <chrono>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/core.h>

#include "costs/check.h"
#include "runtime/device.h"
#include "runtime/models/cpu_math.h"
#include "runtime/models/math.h"
#include "runtime/models/model.h"
#include "runtime/stage.h"
#include "runtime/transport.h"
#include "scheduler/program.h"
#ifdef DUALPIPE_HAS_CUDA
#include "runtime/cuda/cuda_device.h"
#include "runtime/cuda/cuda_inproc_transport.h"
#include "runtime/cuda/cuda_math.h"
#include "runtime/cuda/cuda_spin.h"
#endif
#ifdef DUALPIPE_HAS_NCCL
#include "runtime/nccl/nccl_transport.h"
#else
#include "costs/error.h"
#endif

namespace dualpipe {
namespace {

constexpr std::string_view over_nccl = "nccl";
constexpr std::string_view over_cuda = "cuda-inproc";

#if !defined(DUALPIPE_HAS_CUDA) || !defined(DUALPIPE_HAS_NCCL)
[[noreturn]] void refuse_build(std::string_view transport, std::string_view needs) {
  throw Error(ExitCode::usage,
              fmt::format("this build has no {}; use --transport inproc or mpi, or build again "
                          "where CMake finds {}",
                          transport, needs));
}
#endif

}  // namespace

void add_gpu_options(CLI::App& app, GpuOptions& options) {
  app.add_option("--reserved-sms", options.reserved_sms,
                 "nccl: SMs of each GPU that communication may hold at once")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  app.add_flag("--share-gpus", options.share_gpus,
               "nccl: more processes than GPUs, for trying out; slow");
}

bool is_gpu_transport(std::string_view transport) {
  return transport == over_nccl || transport == over_cuda;
}

void prepare_gpu_transport(std::string_view transport) {
  CHECK(is_gpu_transport(transport));
  if (transport == over_nccl) {
#ifdef DUALPIPE_HAS_NCCL
    prepare_nccl_environment();
#else
    refuse_build(transport, "CUDA and NCCL");
#endif
  } else {
#ifdef DUALPIPE_HAS_CUDA
    prepare_cuda_environment();
#else
    refuse_build(transport, "CUDA");
#endif
  }
}

#ifdef DUALPIPE_HAS_CUDA
std::vector<std::unique_ptr<Transport>> cuda_inproc_transports(int ranks) {
  return make_cuda_inproc_transports(ranks);
}
#else
std::vector<std::unique_ptr<Transport>> cuda_inproc_transports(int /*ranks*/) {
  refuse_build(over_cuda, "CUDA");
}
#endif

#ifdef DUALPIPE_HAS_NCCL
std::unique_ptr<Transport> nccl_over(std::unique_ptr<Transport> inner, const Program& program,
                                     const GpuOptions& options, std::chrono::nanoseconds timeout) {
  return make_nccl_transport(
      std::move(inner), program,
      {.reserved_sms = options.reserved_sms, .share_gpus = options.share_gpus, .timeout = timeout});
}
#else
std::unique_ptr<Transport> nccl_over(std::unique_ptr<Transport> /*inner*/,
                                     const Program& /*program*/, const GpuOptions& /*options*/,
                                     std::chrono::nanoseconds /*timeout*/) {
  refuse_build(over_nccl, "CUDA and NCCL");
}
#endif

RankModel model_for(const Model& model, const ModelOptions& options, Device& device) {
#ifdef DUALPIPE_HAS_CUDA
  if (auto* const gpu = dynamic_cast<CudaDevice*>(&device)) {
    if (model.name == "spin") {
      return {.math = nullptr, .make_stage = make_cuda_spin(options, *gpu)};
    }
    std::unique_ptr<Math> math = make_cuda_math(*gpu, options.precision);
    StageFactory make_stage = model.make(options, *math);
    return {.math = std::move(math), .make_stage = std::move(make_stage)};
  }
#endif
  CHECK(device.name() == "cpu");
  std::unique_ptr<Math> math = std::make_unique<CpuMath>(device);
  StageFactory make_stage = model.make(options, *math);
  return {.math = std::move(math), .make_stage = std::move(make_stage)};
}

}  // namespace dualpipe
