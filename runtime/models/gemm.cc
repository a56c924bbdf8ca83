#include "runtime/models/gemm.h"

#include <cstddef>
#include <mutex>

#include <cblas.h>

#include "costs/check.h"
#include "runtime/models/math.h"

namespace dualpipe {

void multiply(const Product& product, const Matrix& result) {
  const ConstMatrix& left = product.left;
  const ConstMatrix& right = product.right;
  const std::size_t inner = left.transposed ? left.rows : left.columns;
  CHECK((left.transposed ? left.columns : left.rows) == result.rows);
  CHECK((right.transposed ? right.rows : right.columns) == result.columns);
  CHECK((right.transposed ? right.columns : right.rows) == inner);
  for (std::size_t number = 0; number < product.count; ++number) {
    cblas_sgemm(CblasRowMajor, left.transposed ? CblasTrans : CblasNoTrans,
                right.transposed ? CblasTrans : CblasNoTrans, static_cast<int>(result.rows),
                static_cast<int>(result.columns), static_cast<int>(inner), product.scale,
                left.data + number * left.step, static_cast<int>(left.stride),
                right.data + number * right.step, static_cast<int>(right.stride), product.keep,
                result.data + number * result.step, static_cast<int>(result.stride));
  }
}

void use_one_blas_thread() {
  static std::once_flag once;
  std::call_once(once, [] { openblas_set_num_threads(1); });
}

}  // namespace dualpipe
