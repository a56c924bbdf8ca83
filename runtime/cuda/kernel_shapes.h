// What kernels and their launches agree on. Kernels that sum over a block keep one number per
// thread in shared memory, so that numbers of threads are sizes of arrays, too.

#pragma once

namespace dualpipe {

// One element after another: any number of blocks.
constexpr unsigned element_threads = 256;
// One block per row.
constexpr unsigned row_threads = 128;
// One block per so many neighbouring columns, which are read together; its threads divide the rows
// among them.
constexpr unsigned block_columns = 32;
constexpr unsigned column_parts = 8;
constexpr unsigned column_threads = block_columns * column_parts;

// Matrices in memory: `stride` from row to row and `step` from matrix to matrix, in elements.
struct MatrixPlaces {
  unsigned rows = 0;
  unsigned columns = 0;
  unsigned count = 0;
  unsigned long long stride = 0;
  unsigned long long step = 0;
};

}  // namespace dualpipe
