// dualpipe-run: execute a schedule for real - on threads, or on processes under mpirun - and train
// a model with it.

#include <algorithm>
#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "cli/command_line.h"
#include "cli/config.h"
#include "cli/gpu_run.h"
#include "cli/program_main.h"
#include "cli/run_options.h"
#include "cli/run_report.h"
#include "cli/subject.h"
#include "cli/version.h"
#include "costs/cost_model.h"
#include "costs/error.h"
#include "runtime/checkpoint.h"
#include "runtime/fault.h"
#include "runtime/fault_transport.h"
#include "runtime/forked_transport.h"
#include "runtime/inproc_transport.h"
#include "runtime/job_end.h"
#include "runtime/models/math.h"
#include "runtime/models/model.h"
#include "runtime/run_identity.h"
#include "runtime/train.h"
#include "runtime/train_on_threads.h"
#include "runtime/transport.h"
#include "runtime/watchdog.h"
#include "scheduler/compile.h"
#include "scheduler/file.h"
#include "scheduler/pipeline.h"
#include "scheduler/program.h"
#include "scheduler/schedule.h"
#include "sim/network.h"
#ifdef DUALPIPE_HAS_MPI
#include "runtime/mpi_transport.h"
#endif

namespace dualpipe {
namespace {

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

const std::map<std::string, ProductPrecision>& precisions() {
  static const std::map<std::string, ProductPrecision> named{
      {"float32", ProductPrecision::float32}, {"bfloat16", ProductPrecision::bfloat16}};
  return named;
}

std::string name_of(ProductPrecision precision) {
  return std::ranges::find(precisions(), precision,
                           &std::pair<const std::string, ProductPrecision>::second)
      ->first;
}

// What the losses depend on, beside the schedule.
RunIdentity identity_of(const RunOptions& options, const ModelOptions& sizes) {
  RunIdentity identity;
  identity.add("model",
               fmt::format("{} {} {} {} {} {}", options.model, sizes.layers, sizes.width,
                           sizes.sequence_length, sizes.microbatch_size, sizes.learning_rate));
  identity.add("seed", std::to_string(sizes.seed));
  identity.add("precision", name_of(sizes.precision));
  identity.add("training text", sizes.text);
  return identity;
}

// What else the ranks of one run have in common.
RunIdentity build_of(const RunOptions& options, const Config& config) {
  RunIdentity identity;
  identity.add("config", dump_config(config));
  identity.add("transport", fmt::format("{} {} {} {}", options.transport, options.gpu.reserved_sms,
                                        options.gpu.share_gpus, fmt::join(options.faults, " ")));
  identity.add("program file", read_file("/proc/self/exe"));
  return identity;
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
  TrainOptions train{.steps = options.steps,
                     .verify = options.verify,
                     .op_timeout = op_timeout_of(options.op_timeout_seconds, "--op-timeout"),
                     .progress = {},
                     .checkpoints = checkpoint_options(options),
                     .identity = identity_of(options, sizes),
                     .build = build_of(options, config)};
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

// What a rank of several processes throws before it trains, it ends the job with: the others wait
// for it, and only rank 0 has a log. Once it trains, train() does so.
template <typename Work>
auto told_once(const RunOptions& options, Transport& transport, const Work& work) {
  try {
    return work();
  } catch (...) {
    // Before the others' own patience ends, which would hide the cause.
    const std::chrono::duration<double> patience(std::min(1.0, options.op_timeout_seconds / 2));
    abort_unless_first_rank_does(transport,
                                 std::chrono::duration_cast<std::chrono::nanoseconds>(patience));
    throw;
  }
}

// On the thread of the transport's rank.
TrainReport train_rank(const Job& job, Transport& transport) {
  const RankModel model = model_for(*job.model, job.sizes, transport.device());
  return train(job.program, transport, model.make_stage, job.train);
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
  const int ranks = job.program.pipeline().ranks();
  std::vector<std::unique_ptr<Transport>> transports = options.transport == "cuda-inproc"
                                                           ? cuda_inproc_transports(ranks)
                                                           : make_inproc_transports(ranks);
  if (is_faulty(options)) {
    transports = make_fault_transports(std::move(transports), plan);
  }
  const TrainReport report = train_on_threads(
      transports, [&](Transport& transport) { return train_rank(job, transport); });
  return write_report(report, options, job.program);
}

// --- processes ---

// What NCCL puts over a transport of the host, and others do not.
std::unique_ptr<Transport> connect(const Job& job, const RunOptions& options,
                                   std::unique_ptr<Transport> transport) {
  return options.transport == "nccl"
             ? nccl_over(std::move(transport), job.program, options.gpu, job.train.op_timeout)
             : std::move(transport);
}

// The rest of a run, when every process has its transport. Every rank comes to the same words
// before training; rank 0 says them.
ExitCode run_rank(const Job& job, const RunOptions& options,
                  std::unique_ptr<Transport> unconnected) {
  // First of all: ranks of different programs would open communicators that do not meet, and one
  // of another model might find nothing wrong with what the others must refuse.
  require_same_run(job.program, *unconnected, job.train);
  const std::unique_ptr<Transport> transport = connect(job, options, std::move(unconnected));
  const RankModel model = told_once(
      options, *transport, [&] { return model_for(*job.model, job.sizes, transport->device()); });
  const TrainReport report = train(job.program, *transport, model.make_stage, job.train);
  return transport->rank() == 0 ? write_report(report, options, job.program) : ExitCode::ok;
}

void be_quiet_unless_first(const Transport& transport) {
  if (transport.rank() != 0) {
    spdlog::set_level(spdlog::level::off);
  }
}

// In processes of our own.
ExitCode run_on_forks(const RunOptions& options) {
  const Job job = make_job(options, resolve_config(options.subject));
  std::unique_ptr<Transport> transport = fork_ranks(job.program.pipeline().ranks());
  be_quiet_unless_first(*transport);
  return run_rank(job, options, std::move(transport));
}

#ifdef DUALPIPE_HAS_MPI
// For as many ranks as there are processes.
Job make_job_of_processes(RunOptions options, int processes) {
  if (options.subject.ranks && *options.subject.ranks != processes) {
    throw Error(ExitCode::usage,
                fmt::format("--ranks {} was given, but {} processes were started; start them with "
                            "mpirun -n {}",
                            *options.subject.ranks, processes, *options.subject.ranks));
  }
  if (!names_file(options.subject.subject)) {
    options.subject.ranks = processes;
  }
  Job job = make_job(options, resolve_config(options.subject));
  if (job.program.pipeline().ranks() != processes) {
    throw Error(ExitCode::usage,
                fmt::format("'{}' is a schedule for {} ranks, but {} processes were started",
                            options.subject.subject, job.program.pipeline().ranks(), processes));
  }
  return job;
}

ExitCode run_on_processes(const RunOptions& options) {
  std::unique_ptr<Transport> transport = make_mpi_transport();
  be_quiet_unless_first(*transport);
  const FaultPlan plan = told_once(options, *transport, [&] { return fault_plan(options); });
  if (is_faulty(options)) {
    transport = make_fault_transport(std::move(transport), plan);
  }
  const Job job = told_once(options, *transport,
                            [&] { return make_job_of_processes(options, transport->ranks()); });
  return run_rank(job, options, std::move(transport));
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
      ->transform(CLI::CheckedTransformer(precisions()).description(""))
      ->type_name("PRECISION")
      ->default_str("float32");
}

void add_options(CLI::App& app, RunOptions& options) {
  app.add_option("--schedule", options.subject.subject,
                 "a schedule of `dualpipe-sim list`, or a file; default: the config's");
  add_config_options(app, options.subject);
  app.add_option(
         "--transport", options.transport,
         "inproc (threads) or mpi; on GPUs cuda-inproc (threads) or nccl (mpirun's "
         "processes, or its own); default: mpi under mpirun, else inproc; with fault: before "
         "inproc or mpi, things go wrong as --fault says")
      ->check(CLI::IsMember({"inproc", "mpi", "cuda-inproc", "nccl", "fault:inproc", "fault:mpi"}));
  add_gpu_options(app, options.gpu);
  app.add_option("--fault", options.faults, "what goes wrong, on purpose: " + fault_syntax())
      ->allow_extra_args(false);
  app.add_option("--fault-seed", options.fault_seed, "of what is left to chance in faults");
  app.add_option("--steps", options.steps, "training steps")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
  app.add_flag(
      "--verify", options.verify,
      "recompute each step without a pipeline and compare all gradients; exit 6 where they "
      "are not equal bits - or, on GPUs, not within 1e-4 (bfloat16: 2e-2)");
  app.add_option("--trace", options.trace_path,
                 "write the timeline of the step of median duration, of the last 64, for "
                 "`dualpipe-sim`");
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
      ->check(CLI::Range(op_timeout_seconds_min, op_timeout_seconds_max))
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
      "  dualpipe-run --schedule dualpipe --ranks 2 --steps 100 --checkpoint kept --resume\n"
      "  dualpipe-run --schedule dualpipe --ranks 4 --transport fault:inproc --fault "
      "drop:rank=1,message=5 "
      "--op-timeout 2\n"
      "  dualpipe-run --schedule dualpipe --ranks 4 --transport cuda-inproc --precision bfloat16\n"
      "Exit codes: 0 done, 1 a bug, 2 usage or config, 3 invalid schedule, 4 infeasible (memory), "
      "5 input or "
      "output,\n6 --verify found other gradients, 86 timeout, 87 transport, 88 a stage failed, 130 "
      "interrupted.");
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
      if (is_gpu_transport(options.transport)) {
        prepare_gpu_transport(options.transport);
      }
      if (options.transport == "nccl" && !started_by_launcher()) {
        return run_on_forks(options);
      }
      const bool processes = options.transport.ends_with("mpi") || options.transport == "nccl";
      return processes ? run_on_processes(options) : run_on_threads(options);
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
