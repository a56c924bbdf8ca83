// The model `spin` on a GPU: each call is a kernel of one thread that takes the time that the cost
// model gives the op, and checks and writes the same messages as on the host. So a run shows what
// streams, events and the transport do at the modelled times. A call that takes no time on the host
// still takes a kernel's launch, some microseconds.

#pragma once

#include "runtime/cuda/cuda_device.h"
#include "runtime/models/model.h"
#include "runtime/stage.h"

namespace dualpipe {

// The device must outlive the factory and its stages. Throws Error (usage) as make_spin(). Of a
// message that is not the expected one loss() and apply_gradient() say so, by std::runtime_error.
[[nodiscard]] StageFactory make_cuda_spin(const ModelOptions& options, CudaDevice& device);

}  // namespace dualpipe
