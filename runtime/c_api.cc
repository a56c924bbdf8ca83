#include "runtime/c_api.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "costs/cost_model.h"
#include "costs/error.h"
#include "runtime/c_objects.h"
#include "runtime/checkpoint.h"
#include "runtime/cpu_device.h"
#include "runtime/device.h"
#include "runtime/inproc_transport.h"
#include "runtime/job_end.h"
#include "runtime/stage.h"
#include "runtime/train.h"
#include "runtime/train_on_threads.h"
#include "runtime/transport.h"
#include "runtime/watchdog.h"
#include "scheduler/compile.h"
#include "scheduler/file.h"
#include "scheduler/generate.h"
#include "scheduler/pipeline.h"
#include "scheduler/program.h"
#include "scheduler/schedule.h"
#include "scheduler/text.h"

namespace dualpipe {
namespace {

std::string& last_error() {
  thread_local std::string words;
  return words;
}

void require(bool condition, std::string_view what) {
  if (!condition) {
    throw Error(ExitCode::usage, std::string(what));
  }
}

// A struct of the caller's as one of ours: of an earlier library it is shorter, and what it lacks
// keeps its default.
template <typename Struct>
Struct checked(const Struct* given, const Struct& defaults, std::string_view name) {
  require(given != nullptr, fmt::format("{}: expected a struct, found NULL", name));
  constexpr std::size_t least = 2 * sizeof(std::uint32_t);
  if (given->version != DUALPIPE_ABI_VERSION || given->struct_size < least ||
      given->struct_size > sizeof(Struct)) {
    throw Error(ExitCode::usage,
                fmt::format("{}: expected version {} and {} to {} bytes; found version {} and {}; "
                            "initialise it with the macro of the header, and link the library of "
                            "that header or a later one",
                            name, DUALPIPE_ABI_VERSION, least, sizeof(Struct), given->version,
                            given->struct_size));
  }
  Struct whole = defaults;
  std::memcpy(&whole, given, given->struct_size);
  return whole;
}

void must_succeed(int result, std::string_view callback) {
  if (result != 0) {
    throw Error(ExitCode::callback, fmt::format("{} returned {}", callback, result));
  }
}

template <typename Element>
Element* pointer(std::span<Element> buffer) {
  return buffer.empty() ? nullptr : buffer.data();
}

// A Stage whose work is done by callbacks.
class CStage final : public Stage {
 public:
  // Takes over what make_stage() has made. With the first constructor the object is whole, so that
  // what is refused after it is destroyed too.
  CStage(const dualpipe_stage& made, int number) : CStage(made) {
    stage_ = checked(&made, DUALPIPE_STAGE_INIT, "dualpipe_stage");
    const auto needs = [&](bool there, std::string_view callback) {
      require(there,
              fmt::format("stage {}: expected a callback `{}`, found NULL", number, callback));
    };
    needs(stage_.forward != nullptr, "forward");
    needs(stage_.loss != nullptr || stage_.output_bytes > 0, "loss");
    needs(stage_.backward_input != nullptr, "backward_input");
    needs(stage_.backward_weight != nullptr, "backward_weight");
    needs(stage_.apply_gradient != nullptr, "apply_gradient");
    needs(stage_.save != nullptr || stage_.restore == nullptr, "save");
    needs(stage_.restore != nullptr || stage_.save == nullptr, "restore");
  }
  CStage(const CStage&) = delete;
  CStage& operator=(const CStage&) = delete;
  ~CStage() override {
    if (stage_.destroy != nullptr) {
      stage_.destroy(stage_.context);
    }
  }

  [[nodiscard]] std::size_t input_bytes() const override { return stage_.input_bytes; }
  [[nodiscard]] std::size_t output_bytes() const override { return stage_.output_bytes; }
  [[nodiscard]] std::size_t parameter_count() const override { return stage_.parameter_count; }
  [[nodiscard]] std::int64_t activation_bytes() const override { return stage_.activation_bytes; }

