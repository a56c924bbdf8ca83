// What a rank asks of CUDA and cuBLAS, counted call by call: the functions of those names are in
// this program before the libraries', and hand on to them.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <cublas_v2.h>
#include <cuda_runtime_api.h>
#include <dlfcn.h>
#include <fmt/core.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/cuda/cuda_device.h"
#include "runtime/cuda/cuda_math.h"
#include "runtime/device.h"
#include "runtime/models/math.h"
#include "runtime/models/model.h"
#include "runtime/stage.h"
#include "tests/support/needs_gpu.h"

namespace {

thread_local std::set<std::string>* products = nullptr;  // where they are noted
thread_local std::uint64_t launches = 0;

// How far an address is aligned, up to what an allocation is.
std::uintptr_t place(const void* address) {
  return reinterpret_cast<std::uintptr_t>(address) % 256;
}

template <typename Function>
Function* behind(const char* name) {
  return reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, name));
}

}  // namespace

// NOLINTBEGIN(readability-function-size): BLAS has as many parameters.
extern "C" cublasStatus_t cublasGemmStridedBatchedEx(
    cublasHandle_t handle, cublasOperation_t transposed_a, cublasOperation_t transposed_b, int m,
    int n, int k, const void* alpha, const void* a, cudaDataType type_a, int lda,
    long long stride_a, const void* b, cudaDataType type_b, int ldb, long long stride_b,
    const void* beta, void* c, cudaDataType type_c, int ldc, long long stride_c, int count,
    cublasComputeType_t compute, cublasGemmAlgo_t algorithm) {
  // Spelled out, for it has overloads in C++.
  using Multiply = cublasStatus_t(
      cublasHandle_t, cublasOperation_t, cublasOperation_t, int, int, int, const void*, const void*,
      cudaDataType, int, long long, const void*, cudaDataType, int, long long, const void*, void*,
      cudaDataType, int, long long, int, cublasComputeType_t, cublasGemmAlgo_t);
  static auto* const real = behind<Multiply>("cublasGemmStridedBatchedEx");
  if (products != nullptr) {
    products->insert(fmt::format(
        "{}: {}{} {}x{}x{}, {} times, rows of {} {} {}, steps {} {} {}, types {} {}, at {} {} {}, "
        "keeps {}",
        static_cast<const void*>(handle), static_cast<int>(transposed_a),
        static_cast<int>(transposed_b), m, n, k, count, lda, ldb, ldc, stride_a, stride_b, stride_c,
        static_cast<int>(type_a), static_cast<int>(type_b), place(a), place(b), place(c),
        *static_cast<const float*>(beta)));
  }
  ++launches;
  return real(handle, transposed_a, transposed_b, m, n, k, alpha, a, type_a, lda, stride_a, b,
              type_b, ldb, stride_b, beta, c, type_c, ldc, stride_c, count, compute, algorithm);
}

extern "C" cudaError_t cudaLaunchKernel(const void* function, dim3 grid, dim3 block,
                                        void** arguments, std::size_t shared_bytes,
                                        cudaStream_t stream) {
  static auto* const real =
      behind<cudaError_t(const void*, dim3, dim3, void**, std::size_t, cudaStream_t)>(
          "cudaLaunchKernel");
  ++launches;
  return real(function, grid, block, arguments, shared_bytes, stream);
}
// NOLINTEND(readability-function-size)

namespace dualpipe {
namespace {

class FirstUse : public NeedsGpu {};

ModelOptions small(ProductPrecision precision) {
  ModelOptions options;
  options.stages = 3;
  options.microbatches = 4;
  options.layers = 3;
  options.width = 8;
  options.sequence_length = 3;
  options.microbatch_size = 2;
  options.text = "the quick brown fox jumps over it";
  options.precision = precision;
  return options;
}

// A stage of a pipeline with all its messages' memory.
struct Seat {
  Seat(CudaDevice& device, std::unique_ptr<Stage> object)
      : stage(std::move(object)),
        input(device, stage->input_bytes()),
        output(device, stage->output_bytes()),
        output_gradient(device, stage->output_bytes()),
        input_gradient(device, stage->input_bytes()),
        gradient(device, stage->parameter_count() * sizeof(float)) {}

