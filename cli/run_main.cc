// dualpipe-run: execute a schedule for real - on threads, or on processes under mpirun - and train
// a model with it.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <numeric>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>

#include "cli/command_line.h"
#include "cli/config.h"
#include "cli/program_main.h"
#include "cli/subject.h"
#include "cli/version.h"
#include "costs/cost_model.h"
#include "costs/error.h"
#include "render/report.h"
#include "render/table.h"
#include "render/units.h"
#include "runtime/fault.h"
#include "runtime/fault_transport.h"
#include "runtime/inproc_transport.h"
#include "runtime/models/cpu_math.h"
#include "runtime/models/math.h"
#include "runtime/models/model.h"
#include "runtime/train.h"
#include "runtime/train_on_threads.h"
#include "runtime/transport.h"
#include "scheduler/compile.h"
#include "scheduler/file.h"
#include "scheduler/pipeline.h"
#include "scheduler/pipeline_json.h"
#include "scheduler/program.h"
#include "scheduler/schedule.h"
#include "sim/network.h"
#include "trace/metrics.h"
#include "trace/timeline.h"
#ifdef DUALPIPE_HAS_MPI
#include "runtime/mpi_transport.h"
#endif

namespace dualpipe {
namespace {

struct RunOptions {
  SubjectOptions subject;
  std::string model = "gpt";
  // inproc or mpi, perhaps fault: before it; empty: mpi under a launcher, else inproc
  std::string transport;
  std::vector<std::string> faults;
  std::uint64_t fault_seed = 0;
  int steps = 10;
  bool verify = false;
  std::optional<std::string> trace_path;
  std::string checkpoint_directory;  // empty: none
  int checkpoint_every = 10;
  bool resume = false;
  // With one, a rank waits before every slot until its last message has left, which takes a process
  // two wake-ups; two hide that behind a slot.
  int send_buffers = 2;
  double op_timeout_seconds = 60.0;
  std::string format = "table";                                // table, json
  std::string text_path = "/usr/share/common-licenses/GPL-3";  // part of every Debian
  ModelOptions sizes;
};

// What all ranks run, worked out before any of them starts.
struct Job {
  Program program;
  const Model* model = nullptr;
  ModelOptions sizes;
  TrainOptions train;
};

ModelOptions model_options(const RunOptions& options, const Config& config,
                           const Schedule& schedule) {
  ModelOptions sizes = options.sizes;
  sizes.stages = schedule.pipeline.stages();
  sizes.microbatches = schedule.pipeline.microbatches();
  if (options.model == "gpt") {
    sizes.text = read_file(options.text_path);
  } else if (options.model == "spin") {
    sizes.costs = costs_for(schedule, config);
  }
  return sizes;
}

// What the losses depend on, beside the schedule.
std::string description(const RunOptions& options, const ModelOptions& sizes) {
  return fmt::format("{} {} {} {} {} {} {}\n{}", options.model, sizes.seed, sizes.layers,
                     sizes.width, sizes.sequence_length, sizes.microbatch_size, sizes.learning_rate,
                     sizes.text);
}

std::optional<CheckpointOptions> checkpoint_options(const RunOptions& options) {
  if (options.checkpoint_directory.empty()) {
    return std::nullopt;
  }
  return CheckpointOptions{.directory = options.checkpoint_directory,
                           .every = options.checkpoint_every,
                           .resume = options.resume};
}

// The proof holds with more send buffers too: a slot only ever waits less. Where the config asks
// for a network of which a single send buffer is part, it stays single.
Program with_send_buffers(Program program, const Config& config, int send_buffers) {
  TransportSemantics semantics = program.semantics();
  if (network_of(config).mode != NetworkModel::Mode::eager) {
    return program;
  }
  semantics.send_slots = send_buffers;
  return compile_or_throw(program.schedule(), semantics);
}

Job make_job(const RunOptions& options, const Config& config) {
  const Model& model = find_model(options.model);
  const Subject subject = load_subject(options.subject, config);
  if (is_forward_only(subject.schedule)) {
    throw Error(ExitCode::usage,
                fmt::format("'{}' has no backwards, but dualpipe-run trains; expected a schedule "
                            "with them (leave out --forward-only, or take another file)",
                            subject.schedule.pipeline.name));
  }
  Program program =
      with_send_buffers(compile_subject(subject, config), config, options.send_buffers);
  ModelOptions sizes = model_options(options, config, program.schedule());
  const auto timeout = std::chrono::duration<double>(options.op_timeout_seconds);
  TrainOptions train{.steps = options.steps,
                     .verify = options.verify,
                     .op_timeout = std::chrono::duration_cast<std::chrono::nanoseconds>(timeout),
                     .progress = {},
                     .checkpoints = checkpoint_options(options),
                     .identity = {},
                     .build = {}};
  train.identity.add("model", description(options, sizes));
  train.build.add("config", dump_config(config));
  train.build.add("program file", read_file("/proc/self/exe"));
  auto last = std::chrono::steady_clock::time_point{};
  train.progress = [steps = options.steps, last](int step, double loss) mutable {
    const auto now = std::chrono::steady_clock::now();
    if (last == std::chrono::steady_clock::time_point{} || step + 1 == steps ||
        now - last > std::chrono::seconds(1)) {
      spdlog::info("step {} of {}: loss {:.4f}", step + 1, steps, loss);
      last = now;
    }
  };
  return {
      .program = std::move(program), .model = &model, .sizes = std::move(sizes), .train = train};
}

// On the thread of the transport's rank.
TrainReport train_rank(const Job& job, Transport& transport) {
  CpuMath math(transport.device());
  return train(job.program, transport, job.model->make(job.sizes, math), job.train);
}

// --- what rank 0 says ---

// The step whose time is the median, the first left out where there are others: it warms up.
std::size_t typical_step(const TrainReport& report) {
  std::vector<std::size_t> order(report.step_time.size());
  std::iota(order.begin(), order.end(), 0);
  if (order.size() > 1) {
    order.erase(order.begin());
  }
  const auto middle = order.begin() + static_cast<std::ptrdiff_t>(order.size() / 2);
  std::nth_element(order.begin(), middle, order.end(), [&](std::size_t one, std::size_t other) {
    return report.step_time[one] < report.step_time[other];
  });
  return *middle;
}

std::vector<std::int64_t> counts(const std::vector<Time>& times) {
  std::vector<std::int64_t> values;
  for (const Time time : times) {
    values.push_back(time.count());
  }
  return values;
}

std::string as_json(const TrainReport& report, const RunOptions& options, const Program& program) {
  nlohmann::ordered_json document;
  document["schema_version"] = schema_version;
  document["schedule"] = program.pipeline().name;
  document["ranks"] = program.pipeline().ranks();
  document["transport"] = options.transport;
  document["steps"] = options.steps;
  if (report.first_step > 0) {
    document["first_step"] = report.first_step;
  }
  document["loss"] = report.loss;
  document["step_time_ns"] = counts(report.step_time);
  document["max_gradient_difference"] = nullptr;
  if (report.max_gradient_difference) {
    document["max_gradient_difference"] = *report.max_gradient_difference;
  }
  document["model"] = options.model;
  document["microbatches"] = program.pipeline().microbatches();
  document["tail_time_ns"] = counts(report.tail_time);
  document["clock_uncertainty_ns"] = report.clock_uncertainty.count();
  document["clocks"] = nlohmann::ordered_json::array();
  for (const RankClock& clock : report.timelines.front().clocks) {
    document["clocks"].push_back({{"offset_ns", clock.offset.count()},
                                  {"drift_ns", clock.drift.count()},
                                  {"uncertainty_ns", clock.uncertainty.count()}});
  }
  return document.dump() + "\n";
}

// How far the times of one rank may be trusted beside those of another.
std::string clock_words(const std::vector<RankClock>& clocks) {
  RankClock largest;
  for (const RankClock& clock : clocks) {
    largest.offset = std::max(largest.offset, std::chrono::abs(clock.offset));
    largest.drift = std::max(largest.drift, std::chrono::abs(clock.drift));
    largest.uncertainty = std::max(largest.uncertainty, clock.uncertainty);
  }
  return clocks.size() < 2
             ? ""
             : fmt::format(
                   "Clocks: up to {} from rank 0's, known to {}; they drifted by up to {}. "
                   "Both are taken out.\n",
                   format_time(largest.offset), format_time(largest.uncertainty),
                   format_time(largest.drift));
}

std::string as_table(const TrainReport& report, const RunOptions& options, const Program& program) {
  std::vector<std::vector<std::string>> rows;
  const std::size_t steps = report.loss.size();
  const std::size_t stride = std::max<std::size_t>(1, steps / 10);
  const std::size_t first = static_cast<std::size_t>(report.first_step);
  for (std::size_t step = 0; step < steps; ++step) {
    if (step % stride == 0 || step + 1 == steps) {
      rows.push_back({std::to_string(first + step + 1), fmt::format("{:.4f}", report.loss[step]),
                      format_time(report.step_time[step]), format_time(report.tail_time[step])});
    }
  }
  const std::size_t typical = typical_step(report);
  std::string text = fmt::format("{} trained with {} over {}\n\n", options.model,
                                 program.pipeline().name, options.transport);
  const std::vector<Column> columns{{"step"}, {"loss"}, {"step time"}, {"after it"}};
  text += format_table(columns, rows);
  text += fmt::format("\nStep {}, the typical one:\n\n", first + typical + 1);
  text += metrics_table(program.pipeline(), measure(report.timelines[typical]));
  text += "\n" + clock_words(report.timelines[typical].clocks);
  if (report.max_gradient_difference) {
    text += *report.max_gradient_difference == 0.0
                ? "Gradients: bitwise equal to those without a pipeline, in every step.\n"
                : fmt::format("Gradients: up to {:g} from those without a pipeline.\n",
                              *report.max_gradient_difference);
  }
  return text;
}

void write_report(const TrainReport& report, const RunOptions& options, const Program& program) {
  // The trace last: a full disk must not take the result of a long run with it.
  write_file("-", options.format == "json" ? as_json(report, options, program)
                                           : as_table(report, options, program));
  if (options.trace_path) {
    write_file(*options.trace_path, to_json(report.timelines[typical_step(report)]));
  }
}

// --- transports ---

constexpr std::string_view fault_prefix = "fault:";

bool is_faulty(const RunOptions& options) {
  return options.transport.starts_with(fault_prefix);
}

FaultPlan fault_plan(const RunOptions& options) {
  FaultPlan plan{.faults = {}, .seed = options.fault_seed};
  for (const std::string& fault : options.faults) {
    plan.faults.push_back(parse_fault(fault));
  }
  if (!plan.faults.empty() && !is_faulty(options)) {
    throw Error(ExitCode::usage,
                fmt::format("--fault needs a transport that obeys it; expected --transport {0}{1}, "
                            "found {1}",
                            fault_prefix, options.transport));
  }
  return plan;
}

// --- threads ---

ExitCode run_on_threads(const RunOptions& options) {
  const Job job = make_job(options, resolve_config(options.subject));
  const FaultPlan plan = fault_plan(options);
  std::vector<std::unique_ptr<Transport>> transports =
      make_inproc_transports(job.program.pipeline().ranks());
  if (is_faulty(options)) {
    transports = make_fault_transports(std::move(transports), plan);
  }
  const TrainReport report = train_on_threads(
      transports, [&](Transport& transport) { return train_rank(job, transport); });
  write_report(report, options, job.program);
  return ExitCode::ok;
}

// --- processes ---

#ifdef DUALPIPE_HAS_MPI
// Every rank comes to the same words before training; rank 0 says them.
ExitCode run_on_processes(RunOptions options) {
  const FaultPlan plan = fault_plan(options);
  std::unique_ptr<Transport> transport = make_mpi_transport();
  if (is_faulty(options)) {
    transport = make_fault_transport(std::move(transport), plan);
  }
  if (transport->rank() != 0) {
    spdlog::set_level(spdlog::level::off);
  }
  if (options.subject.ranks && *options.subject.ranks != transport->ranks()) {
    throw Error(ExitCode::usage,
                fmt::format("--ranks {} was given, but {} processes were started; start them with "
                            "mpirun -n {}",
                            *options.subject.ranks, transport->ranks(), *options.subject.ranks));
  }
  if (!names_file(options.subject.subject)) {
    options.subject.ranks = transport->ranks();
  }
  const Job job = make_job(options, resolve_config(options.subject));
  if (job.program.pipeline().ranks() != transport->ranks()) {
    throw Error(
        ExitCode::usage,
        fmt::format("'{}' is a schedule for {} ranks, but {} processes were started",
                    options.subject.subject, job.program.pipeline().ranks(), transport->ranks()));
  }
  const TrainReport report = train_rank(job, *transport);
  if (transport->rank() == 0) {
    write_report(report, options, job.program);
  }
  return ExitCode::ok;
}

bool started_by_launcher() {
  return started_by_mpi_launcher();
}
#else
ExitCode run_on_processes(const RunOptions&) {
  throw Error(ExitCode::usage,
              "this build has no MPI; use --transport inproc, or install MPI and build again");
}

bool started_by_launcher() {
  return false;
}
#endif

// --- the command line ---

void add_model_options(CLI::App& app, RunOptions& options) {
  app.add_option("--model", options.model, "gpt, mlp or spin (sleeps for the modelled times)")
      ->capture_default_str();
  app.add_option("--text", options.text_path, "training text of gpt")->capture_default_str();
  app.add_option("--layers", options.sizes.layers, "layers in all; 0: the model's default");
  app.add_option("--width", options.sizes.width, "hidden size; 0: the model's default");
  app.add_option("--sequence-length", options.sizes.sequence_length,
                 "tokens per sample of gpt; 0: default");
  app.add_option("--microbatch-size", options.sizes.microbatch_size,
                 "samples per microbatch; 0: default");
  app.add_option("--learning-rate", options.sizes.learning_rate, "0: the model's default");
  app.add_option("--seed", options.sizes.seed, "of parameters and data");
  app.add_option("--precision", options.sizes.precision,
                 "of matrix products' operands: float32, or on GPUs bfloat16")
      ->transform(CLI::CheckedTransformer(std::map<std::string, ProductPrecision>{
          {"float32", ProductPrecision::float32}, {"bfloat16", ProductPrecision::bfloat16}}))
      ->default_str("float32");
}

void add_options(CLI::App& app, RunOptions& options) {
  app.add_option("--schedule", options.subject.subject,
                 "a schedule of `dualpipe-sim list`, or a file; default: the config's");
  add_config_options(app, options.subject);
  app.add_option("--transport", options.transport,
                 "inproc (threads) or mpi; default: mpi under mpirun, else inproc; with fault: "
                 "before it, things go wrong as --fault says")
      ->check(CLI::IsMember({"inproc", "mpi", "fault:inproc", "fault:mpi"}));
  app.add_option("--fault", options.faults, "what goes wrong, on purpose: " + fault_syntax())
      ->allow_extra_args(false);
  app.add_option("--fault-seed", options.fault_seed, "of what is left to chance in faults");
  app.add_option("--steps", options.steps, "training steps")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
  app.add_flag("--verify", options.verify,
               "recompute each step without a pipeline and compare all gradients");
  app.add_option("--trace", options.trace_path,
                 "write the timeline of the step of median duration, for `dualpipe-sim`");
  app.add_option("--checkpoint", options.checkpoint_directory,
                 "directory in which to keep the two newest checkpoints");
  app.add_option("--checkpoint-every", options.checkpoint_every,
                 "steps between checkpoints; the last step always has one")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
  app.add_flag("--resume", options.resume,
               "go on from the newest checkpoint of --checkpoint; begin where there is none")
      ->needs("--checkpoint");
  app.add_option("--send-buffers", options.send_buffers,
                 "messages of a channel that may be on their way out while the next is computed")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  app.add_option("--op-timeout", options.op_timeout_seconds,
                 "seconds that any single wait may take; exit 86 beyond it")
      ->check(CLI::Range(0.001, 1e6))
      ->capture_default_str();
  add_format(app, options.format, {"table", "json"});
  add_model_options(app, options);
}

int run(int argc, const char* const* argv) {
  CLI::App app{"Execute a pipeline schedule: on threads, or on processes under mpirun.",
               "dualpipe-run"};
  RunOptions options;
  ColourChoice colour = ColourChoice::automatic;
  app.set_version_flag("--version", std::string(version));
  app.footer(
      "Examples:\n"
      "  dualpipe-run --schedule dualpipe --ranks 4 --microbatches 16 --model gpt --steps 20\n"
      "  mpirun -n 4 dualpipe-run --schedule dualpipe --microbatches 16 --trace measured.json\n"
      "  dualpipe-run --schedule 1f1b --ranks 2 --microbatches 8 --model mlp --verify\n"
      "Exit codes: as dualpipe-sim, and 86 timeout, 87 transport, 88 a stage failed.");
  add_colour(app, colour);
  add_options(app, options);
  return parse_and_run(app, argc, argv, [&] {
    set_up_logging(colour);
    return exit_code_of([&] {
      if (print_config(options.subject)) {
        return ExitCode::ok;
      }
      if (options.transport.empty()) {
        options.transport = started_by_launcher() ? "mpi" : "inproc";
      }
      return options.transport.ends_with("mpi") ? run_on_processes(options)
                                                : run_on_threads(options);
    });
  });
}

}  // namespace
}  // namespace dualpipe

int main(int argc, char** argv) {
  try {
    return dualpipe::run(argc, argv);
  } catch (...) {  // Not even reporting an error has worked: no memory, or no stderr.
    return static_cast<int>(dualpipe::ExitCode::internal_error);
  }
}
