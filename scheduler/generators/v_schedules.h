// The published order of ZB-V, for those who compare with it.

#pragma once

#include "scheduler/generate.h"
#include "scheduler/schedule.h"

namespace dualpipe {

// For F = I = W; with fewer than 2P microbatches, the order for 2P without the surplus.
[[nodiscard]] RankOrders zb_v_published_order(const Shape& shape);

}  // namespace dualpipe