  void allocate(int activation_slots) override {
    if (stage_.allocate != nullptr) {
      must_succeed(stage_.allocate(stage_.context, activation_slots), "allocate");
    }
  }
  void forward(const StageOp& op, std::span<const std::byte> input,
               std::span<std::byte> output) override {
    const dualpipe_op call = as_c(op);
    must_succeed(stage_.forward(stage_.context, &call, pointer(input), pointer(output)), "forward");
  }
  [[nodiscard]] double loss(int microbatch) const override {
    double loss = std::numeric_limits<double>::quiet_NaN();
    must_succeed(stage_.loss(stage_.context, microbatch, &loss), "loss");
    return loss;
  }
  void backward_input(const StageOp& op, std::span<const std::byte> output_gradient,
                      std::span<std::byte> input_gradient) override {
    const dualpipe_op call = as_c(op);
    must_succeed(stage_.backward_input(stage_.context, &call, pointer(output_gradient),
                                       pointer(input_gradient)),
                 "backward_input");
  }
  void backward_weight(const StageOp& op, std::span<float> gradient) override {
    const dualpipe_op call = as_c(op);
    must_succeed(stage_.backward_weight(stage_.context, &call, pointer(gradient)),
                 "backward_weight");
  }
  void apply_gradient(std::span<const float> gradient) override {
    must_succeed(stage_.apply_gradient(stage_.context, pointer(gradient)), "apply_gradient");
  }

  [[nodiscard]] std::vector<std::byte> save() const override {
    if (stage_.save == nullptr) {
      return Stage::save();  // which refuses
    }
    CpuDevice host;  // whose memory is aligned as the header promises
    const DeviceMemory state(host, stage_.state_bytes);
    must_succeed(stage_.save(stage_.context, pointer(state.bytes())), "save");
    return {state.bytes().begin(), state.bytes().end()};
  }
  void restore(std::span<const std::byte> state) override {
    if (stage_.restore == nullptr) {
      Stage::restore(state);
      return;
    }
    if (state.size() != stage_.state_bytes) {
      throw Error(ExitCode::input_output,
                  fmt::format("the checkpoint has {} bytes of a stage's state; expected {}",
                              state.size(), stage_.state_bytes));
    }
    CpuDevice host;
    const DeviceMemory aligned(host, state.size());
    std::ranges::copy(state, aligned.bytes().begin());
    must_succeed(stage_.restore(stage_.context, pointer(aligned.bytes())), "restore");
  }

 private:
  explicit CStage(const dualpipe_stage& made) : stage_(made) {}
  static dualpipe_op as_c(const StageOp& op) {
    return {.step = op.step, .microbatch = op.microbatch, .slot = op.slot};
  }

  dualpipe_stage stage_;
};

StageFactory factory_of(dualpipe_make_stage make_stage, void* context) {
  return [make_stage, context](int stage) -> std::unique_ptr<Stage> {
    dualpipe_stage made = DUALPIPE_STAGE_INIT;
    must_succeed(make_stage(context, stage, &made), fmt::format("make_stage({})", stage));
    return std::make_unique<CStage>(made, stage);
  };
}

Program compiled(const Schedule& schedule) {
  return program_or_throw(compile_with_least_buffers(schedule), schedule.pipeline.name);
}

std::optional<CheckpointOptions> checkpoint_options(const dualpipe_train_options& options) {
  if (options.checkpoint_directory == nullptr) {
    require(options.resume == 0,
            "dualpipe_train_options.resume: expected a checkpoint_directory with it, found NULL");
    return std::nullopt;
  }
  require(options.checkpoint_every > 0,
          "dualpipe_train_options.checkpoint_every: expected at least 1");
  return CheckpointOptions{.directory = options.checkpoint_directory,
                           .every = options.checkpoint_every,
                           .resume = options.resume != 0};
}

TrainOptions train_options(const dualpipe_train_options& options) {
  constexpr int steps_max = 1'000'000;  // every step's time is kept
  require(options.steps > 0 && options.steps <= steps_max,
          "dualpipe_train_options.steps: expected 1 to 1000000");
  TrainOptions train;
  train.steps = options.steps;
  train.verify = options.verify != 0;
  train.op_timeout =
      op_timeout_of(options.op_timeout_seconds, "dualpipe_train_options.op_timeout_seconds");
  train.checkpoints = checkpoint_options(options);
  if (options.identity != nullptr) {
    train.identity.add("identity", std::string_view(options.identity));
  }
  if (options.progress != nullptr) {
    train.progress = [options](int step, double loss) {
      options.progress(options.progress_context, step, loss);
    };
  }
  return train;
}

void fill(const TrainReport& report, dualpipe_train_result* result) {
  if (result == nullptr || report.loss.empty()) {
    return;
  }
  dualpipe_train_result whole = DUALPIPE_TRAIN_RESULT_INIT;
  whole.struct_size = result->struct_size;
  std::vector<Time> times = report.step_time;
  std::ranges::sort(times);
  whole.last_loss = report.loss.back();
  whole.median_step_ns = times[times.size() / 2].count();
  whole.max_gradient_difference =
      report.max_gradient_difference.value_or(std::numeric_limits<double>::quiet_NaN());
  std::memcpy(result, &whole, result->struct_size);
}

}  // namespace

dualpipe_status remember_exception() {
  try {
    Failure failure = current_failure();
    last_error() = std::move(failure.words);
    return static_cast<dualpipe_status>(failure.code);
  } catch (const std::bad_alloc&) {  // Nothing goes across the line, not even for want of memory.
    last_error().clear();
    return DUALPIPE_INTERNAL_ERROR;
  }
}

}  // namespace dualpipe

