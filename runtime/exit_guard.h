// ExitGuard: notices that code which a rank's thread has called ends the whole process by exit(),
// which would end the job with whatever code it likes, 0 among them, and nobody would say why.

#pragma once

#include <functional>

namespace dualpipe {

class ExitGuard {
 public:
  // From now until it is destroyed: when the calling thread calls exit(), calls `at_exit` with the
  // status that was given, on that thread. It should end the process, or that goes on exiting. One
  // at a time per thread.
  explicit ExitGuard(std::function<void(int status)> at_exit);
  ~ExitGuard();
  ExitGuard(const ExitGuard&) = delete;
  ExitGuard& operator=(const ExitGuard&) = delete;

  // Not to be called by anybody else.
  void run(int status) const { at_exit_(status); }

 private:
  std::function<void(int status)> at_exit_;
};

}  // namespace dualpipe
