// A schedule of one's own, from a file: proven, then trained with a built-in model.
//
//   own_schedule FILE

#include <cstdio>
#include <exception>

#include "runtime/inproc_transport.h"
#include "runtime/models/cpu_math.h"
#include "runtime/models/model.h"
#include "runtime/train_on_threads.h"
#include "scheduler/compile.h"
#include "scheduler/file.h"
#include "scheduler/text.h"

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: own_schedule FILE\n");
    return 2;
  }
  try {
    const auto schedule = dualpipe::parse_schedule(dualpipe::read_file(argv[1]), argv[1]);
    const auto program = dualpipe::program_or_throw(dualpipe::compile_with_least_buffers(schedule),
                                                    schedule.pipeline.name);
    const auto& pipeline = program.pipeline();
    dualpipe::TrainOptions options;
    options.steps = 5;
    options.verify = true;
    const auto train_rank = [&](dualpipe::Transport& rank) {
      dualpipe::CpuMath math(rank.device());
      dualpipe::ModelOptions sizes;
      sizes.stages = pipeline.stages();
      sizes.microbatches = pipeline.microbatches();
      const auto make_stage = dualpipe::find_model("mlp").make(sizes, math);
      return dualpipe::train(program, rank, make_stage, options);
    };
    const auto report =
        dualpipe::train_on_threads(dualpipe::make_inproc_transports(pipeline.ranks()), train_rank);
    std::printf("%d ranks, %d microbatches: loss %.4f -> %.4f\n", pipeline.ranks(),
                pipeline.microbatches(), report.loss.front(), report.loss.back());
    return *report.max_gradient_difference == 0.0 ? 0 : 1;
  } catch (const std::exception& error) {  // what is wrong with the schedule, all of it
    std::fprintf(stderr, "%s\n", error.what());
    return 3;
  }
}
