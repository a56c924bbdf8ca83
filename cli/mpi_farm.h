// A sweep shared by the processes that mpirun has started. Process 0 leads: it hands points to
// whoever is free, itself included, and writes the rows. Without MPI's own header; built where MPI
// is found.

#pragma once

#include "cli/commands.h"

namespace dualpipe {

// From construction to destruction MPI runs. Once per process, in the main thread, which makes
// every MPI call. However this ends on process 0, the others are told; a process that fails ends
// the whole job.
class MpiFarm {
 public:
  // Throws Error (transport) when MPI does not start.
  MpiFarm();
  ~MpiFarm();
  MpiFarm(const MpiFarm&) = delete;
  MpiFarm& operator=(const MpiFarm&) = delete;

  [[nodiscard]] bool leads() const { return rank_ == 0; }
  // This process's side. This must outlive it.
  [[nodiscard]] SweepFarm sweep_farm();

 private:
  void lead(const SweepWork& work);
  void serve(const SweepWork& work);
  void dismiss();

  int rank_ = 0;
  int ranks_ = 1;
  bool is_dismissed_ = false;  // the last message between the processes has been sent, or received
};

}  // namespace dualpipe
