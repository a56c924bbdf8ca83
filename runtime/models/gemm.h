// Matrix products by OpenBLAS: the one place that knows its interface.

#pragma once

#include <cstddef>

namespace dualpipe {

// A row-major matrix somewhere in memory; `stride` is the distance of two rows in elements.
struct ConstMatrix {
  const float* data = nullptr;
  std::size_t rows = 0;
  std::size_t columns = 0;
  std::size_t stride = 0;
  bool transposed = false;  // take it as columns x rows
};

struct Matrix {
  float* data = nullptr;
  std::size_t rows = 0;
  std::size_t columns = 0;
  std::size_t stride = 0;
};

[[nodiscard]] ConstMatrix transposed(ConstMatrix matrix);

struct Product {
  ConstMatrix left;
  ConstMatrix right;
  float scale = 1.0F;
  float keep = 0.0F;  // how much of the old result stays
};

// result = scale * left * right + keep * result. Equal operands give equal bits: a product runs on
// the calling thread alone, so no result depends on how many processors are free.
void multiply(const Product& product, const Matrix& result);

// Tells OpenBLAS to use no threads of its own. Ranks are threads or processes that share the
// processors already. Once per process, before the first product; more often does no harm.
void use_one_blas_thread();

}  // namespace dualpipe
