// NCCL_LAUNCH_ORDER_IMPLICIT=1: the launches of all communicators of a device begin in the order in
// which the host made them, in whatever streams they are.

#pragma once

#include <cuda_runtime_api.h>

namespace stand_in {

// Makes what follows in the stream wait until the launch before has begun, and the next launch wait
// for this point. Does nothing unless the environment asks for it.
cudaError_t keep_launch_order(int device, cudaStream_t stream);

}  // namespace stand_in
