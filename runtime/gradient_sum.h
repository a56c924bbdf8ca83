// GradientSum: adds the weight gradients of one stage over the microbatches of a step, always in
// the same order: that of the microbatches within each half of them, then the two halves. Gradients
// that come too early wait in a buffer of their own. So the sum has the same bits whatever the
// schedule.

#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <vector>

#include "runtime/device.h"

namespace dualpipe {

class GradientSum {
 public:
  // `arrivals` are the microbatches of this stage object in the order in which their gradients will
  // come, each step anew; `microbatches` the number in the whole step, which defines the halves.
  // Allocates everything on the device, which must outlive this object; all spans are its memory,
  // and additions take their turn in its queue. Requires: arrivals are distinct and in [0,
  // microbatches).
  GradientSum(Device& device, std::size_t parameters, std::span<const int> arrivals,
              int microbatches);

  // Where the next gradient is to be written, whole.
  [[nodiscard]] std::span<float> next() { return buffers_[scratch_].floats(); }
  // Takes what was written to next(). Requires: this microbatch's turn in `arrivals`.
  void add(int microbatch);
  // The sum, to be asked for once, after the last arrival of a step; the following add() starts the
  // next step. Valid and writable until then. All zeros if there are no arrivals at all.
  [[nodiscard]] std::span<float> finish();

 private:
  // The microbatches of one half, ascending, and the sum of those up to `next`.
  struct Half {
    std::vector<int> microbatches;
    std::size_t next = 0;
    DeviceMemory sum;
  };
  struct Early {
    int microbatch = 0;
    std::size_t buffer = 0;
  };

  [[nodiscard]] Half& half_of(int microbatch) {
    return halves_[microbatch < microbatches_ / 2 ? 0 : 1];
  }
  void add_in_order(Half& half, std::span<const float> gradient);
  [[nodiscard]] std::size_t most_early(std::span<const int> arrivals) const;

  Device& device_;
  int microbatches_;
  std::array<Half, 2> halves_;
  std::vector<DeviceMemory> buffers_;
  std::size_t scratch_ = 0;         // index of the buffer that next() gives out
  std::vector<std::size_t> spare_;  // buffers without content
  std::vector<Early> early_;
};

}  // namespace dualpipe
