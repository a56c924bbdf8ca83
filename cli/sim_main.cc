// dualpipe-sim: design, prove, predict and draw pipeline schedules.

#include <algorithm>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "cli/command_line.h"
#include "cli/commands.h"
#include "cli/interrupts.h"
#include "cli/program_main.h"
#include "cli/subject.h"
#include "cli/version.h"
#include "costs/error.h"
#ifdef DUALPIPE_HAS_MPI
#include "cli/mpi_farm.h"
#include "runtime/mpi_transport.h"
#endif

namespace dualpipe {
namespace {

constexpr const char* subject_help =
    "a schedule of `dualpipe-sim list`, or a file (JSON, CSV or text; - is stdin); default: the "
    "config's pipeline.schedule";

// Every command and what it is to do once the command line is parsed.
struct Commands {
  CLI::App app{"Pipeline-parallel training schedules: design, prove, predict, draw.",
               "dualpipe-sim"};
  ColourChoice colour = ColourChoice::automatic;
  ListOptions list;
  GenerateOptions generate;
  CostOptions cost;
  CheckOptions check;
  SimulateOptions simulate;
  CompareOptions compare;
  ExplainOptions explain;
  RenderOptions render;
  DiffOptions diff;
  SweepOptions sweep;
  CalibrateOptions calibrate;
  std::function<ExitCode()> selected;
};

// On the processes of a launcher if there is one, for the command as given.
ExitCode run_sweep_here(SweepOptions options) {
  if (print_config(options.subject)) {
    return ExitCode::ok;
  }
  const Interrupts interrupts;
  options.is_interrupted = [&] { return interrupts.requested(); };
#ifdef DUALPIPE_HAS_MPI
  if (started_by_mpi_launcher()) {
    MpiFarm farm;
    if (!farm.leads()) {
      spdlog::set_level(spdlog::level::off);  // Every process finds the same mistakes.
    }
    options.farm = farm.sweep_farm();
    return run_sweep(options);
  }
#endif
  return run_sweep(options);
}

CLI::App& add_command(Commands& program, const char* name, const char* what, const char* examples) {
  CLI::App* command = program.app.add_subcommand(name, what);
  command->footer(std::string("Examples:\n") + examples);
  return *command;
}

// Makes `run(options)` what the program does when the command is given.
template <typename Options>
void select(Commands& program, CLI::App& command, const Options& options,
            ExitCode (*run)(const Options&)) {
  command.callback([&program, &options, run] {
    program.selected = [&options, run] {
      if constexpr (requires { options.subject.dump_config; }) {
        if (print_config(options.subject)) {
          return ExitCode::ok;
        }
      }
      return run(options);
    };
  });
}

void add_list(Commands& program) {
  CLI::App& command = add_command(program, "list", "schedules, what each requires, closed forms",
                                  "  dualpipe-sim list\n"
                                  "  dualpipe-sim list --format json --ranks 8 --microbatches 32");
  add_config_options(command, program.list.subject);
  add_format(command, program.list.format, {"table", "json"});
  select(program, command, program.list, run_list);
}

void add_generate(Commands& program) {
  CLI::App& command =
      add_command(program, "generate", "write a schedule",
                  "  dualpipe-sim generate dualpipe --ranks 8 --microbatches 20 -o dualpipe.json\n"
                  "  dualpipe-sim generate 1f1b -p 4 -m 8 --format csv");
  command.add_option("schedule", program.generate.subject.subject, subject_help);
  command.add_option("-o,--output", program.generate.output, "file; - is stdout")
      ->capture_default_str();
  command
      .add_option("--format", program.generate.format,
                  "json, csv or text; default: by the output's extension, else json")
      ->check(CLI::IsMember({"json", "csv", "text"}));
  add_config_options(command, program.generate.subject);
  select(program, command, program.generate, run_generate);
}

void add_cost(Commands& program) {
  CLI::App& command =
      add_command(program, "cost", "what everything costs, and where each number came from",
                  "  dualpipe-sim cost --config configs/deepseek_v3_h800.toml\n"
                  "  dualpipe-sim cost 1f1b -p 8 --config configs/models/llama_3_70b.toml "
                  "--config configs/hardware/h100.toml --set parallel.tensor=8\n"
                  "  dualpipe-sim cost -p 4 --config meta-llama/config.json --config "
                  "configs/hardware/a100.toml --format json");
  command.add_option("schedule", program.cost.subject.subject, subject_help);
  add_format(command, program.cost.format, {"table", "json"});
  add_config_options(command, program.cost.subject);
  select(program, command, program.cost, run_cost);
}

void add_check(Commands& program) {
  CLI::App& command =
      add_command(program, "check", "prove a schedule safe, or say all that is wrong (exit 3)",
                  "  dualpipe-sim check dualpipe --ranks 8 --microbatches 20\n"
                  "  dualpipe-sim check mine.csv --format json\n"
                  "  dualpipe-sim check mine.csv --memory-limit 8\n"
                  "  dualpipe-sim check dualpipe --topology world --grouped\n"
                  "  dualpipe-sim check dualpipe --topology all\n"
                  "  dualpipe-sim check dualpipe --topology pair --buffering 64KiB "
                  "--message-bytes 16KiB\n"
                  "  dualpipe-sim check pytorch_comms.csv     # lowered, with SEND_F, RECV_F, ..");
  command.add_option("schedule", program.check.subject.subject, subject_help);
  command
      .add_option("--topology", program.check.topology,
                  "which messages share a communicator: those of a channel (source, destination, "
                  "activation or gradient), an edge (source, destination), a pair of ranks, a "
                  "direction, or all (world); all: a verdict for each; default: channel, and edge "
                  "for a lowered file")
      ->check(CLI::IsMember({"channel", "edge", "pair", "direction", "world", "all"}));
  command.add_flag("--grouped", program.check.grouped,
                   "sends and receives go out in groups before each slot, as DeepSeek's DualPipe "
                   "does");
  command
      .add_option("--buffering", program.check.buffering,
                  "bytes that may be under way from one rank to another on a communicator before "
                  "their receive: 0 is rendezvous, inf is without end; default: 0, or, on channels "
                  "one by one, the receives posted ahead that dualpipe-run would use")
      ->type_name("BYTES");
  command
      .add_option("--message-bytes", program.check.message_bytes,
                  "size of a message; with 1, --buffering counts messages")
      ->type_name("BYTES")
      ->capture_default_str();
  add_format(command, program.check.format, {"text", "json"});
  add_config_options(command, program.check.subject);
  select(program, command, program.check, run_check);
}

void add_simulate(Commands& program) {
  CLI::App& command =
      add_command(program, "simulate", "step time, bubbles and memory",
                  "  dualpipe-sim simulate dualpipe --ranks 8 --microbatches 20\n"
                  "  dualpipe-sim simulate --config configs/deepseek_v3.toml --format json\n"
                  "  dualpipe-sim simulate --config configs/deepseek_v3_h800.toml --memory "
                  "memory.csv\n"
                  "  dualpipe-sim simulate dualpipe --set jitter.op=0.05 --samples 10000\n"
                  "  dualpipe-sim simulate 1f1b --set costs.p2p=0.1 --set network.mode=rendezvous\n"
                  "  dualpipe-sim simulate mine.json --set costs.p2p=0.1 --timeline timeline.json");
  command.add_option("schedule", program.simulate.subject.subject, subject_help);
  command.add_option("--timeline", program.simulate.timeline_path,
                     "also write when everything happened, for `render` and `diff`");
  command.add_option("--memory", program.simulate.memory_path,
                     "also write the bytes of each rank over time, by what they are for, as CSV");
  command
      .add_option("--samples", program.simulate.samples,
                  "so many steps with the config's [jitter]: percentiles instead of one step")
      ->check(CLI::Range(1, 100'000'000));
  add_format(command, program.simulate.format, {"table", "json", "csv"});
  add_config_options(command, program.simulate.subject);
  select(program, command, program.simulate, run_simulate);
}

void add_compare(Commands& program) {
  CLI::App& command =
      add_command(program, "compare", "several schedules: same model, ranks and microbatches",
                  "  dualpipe-sim compare --ranks 8 --microbatches 32 --chunks 2\n"
                  "  dualpipe-sim compare dualpipe dualpipev 1f1b mine.csv");
  command.add_option("schedules", program.compare.schedules,
                     "names or files; default: all families");
  add_format(command, program.compare.format, {"table", "json", "csv"});
  add_config_options(command, program.compare.subject);
  select(program, command, program.compare, run_compare);
}

void add_explain(Commands& program) {
  CLI::App& command = add_command(
      program, "explain", "critical path, idle time by cause, what faster parts would gain",
      "  dualpipe-sim explain 1f1b -p 4 -m 8 --set costs.p2p=0.1\n"
      "  dualpipe-sim explain measured.json      # timeline, as of dualpipe-run --trace\n"
      "  dualpipe-sim explain dualpipe --format json");
  command.add_option("schedule", program.explain.subject.subject,
                     std::string(subject_help) + "; or a timeline");
  add_format(command, program.explain.format, {"table", "json"});
  add_config_options(command, program.explain.subject);
  select(program, command, program.explain, run_explain);
}

void add_render(Commands& program) {
  CLI::App& command =
      add_command(program, "render", "draw a schedule or a timeline",
                  "  dualpipe-sim render dualpipe --ranks 8 --microbatches 20 -o dualpipe.svg\n"
                  "  dualpipe-sim render 1f1b -p 4 -m 8\n"
                  "  dualpipe-sim render predicted.json measured.json -o both.svg\n"
                  "  dualpipe-sim render --chunk 3 --config configs/deepseek_v3_h800.toml -o "
                  "pair.svg");
  command
      .add_option("schedule", program.render.subjects,
                  "a schedule, a file or a timeline; two are laid above each other on one axis")
      ->expected(0, 2);
  command
      .add_option("-o,--output", program.render.output, "file ending in .svg or .txt; - is stdout")
      ->capture_default_str();
  command
      .add_option("--format", program.render.format,
                  "svg or text; default: by the output's extension, text on stdout")
      ->check(CLI::IsMember({"svg", "text"}));
  command.add_option("--style", program.render.style, "colours and labels")->capture_default_str();
  command.add_option("--width", program.render.width_inches, "width of an SVG in inches")
      ->capture_default_str();
  command.add_flag("--number-reverse", program.render.number_reverse,
                   "number the boxes of the reverse direction too");
  command.add_flag("--ticks", program.render.ticks, "times below the axis");
  command
      .add_option(
          "--chunk", program.render.chunk,
          "instead, what computes and what communicates while this stage overlaps a forward "
          "with a backward; needs a config with a [model]")
      ->type_name("STAGE")
      ->expected(0, 1)
      ->default_str("0");
  add_config_options(command, program.render.subject);
  select(program, command, program.render, run_render);
}

void add_diff(Commands& program) {
  CLI::App& command = add_command(
      program, "diff", "a predicted timeline beside a measured one",
      "  dualpipe-sim diff predicted.json measured.json\n"
      "  dualpipe-sim diff predicted.json measured.json --tolerance 0.05   # exit 6 beyond 5 %\n"
      "  dualpipe-sim diff predicted.json measured.json --format csv");
  command
      .add_option("predicted", program.diff.predicted_path, "timeline, as of simulate --timeline")
      ->required();
  command
      .add_option("measured", program.diff.measured_path, "timeline, as of dualpipe-run --trace")
      ->required();
  command.add_option("--tolerance", program.diff.tolerance,
                     "largest relative error of the step time; exit 6 beyond it");
  add_format(command, program.diff.format, {"table", "json", "csv"});
  select(program, command, program.diff, run_diff);
}

void add_sweep(Commands& program) {
  SweepOptions& options = program.sweep;
  CLI::App& command = add_command(
      program, "sweep", "step time, bubbles and memory over many configs, as CSV",
      "  dualpipe-sim sweep --vary ranks=4,8,16 --vary microbatches=16:128:16 -o sweep.csv\n"
      "  dualpipe-sim sweep dualpipe 1f1b --vary costs.p2p=0:0.3:0.1\n"
      "  dualpipe-sim sweep --vary schedule=dualpipe,zb-v --vary memory_limit=8,16,24\n"
      "  mpirun -n 64 dualpipe-sim sweep --vary ranks=4:256:4 -o sweep.csv --resume");
  command.add_option("schedules", options.schedules,
                     "names or files, an axis of their own; default: the config's");
  command
      .add_option("--vary", options.varied,
                  "a config key and its values: KEY=A,B,.. or KEY=FROM:TO:STEP; the last varies "
                  "fastest")
      ->type_name("KEY=VALUES")
      ->take_all()
      ->allow_extra_args(false);
  command.add_option("-o,--output", options.output, "file; - is stdout")->capture_default_str();
  command.add_flag("--resume", options.resume, "go on with the file of a sweep that was ended");
  command
      .add_option("--jobs", options.jobs,
                  "threads; default: one per core; under mpirun every process takes one point at "
                  "a time instead")
      ->check(CLI::Range(1, 1024));
  add_config_options(command, options.subject);
  command.callback(
      [&program] { program.selected = [&program] { return run_sweep_here(program.sweep); }; });
}

void add_calibrate(Commands& program) {
  CLI::App& command = add_command(
      program, "calibrate", "costs from a measured timeline, as a config",
      "  dualpipe-sim calibrate measured.json -o costs.toml\n"
      "  dualpipe-sim simulate dualpipe --config costs.toml\n"
      "  dualpipe-sim calibrate measured.json --jitter | dualpipe-sim simulate --config "
      "/dev/stdin --samples 1000");
  command.add_option("trace", program.calibrate.trace_path, "timeline, as of dualpipe-run --trace")
      ->required();
  command.add_option("-o,--output", program.calibrate.output, "file; - is stdout")
      ->capture_default_str();
  command.add_flag("--jitter", program.calibrate.jitter,
                   "set [jitter] to how much slots and transfers vary");
  select(program, command, program.calibrate, run_calibrate);
}

// CLI11 says only that a command is required when the first word is none.
void check_command(const CLI::App& app, int argc, const char* const* argv) {
  const std::string_view word = argc > 1 ? argv[1] : "-";
  if (word.starts_with('-') || word.empty()) {
    return;
  }
  std::vector<std::string> names;
  for (const CLI::App* command : app.get_subcommands({})) {
    names.push_back(command->get_name());
  }
  if (std::find(names.begin(), names.end(), word) == names.end()) {
    const std::vector<std::string_view> candidates(names.begin(), names.end());
    throw Error(ExitCode::usage,
                fmt::format("no command is called '{}'{}; the commands are {}", word,
                            did_you_mean(word, candidates), fmt::join(names, ", ")));
  }
}

int run(int argc, const char* const* argv) {
  Commands program;
  program.app.set_version_flag("--version", std::string(version));
  program.app.require_subcommand(1);
  program.app.footer(
      "Exit codes: 0 ok, 1 internal error, 2 usage or config, 3 invalid schedule, 4 infeasible,\n"
      "5 input or output, 6 outside tolerance, 130 interrupted.");
  add_colour(program.app, program.colour);
  add_list(program);
  add_generate(program);
  add_cost(program);
  add_check(program);
  add_simulate(program);
  add_compare(program);
  add_explain(program);
  add_render(program);
  add_diff(program);
  add_sweep(program);
  add_calibrate(program);
  set_up_logging(program.colour);
  const int code = exit_code_of([&] {
    check_command(program.app, argc, argv);
    return ExitCode::ok;
  });
  if (code != 0) {
    return code;
  }
  return parse_and_run(program.app, argc, argv, [&program] {
    set_up_logging(program.colour);
    program.render.colour = colour_on_stdout(program.colour);
    return exit_code_of(program.selected);
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
