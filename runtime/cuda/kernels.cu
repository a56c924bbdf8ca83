// Compiles the kernels for the GPU, in this one place: their names are the program's.

#include "runtime/cuda/kernels.cuh"
