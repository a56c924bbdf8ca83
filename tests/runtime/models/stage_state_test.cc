#include "runtime/models/stage_state.h"

#include <cstddef>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "costs/error.h"
#include "runtime/cpu_device.h"
#include "runtime/models/adamw.h"
#include "runtime/models/cpu_math.h"
#include "runtime/models/parameters.h"
#include "tests/support/refusal.h"

namespace dualpipe {
namespace {

using testing::AllOf;
using testing::HasSubstr;

struct Model {
  explicit Model(std::size_t size) : parameters(3), optimizer({}) {
    static_cast<void>(parameters.add_weight("w", size, 0.5));
    parameters.move_to(device);
    optimizer.allocate(device, size);
  }
  void step(float slope) {
    optimizer.apply(math, std::vector<float>(parameters.values().size(), slope), parameters);
  }
  CpuDevice device;
  CpuMath math{device};
  Parameters parameters;
  AdamW optimizer;
};

// The moments and the count of steps decide the next step as much as the parameters do.
TEST(StageState, ARestoredModelTakesTheSameNextSteps) {
  Model original(5);
  original.step(0.5F);
  original.step(-2.0F);
  Model restored(5);
  restore_state(restored.device,
                save_state(original.device, original.parameters, original.optimizer),
                restored.parameters, restored.optimizer);
  for (const float slope : {1.0F, -0.25F, 3.0F}) {
    original.step(slope);
    restored.step(slope);
    EXPECT_THAT(restored.parameters.values(),
                testing::ElementsAreArray(original.parameters.values()));
  }
}

TEST(StageState, OfAnotherSizeIsRefused) {
  Model original(5);
  const std::vector<std::byte> state =
      save_state(original.device, original.parameters, original.optimizer);
  Model other(6);
  EXPECT_THAT(refusal(ExitCode::input_output,
                      [&] {
                        restore_state(other.device, state, other.parameters, other.optimizer);
                        return 0;
                      }),
              AllOf(HasSubstr("68 bytes"), HasSubstr("80"), HasSubstr("sizes")));
}

}  // namespace
}  // namespace dualpipe