using dualpipe::guarded;
using dualpipe::require;

uint32_t dualpipe_abi_version(void) {
  return DUALPIPE_ABI_VERSION;
}

const char* dualpipe_last_error(void) {
  return dualpipe::last_error().c_str();
}

dualpipe_status dualpipe_plan_create(const char* family, const dualpipe_shape* shape,
                                     dualpipe_plan** plan) {
  return guarded([&] {
    require(family != nullptr && plan != nullptr, "dualpipe_plan_create: found NULL");
    const dualpipe_shape given = dualpipe::checked(shape, DUALPIPE_SHAPE_INIT, "dualpipe_shape");
    const dualpipe::Shape asked{
        .ranks = given.ranks, .microbatches = given.microbatches, .chunks = given.chunks};
    *plan = new dualpipe_plan{
        dualpipe::compiled(dualpipe::generate(dualpipe::find_family(family), asked))};
  });
}

dualpipe_status dualpipe_plan_create_from_file(const char* path, dualpipe_plan** plan) {
  return guarded([&] {
    require(path != nullptr && plan != nullptr, "dualpipe_plan_create_from_file: found NULL");
    *plan = new dualpipe_plan{
        dualpipe::compiled(dualpipe::parse_schedule(dualpipe::read_file(path), path))};
  });
}

void dualpipe_plan_free(dualpipe_plan* plan) {
  delete plan;
}

int32_t dualpipe_plan_ranks(const dualpipe_plan* plan) {
  return plan->program.pipeline().ranks();
}

int32_t dualpipe_plan_stages(const dualpipe_plan* plan) {
  return plan->program.pipeline().stages();
}

int32_t dualpipe_plan_microbatches(const dualpipe_plan* plan) {
  return plan->program.pipeline().microbatches();
}

void dualpipe_transport_free(dualpipe_transport* transport) {
  delete transport;
}

int32_t dualpipe_transport_rank(const dualpipe_transport* transport) {
  return transport->transport->rank();
}

int32_t dualpipe_transport_ranks(const dualpipe_transport* transport) {
  return transport->transport->ranks();
}

dualpipe_status dualpipe_train(const dualpipe_plan* plan, dualpipe_transport* transport,
                               const dualpipe_train_options* options,
                               dualpipe_train_result* result) {
  return guarded([&] {
    const dualpipe_train_options given =
        dualpipe::checked(options, DUALPIPE_TRAIN_OPTIONS_INIT, "dualpipe_train_options");
    require(plan != nullptr && given.make_stage != nullptr,
            "dualpipe_train: expected a plan and a callback `make_stage`, found NULL");
    if (result != nullptr) {
      static_cast<void>(
          dualpipe::checked(result, DUALPIPE_TRAIN_RESULT_INIT, "dualpipe_train_result"));
    }
    const dualpipe::TrainOptions train = dualpipe::train_options(given);
    const dualpipe::StageFactory factory =
        dualpipe::factory_of(given.make_stage, given.make_stage_context);
    const auto train_rank = [&](dualpipe::Transport& rank) {
      return dualpipe::train(plan->program, rank, factory, train);
    };
    if (transport != nullptr) {
      dualpipe::fill(train_rank(*transport->transport), result);
      return;
    }
    const auto transports = dualpipe::make_inproc_transports(plan->program.pipeline().ranks());
    dualpipe::fill(dualpipe::train_on_threads(transports, train_rank), result);
  });
}