  [[nodiscard]] Stage::ForwardCall forward(int microbatch) const {
    return {.op = {.step = 3, .microbatch = microbatch, .slot = microbatch},
            .input = input.bytes(),
            .output = output.bytes()};
  }
  [[nodiscard]] Stage::BackwardCall backward(int microbatch) const {
    return {.op = {.step = 3, .microbatch = microbatch, .slot = microbatch},
            .output_gradient = output_gradient.bytes(),
            .input_gradient = input_gradient.bytes(),
            .gradient = gradient.floats()};
  }

  std::unique_ptr<Stage> stage;
  DeviceMemory input;
  DeviceMemory output;
  DeviceMemory output_gradient;
  DeviceMemory input_gradient;
  DeviceMemory gradient;
};

// Every kind of call that an executor makes.
void run(const Seat& seat) {
  Stage& stage = *seat.stage;
  const Stage::ForwardCall first = seat.forward(0);
  stage.forward(first.op, first.input, first.output);
  stage.forward_overlapped(seat.forward(1), stage, seat.backward(0));
  const Stage::BackwardCall second = seat.backward(1);
  stage.backward_input(second.op, second.output_gradient, second.input_gradient);
  stage.backward_weight(second.op, second.gradient);
}

// cuBLAS chooses a way to multiply by shape, strides, types and alignment, in each handle.
TEST_F(FirstUse, OfEveryProductIsBeforeTheFirstStep) {
  for (const std::string_view model : {"gpt", "mlp"}) {
    for (const ProductPrecision precision :
         {ProductPrecision::float32, ProductPrecision::bfloat16}) {
      CudaDevice device(0);
      const std::unique_ptr<Math> math = make_cuda_math(device, precision);
      const StageFactory make = find_model(model).make(small(precision), *math);
      for (int number = 0; number < 3; ++number) {
        std::set<std::string> before;
        std::set<std::string> during;
        products = &before;
        const Seat seat(device, make(number));
        seat.stage->allocate(2);
        products = &during;
        run(seat);
        products = nullptr;
        EXPECT_FALSE(during.empty());
        EXPECT_THAT(before, testing::IsSupersetOf(during)) << model << ", stage " << number;
        ASSERT_TRUE(device.finish(std::chrono::steady_clock::now() + std::chrono::minutes(1)));
      }
    }
  }
}

TEST_F(FirstUse, ATrialLeavesNothingBehindThatAStepDependsOn) {
  for (const std::string_view model : {"gpt", "mlp"}) {
    CudaDevice device(0);
    const std::unique_ptr<Math> math = make_cuda_math(device);
    const Seat seat(device, find_model(model).make(small(ProductPrecision::float32), *math)(1));
    seat.stage->allocate(2);
    const std::vector<std::byte> state = seat.stage->save();
    const auto gradient_of = [&] {
      run(seat);
      const DeviceMemory host(device, seat.gradient.bytes().size(), MemoryHome::host);
      device.copy(seat.gradient.bytes(), host.bytes());
      EXPECT_TRUE(device.finish(std::chrono::steady_clock::now() + std::chrono::minutes(1)));
      return std::vector<std::byte>(host.bytes().begin(), host.bytes().end());
    };
    const std::vector<std::byte> once = gradient_of();
    EXPECT_EQ(gradient_of(), once) << "of the same microbatch, after others";
    EXPECT_EQ(seat.stage->save(), state);
  }
}

// The device's own count is what keeps its queue from filling up.
TEST_F(FirstUse, NoLaunchIsForgottenInTheCount) {
  for (const std::string_view model : {"gpt", "mlp"}) {
    CudaDevice device(0);
    const std::unique_ptr<Math> math = make_cuda_math(device);
    const Seat seat(device, find_model(model).make(small(ProductPrecision::float32), *math)(1));
    seat.stage->allocate(2);
    const std::uint64_t launched = launches;
    const std::uint64_t asked = device.asked();
    run(seat);
    EXPECT_GT(launches, launched);
    EXPECT_GE(device.asked() - asked, launches - launched) << model;
  }
}

}  // namespace
}  // namespace dualpipe
