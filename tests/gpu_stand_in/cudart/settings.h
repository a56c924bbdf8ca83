// What the environment says about the machine that is played here. Read once per process; a value
// that cannot be read ends it with words and exit code 2.

#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace stand_in {

struct Settings {
  // STAND_IN_DEVICES: how many GPUs there are; 0: a driver without one.
  int devices = 8;
  // STAND_IN_DRIVER_VERSION, as cudaDriverGetVersion() gives it; 0: there is no driver.
  int driver_version = 13000;
  // STAND_IN_MEMORY_BYTES: what each GPU has.
  std::size_t memory_bytes = std::size_t{4} << 30;
  // STAND_IN_QUEUE: how much work a stream holds before whoever asks for more has to wait, as a
  // driver's launch queue does.
  std::size_t queue_capacity = 1024;
  // STAND_IN_DELAY_US, STAND_IN_SEED: every piece of work of a stream is preceded by a pause of up
  // to so many microseconds, drawn from the seed, the MPI rank and the stream's number.
  std::chrono::microseconds delay_max{0};
  std::uint64_t seed = 0;
  // STAND_IN_FIRST_BUS: the PCI bus of the first of them; the others are on the next ones.
  int first_bus = 1;
  // STAND_IN_KERNEL_US: what every kernel takes at least.
  std::chrono::microseconds kernel_min{0};
  // STAND_IN_FAILING_KERNEL: the process's kernel of this number, from 1, touches memory that is
  // not there; 0: none does.
  std::uint64_t failing_kernel = 0;
};

[[nodiscard]] const Settings& settings();

}  // namespace stand_in
