// What dualpipe-run was asked to do.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cli/gpu_run.h"
#include "cli/subject.h"
#include "runtime/models/model.h"

namespace dualpipe {

struct RunOptions {
  SubjectOptions subject;
  std::string model = "gpt";
  // inproc or mpi, perhaps fault: before it; cuda-inproc or nccl; empty: mpi under a launcher, else
  // inproc
  std::string transport;
  GpuOptions gpu;
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

}  // namespace dualpipe
