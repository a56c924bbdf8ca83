// Matrix products by OpenBLAS: the one place that knows its interface.

#pragma once

#include "runtime/models/math.h"

namespace dualpipe {

// As Math::multiply, on memory of the host. Equal operands give equal bits: a product runs on
// the calling thread alone, so no result depends on how many processors are free.
void multiply(const Product& product, const Matrix& result);

// Tells OpenBLAS to use no threads of its own. Ranks are threads or processes that share the
// processors already. Once per process, before the first product; more often does no harm.
void use_one_blas_thread();

}  // namespace dualpipe
