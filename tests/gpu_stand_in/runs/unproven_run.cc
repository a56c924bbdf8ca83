// A program that the proof calls a deadlock, run all the same: for mpirun and
// tests/support/expect_job.sh; and those that it calls safe on topologies that dualpipe-run does
// not use. Usage: unproven_run FAMILY TOPOLOGY [grouped], as the command line names them. Trains
// the model `spin` over NCCL, and ends with 0 only if the proof and the run both find nothing
// wrong.

#include <chrono>
#include <cstdio>
#include <exception>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string_view>
#include <utility>
#include <vector>

#include "costs/cost_model.h"
#include "costs/error.h"
#include "runtime/cuda/cuda_device.h"
#include "runtime/cuda/cuda_spin.h"
#include "runtime/models/model.h"
#include "runtime/mpi_transport.h"
#include "runtime/nccl/nccl_transport.h"
#include "runtime/train.h"
#include "runtime/transport.h"
#include "scheduler/communication.h"
#include "scheduler/deadlock.h"
#include "scheduler/generate.h"
#include "scheduler/program.h"
#include "scheduler/program_builder.h"
#include "scheduler/violations.h"

namespace dualpipe {
namespace {

constexpr std::chrono::seconds op_timeout{2};

TransportSemantics semantics_of(std::string_view topology, bool grouped) {
  for (const Topology known :
       {Topology::channel, Topology::edge, Topology::pair, Topology::direction, Topology::world}) {
    if (to_string(known) == topology) {
      const bool ahead = known == Topology::channel && !grouped;
      return {.topology = known, .grouped = grouped, .receives_ahead = ahead ? 1 : 0};
    }
  }
  throw std::invalid_argument("no such topology");
}

// What compile() makes before it looks for deadlock; grouped in the order of the reference
// implementation, where there is one.
Program unproven(const Family& family, const Shape& shape, const TransportSemantics& semantics) {
  CommunicationOrder communication;
  if (semantics.grouped && family.reference_communication != nullptr) {
    communication = family.reference_communication(shape);
  }
  Violations violations;
  Program program =
      ProgramBuilder(generate(family, shape), semantics).build(communication, violations);
  if (!violations.empty()) {
    throw std::invalid_argument("the channels' ends disagree");
  }
  return program;
}

StageFactory spinning(const Program& program, Transport& transport) {
  const int stages = program.pipeline().stages();
  ModelOptions options;
  options.stages = stages;
  options.microbatches = program.pipeline().microbatches();
  options.costs.stages.resize(static_cast<std::size_t>(stages));
  return make_cuda_spin(options, dynamic_cast<CudaDevice&>(transport.device()));
}

int run(std::string_view family, const TransportSemantics& semantics) {
  prepare_nccl_environment();
  std::unique_ptr<Transport> mpi = make_mpi_transport();
  const int ranks = mpi->ranks();
  const Program program =
      unproven(find_family(family), {.ranks = ranks, .microbatches = 2 * ranks}, semantics);
  const std::optional<Deadlock> deadlock = find_deadlock(program);
  if (deadlock && mpi->rank() == 0) {
    static_cast<void>(std::fprintf(stderr, "the proof: %s\n", deadlock->story.c_str()));
  }
  const std::unique_ptr<Transport> transport =
      make_nccl_transport(std::move(mpi), program, {.timeout = 10 * op_timeout});
  TrainOptions options;
  options.op_timeout = op_timeout;
  static_cast<void>(train(program, *transport, spinning(program, *transport), options));
  return deadlock ? 1 : 0;
}

}  // namespace
}  // namespace dualpipe

int main(int argc, char** argv) {
  try {
    const bool grouped = argc == 4 && std::string_view(argv[3]) == "grouped";
    return argc == 3 || grouped ? dualpipe::run(argv[1], dualpipe::semantics_of(argv[2], grouped))
                                : 2;
  } catch (const dualpipe::Error& error) {
    static_cast<void>(std::fprintf(stderr, "%s\n", error.what()));
    return static_cast<int>(error.code());
  } catch (const std::exception& error) {
    static_cast<void>(std::fprintf(stderr, "%s\n", error.what()));
    return 1;
  }
}
