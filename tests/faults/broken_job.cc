// A training job in which one rank goes wrong in a real way, in the middle of the second step: a
// program for mpirun and real_fault.sh. Usage: broken_job FAULT DIRECTORY. Every rank first leaves
// a file there, named after its process, with the files in /dev/shm that it has mapped.

#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>

#include <signal.h>
#include <unistd.h>

#include "costs/error.h"
#include "runtime/mpi_transport.h"
#include "runtime/train.h"
#include "runtime/transport.h"
#include "scheduler/compile.h"
#include "scheduler/generate.h"
#include "scheduler/program.h"
#include "tests/support/toy_stage.h"

namespace dualpipe {
namespace {

constexpr std::chrono::milliseconds op_timeout{2000};

void throw_an_exception() {
  throw std::runtime_error("out of ideas");
}

void throw_a_number() {
  throw 42;
}

void hang() {
  std::this_thread::sleep_for(std::chrono::hours(1));
}

struct Breakage {
  std::string_view name;
  void (*happen)();
};
constexpr std::array<Breakage, 9> breakages{{
    {"kill", [] { ::raise(SIGKILL); }},
    {"segv", [] { ::raise(SIGSEGV); }},
    {"stop", [] { ::raise(SIGSTOP); }},
    {"exit_0", [] { std::exit(0); }},
    {"exit_7", [] { std::exit(7); }},
    {"throw", throw_an_exception},
    {"throw_number", throw_a_number},
    {"hang", hang},
    {"none", [] {}},
}};

void leave_a_trace(const std::string& directory) {
  std::ofstream trace(directory + "/" + std::to_string(::getpid()));
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    const std::size_t name = line.find("/dev/shm/");
    if (name != std::string::npos && !line.ends_with("(deleted)")) {
      trace << line.substr(name) << "\n";
    }
  }
}

int run(const Breakage& breakage, const std::string& directory) {
  const std::unique_ptr<Transport> transport = make_mpi_transport();
  leave_a_trace(directory);
  const Program program = compile_or_throw(
      generate(find_family("dualpipe"), {.ranks = transport->ranks(), .microbatches = 4}));
  int calls = 0;
  const ToyModel model{.stages = program.pipeline().stages(),
                       .microbatches = program.pipeline().microbatches(),
                       .before = [&](const std::string& call) {
                         if (transport->rank() == 1 && call == "1B1" && ++calls == 2) {
                           breakage.happen();
                         }
                       }};
  TrainOptions options;
  options.steps = 3;
  options.verify = breakage.name == "stop" || breakage.name == "none";
  options.op_timeout = op_timeout;
  try {
    const TrainReport report = train(program, *transport, toy_factory(model), options);
    if (transport->rank() == 0) {
      std::printf("gradients off by %g\n", report.max_gradient_difference.value_or(-1.0));
    }
  } catch (const Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return static_cast<int>(error.code());
  }
  return 0;
}

}  // namespace
}  // namespace dualpipe

int main(int argc, char** argv) {
  for (const dualpipe::Breakage& breakage : dualpipe::breakages) {
    if (argc == 3 && breakage.name == argv[1]) {
      return dualpipe::run(breakage, argv[2]);
    }
  }
  std::fprintf(stderr, "expected a fault and a directory\n");
  return 2;
}
