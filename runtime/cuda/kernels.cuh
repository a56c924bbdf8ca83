// The kernels of the CUDA backend. One source compiles them for the GPU (kernels.cu); tests compile
// them for the host, where a block's threads take turns. So they keep to what both have: block and
// thread numbers, __syncthreads(), __shared__ arrays of fixed size and plain mathematics; no
// atomics, which would make the order of a sum a matter of chance, and no warp intrinsics. Their
// names are C's, for a launch to be told by its name; kernels.h says what each does.
//
// Every sum has one order, which depends on sizes alone: equal operands give equal bits.

#pragma once

#ifndef __CUDA_ARCH__
#include <ctime>
#endif
#include <cstring>

#include "runtime/cuda/kernel_shapes.h"
#include "runtime/cuda/spin_call.h"
#include "runtime/models/math.h"

namespace dualpipe {

__device__ unsigned long long first_element() {
  return static_cast<unsigned long long>(blockIdx.x) * blockDim.x + threadIdx.x;
}
__device__ unsigned long long element_stride() {
  return static_cast<unsigned long long>(gridDim.x) * blockDim.x;
}

// All threads of a block get the sum of what each has. `shared`: as many elements as threads, and
// for each sum of a kernel its own, which saves a second barrier.
template <typename Value>
__device__ Value sum_of_block(Value own, Value* shared) {
  shared[threadIdx.x] = own;
  __syncthreads();
  Value sum = 0;
  for (unsigned thread = 0; thread < blockDim.x; ++thread) {
    sum += shared[thread];
  }
  return sum;
}

__device__ float largest_of_block(float own, float* shared) {
  shared[threadIdx.x] = own;
  __syncthreads();
  float largest = shared[0];
  for (unsigned thread = 1; thread < blockDim.x; ++thread) {
    largest = fmaxf(largest, shared[thread]);
  }
  return largest;
}

struct Exponentials {
  float largest;  // of the row's elements, before
  float sum;      // of what they have become
};

// The first elements of a row become the exponentials of what they are above the largest of them.
// Called by all threads of a block; `maxima`, `sums`: as `shared` above.
__device__ Exponentials exponentials_of_row(float* row, unsigned count, float* maxima,
                                            float* sums) {
  float own = row[0];
  for (unsigned column = threadIdx.x; column < count; column += blockDim.x) {
    own = fmaxf(own, row[column]);
  }
  const float largest = largest_of_block(own, maxima);
  own = 0.0F;
  for (unsigned column = threadIdx.x; column < count; column += blockDim.x) {
    row[column] = expf(row[column] - largest);
    own += row[column];
  }
  return {largest, sum_of_block(own, sums)};
}

// bfloat16 is the upper half of a float32. A NaN stays one.
__device__ unsigned short nearest_bfloat16(float value) {
  unsigned bits = 0;
  std::memcpy(&bits, &value, sizeof bits);
  const bool is_number = (bits & 0x7fffffffU) <= 0x7f800000U;
  const unsigned rounded = is_number ? bits + 0x7fffU + ((bits >> 16U) & 1U) : bits | 0x400000U;
  return static_cast<unsigned short>(rounded >> 16U);
}

__device__ unsigned long long row_offset(unsigned row, unsigned width) {
  return static_cast<unsigned long long>(row) * width;
}

}  // namespace dualpipe

// A launch passes plain values, as many as there are.
// NOLINTBEGIN(readability-function-size)

// --- elements ---

extern "C" __global__ void dualpipe_add(const float* addend, float* sum, unsigned long long count) {
  for (unsigned long long i = dualpipe::first_element(); i < count;
       i += dualpipe::element_stride()) {
    sum[i] += addend[i];
  }
}

extern "C" __global__ void dualpipe_multiply_elements(const float* factors, float* values,
                                                      unsigned long long count) {
  for (unsigned long long i = dualpipe::first_element(); i < count;
       i += dualpipe::element_stride()) {
    values[i] *= factors[i];
  }
}

// As the host's: (1 + tanh(u)) / 2 = 1 / (1 + exp(-2u)).
extern "C" __global__ void dualpipe_gelu(float* values, float* output, unsigned long long count) {
  constexpr float scale = 1.5957691216057308F;  // 2 sqrt(2 / pi)
  constexpr float cubic = 0.044715F;
  for (unsigned long long i = dualpipe::first_element(); i < count;
       i += dualpipe::element_stride()) {
    const float value = values[i];
    const float square = value * value;
    const float gate = 1.0F / (1.0F + expf(-scale * value * (1.0F + cubic * square)));
    const float inner_slope = scale * (1.0F + 3.0F * cubic * square);
    output[i] = value * gate;
    values[i] = gate + value * gate * (1.0F - gate) * inner_slope;
  }
}

extern "C" __global__ void dualpipe_adamw(dualpipe::AdamWStep step, const float* gradient,
                                          float* first, float* second, float* values,
                                          unsigned long long count) {
  for (unsigned long long i = dualpipe::first_element(); i < count;
       i += dualpipe::element_stride()) {
    const float slope = gradient[i];
    first[i] = step.beta1 * first[i] + (1.0F - step.beta1) * slope;
    second[i] = step.beta2 * second[i] + (1.0F - step.beta2) * slope * slope;
    const float root = sqrtf(second[i] * step.second_scale) + step.epsilon;
    values[i] = step.kept * values[i] - step.rate * first[i] / root;
  }
}

// --- rows ---

extern "C" __global__ void dualpipe_set_rows(const float* row_values, float* rows,
                                             unsigned row_count, unsigned width) {
  for (unsigned row = blockIdx.y; row < row_count; row += gridDim.y) {
    float* const to = rows + dualpipe::row_offset(row, width);
    for (unsigned column = blockIdx.x * blockDim.x + threadIdx.x; column < width;
         column += gridDim.x * blockDim.x) {
      to[column] = row_values[column];
    }
  }
}

extern "C" __global__ void dualpipe_add_to_rows(const float* row_values, float* rows,
                                                unsigned row_count, unsigned width) {
  for (unsigned row = blockIdx.y; row < row_count; row += gridDim.y) {
    float* const to = rows + dualpipe::row_offset(row, width);
    for (unsigned column = blockIdx.x * blockDim.x + threadIdx.x; column < width;
         column += gridDim.x * blockDim.x) {
      to[column] += row_values[column];
    }
  }
}

extern "C" __global__ void dualpipe_scale_rows(const float* rows, const float* gain,
                                               const float* bias, float* output, unsigned row_count,
                                               unsigned width) {
  for (unsigned row = blockIdx.y; row < row_count; row += gridDim.y) {
    const unsigned long long offset = dualpipe::row_offset(row, width);
    for (unsigned column = blockIdx.x * blockDim.x + threadIdx.x; column < width;
         column += gridDim.x * blockDim.x) {
      output[offset + column] = rows[offset + column] * gain[column] + bias[column];
    }
  }
}

extern "C" __global__ void dualpipe_sum_rows(const float* rows, float* sum, unsigned row_count,
                                             unsigned width) {
  __shared__ float shared[dualpipe::column_threads];
  const unsigned column =
      blockIdx.x * dualpipe::block_columns + threadIdx.x % dualpipe::block_columns;
  const unsigned part = threadIdx.x / dualpipe::block_columns;
  float own = 0.0F;
  if (column < width) {
    for (unsigned row = part; row < row_count; row += dualpipe::column_parts) {
      own += rows[dualpipe::row_offset(row, width) + column];
    }
  }
  shared[threadIdx.x] = own;
  __syncthreads();
  if (part == 0 && column < width) {
    for (unsigned other = 1; other < dualpipe::column_parts; ++other) {
      own += shared[other * dualpipe::block_columns + threadIdx.x];
    }
    sum[column] = own;
  }
}

// --- layer normalisation ---

extern "C" __global__ void dualpipe_normalise(const float* rows, float* values,
                                              float* deviation_inverse, unsigned width,
                                              float epsilon) {
  __shared__ float sums[dualpipe::row_threads];
  __shared__ float squares[dualpipe::row_threads];
  const float* const from = rows + dualpipe::row_offset(blockIdx.x, width);
  float* const to = values + dualpipe::row_offset(blockIdx.x, width);
  const float width_inverse = 1.0F / static_cast<float>(width);
  float own = 0.0F;
  for (unsigned column = threadIdx.x; column < width; column += blockDim.x) {
    own += from[column];
  }
  const float mean = dualpipe::sum_of_block(own, sums) * width_inverse;
  own = 0.0F;
  for (unsigned column = threadIdx.x; column < width; column += blockDim.x) {
    const float centred = from[column] - mean;
    own += centred * centred;
  }
  const float variance = dualpipe::sum_of_block(own, squares) * width_inverse;
  const float inverse = 1.0F / sqrtf(variance + epsilon);
  for (unsigned column = threadIdx.x; column < width; column += blockDim.x) {
    to[column] = (from[column] - mean) * inverse;
  }
  if (threadIdx.x == 0) {
    deviation_inverse[blockIdx.x] = inverse;
  }
}

// With n the normalised row, d = output gradient * gain and <> the mean over the row:
// input gradient += (d - <d> - n <d n>) / deviation.
extern "C" __global__ void dualpipe_norm_backward_input(const float* normalised,
                                                        const float* deviation_inverse,
                                                        const float* gain,
                                                        const float* output_gradient,
                                                        float* input_gradient, unsigned width) {
  __shared__ float sums[dualpipe::row_threads];
  __shared__ float products[dualpipe::row_threads];
  const unsigned long long offset = dualpipe::row_offset(blockIdx.x, width);
  float own_sum = 0.0F;
  float own_product = 0.0F;
  for (unsigned column = threadIdx.x; column < width; column += blockDim.x) {
    const float scaled = output_gradient[offset + column] * gain[column];
    own_sum += scaled;
    own_product += scaled * normalised[offset + column];
  }
  const float width_inverse = 1.0F / static_cast<float>(width);
  const float mean = dualpipe::sum_of_block(own_sum, sums) * width_inverse;
  const float mean_product = dualpipe::sum_of_block(own_product, products) * width_inverse;
  const float inverse = deviation_inverse[blockIdx.x];
  for (unsigned column = threadIdx.x; column < width; column += blockDim.x) {
    const float centred = output_gradient[offset + column] * gain[column] - mean;
    input_gradient[offset + column] +=
        inverse * (centred - normalised[offset + column] * mean_product);
  }
}

extern "C" __global__ void dualpipe_norm_backward_weight(const float* normalised,
                                                         const float* output_gradient,
                                                         float* gain_gradient, float* bias_gradient,
                                                         unsigned row_count, unsigned width) {
  __shared__ float gains[dualpipe::column_threads];
  __shared__ float biases[dualpipe::column_threads];
  const unsigned column =
      blockIdx.x * dualpipe::block_columns + threadIdx.x % dualpipe::block_columns;
  const unsigned part = threadIdx.x / dualpipe::block_columns;
  float own_gain = 0.0F;
  float own_bias = 0.0F;
  if (column < width) {
    for (unsigned row = part; row < row_count; row += dualpipe::column_parts) {
      const unsigned long long element = dualpipe::row_offset(row, width) + column;
      own_gain += output_gradient[element] * normalised[element];
      own_bias += output_gradient[element];
    }
  }
  gains[threadIdx.x] = own_gain;
  biases[threadIdx.x] = own_bias;
  __syncthreads();
  if (part == 0 && column < width) {
    for (unsigned other = 1; other < dualpipe::column_parts; ++other) {
      own_gain += gains[other * dualpipe::block_columns + threadIdx.x];
      own_bias += biases[other * dualpipe::block_columns + threadIdx.x];
    }
    gain_gradient[column] = own_gain;
    bias_gradient[column] = own_bias;
  }
}

// --- softmax ---

extern "C" __global__ void dualpipe_causal_softmax(float* scores, unsigned length) {
  __shared__ float maxima[dualpipe::row_threads];
  __shared__ float sums[dualpipe::row_threads];
  float* const row = scores + dualpipe::row_offset(blockIdx.x, length);
  const unsigned seen = blockIdx.x % length + 1;
  const float sum_inverse = 1.0F / dualpipe::exponentials_of_row(row, seen, maxima, sums).sum;
  for (unsigned key = threadIdx.x; key < length; key += blockDim.x) {
    row[key] = key < seen ? row[key] * sum_inverse : 0.0F;
  }
}

extern "C" __global__ void dualpipe_causal_softmax_backward(const float* probabilities,
                                                            float* gradients, unsigned length) {
  __shared__ float products[dualpipe::row_threads];
  const unsigned long long offset = dualpipe::row_offset(blockIdx.x, length);
  float own = 0.0F;
  for (unsigned key = threadIdx.x; key < length; key += blockDim.x) {
    own += probabilities[offset + key] * gradients[offset + key];
  }
  const float product = dualpipe::sum_of_block(own, products);
  for (unsigned key = threadIdx.x; key < length; key += blockDim.x) {
    gradients[offset + key] = probabilities[offset + key] * (gradients[offset + key] - product);
  }
}

// --- embedding ---

extern "C" __global__ void dualpipe_embed(const unsigned char* tokens, const float* token_table,
                                          const float* position_table, float* rows,
                                          unsigned row_count, unsigned positions, unsigned width) {
  for (unsigned row = blockIdx.y; row < row_count; row += gridDim.y) {
    const float* const by_token = token_table + dualpipe::row_offset(tokens[row], width);
    const float* const by_position = position_table + dualpipe::row_offset(row % positions, width);
    float* const to = rows + dualpipe::row_offset(row, width);
    for (unsigned column = blockIdx.x * blockDim.x + threadIdx.x; column < width;
         column += gridDim.x * blockDim.x) {
      to[column] = by_token[column] + by_position[column];
    }
  }
}

// Each row of the table looks for its token in all rows: more reading than scattering would be, and
// one order of summation.
extern "C" __global__ void dualpipe_embed_tokens_backward(const unsigned char* tokens,
                                                          const float* rows_gradient,
                                                          float* token_gradient, unsigned row_count,
                                                          unsigned width) {
  const unsigned token = blockIdx.y;
  for (unsigned column = blockIdx.x * blockDim.x + threadIdx.x; column < width;
       column += gridDim.x * blockDim.x) {
    float sum = 0.0F;
    for (unsigned row = 0; row < row_count; ++row) {
      if (tokens[row] == token) {
        sum += rows_gradient[dualpipe::row_offset(row, width) + column];
      }
    }
    token_gradient[dualpipe::row_offset(token, width) + column] = sum;
  }
}

extern "C" __global__ void dualpipe_embed_positions_backward(const float* rows_gradient,
                                                             float* position_gradient,
                                                             unsigned row_count, unsigned positions,
                                                             unsigned width) {
  for (unsigned position = blockIdx.y; position < positions; position += gridDim.y) {
    for (unsigned column = blockIdx.x * blockDim.x + threadIdx.x; column < width;
         column += gridDim.x * blockDim.x) {
      float sum = 0.0F;
      for (unsigned row = position; row < row_count; row += positions) {
        sum += rows_gradient[dualpipe::row_offset(row, width) + column];
      }
      position_gradient[dualpipe::row_offset(position, width) + column] = sum;
    }
  }
}

// --- losses ---

extern "C" __global__ void dualpipe_cross_entropy(const unsigned char* targets, float* logits,
                                                  float* row_losses, unsigned classes,
                                                  double weight) {
  __shared__ float maxima[dualpipe::row_threads];
  __shared__ float sums[dualpipe::row_threads];
  float* const row = logits + dualpipe::row_offset(blockIdx.x, classes);
  const unsigned target = targets[blockIdx.x];
  const float target_logit = row[target];  // The exponentials below overwrite it.
  const auto [largest, sum] = dualpipe::exponentials_of_row(row, classes, maxima, sums);
  const float scale = static_cast<float>(weight / static_cast<double>(sum));
  for (unsigned column = threadIdx.x; column < classes; column += blockDim.x) {
    const float slope = row[column] * scale;
    row[column] = column == target ? slope - static_cast<float>(weight) : slope;
  }
  if (threadIdx.x == 0) {
    row_losses[blockIdx.x] = logf(sum) - (target_logit - largest);
  }
}

extern "C" __global__ void dualpipe_squared_error(const float* targets, float* predictions,
                                                  float* row_losses, unsigned width, float slope) {
  __shared__ float squares[dualpipe::row_threads];
  const unsigned long long offset = dualpipe::row_offset(blockIdx.x, width);
  float own = 0.0F;
  for (unsigned column = threadIdx.x; column < width; column += blockDim.x) {
    const float error = predictions[offset + column] - targets[offset + column];
    own += error * error;
    predictions[offset + column] = slope * error;
  }
  const float sum = dualpipe::sum_of_block(own, squares);
  if (threadIdx.x == 0) {
    row_losses[blockIdx.x] = sum;
  }
}

// One block. The total lies in the host's memory.
extern "C" __global__ void dualpipe_sum_losses(const float* row_losses, double* total,
                                               unsigned row_count, double weight) {
  __shared__ double sums[dualpipe::row_threads];
  double own = 0.0;
  for (unsigned row = threadIdx.x; row < row_count; row += blockDim.x) {
    own += static_cast<double>(row_losses[row]);
  }
  const double sum = dualpipe::sum_of_block(own, sums);
  if (threadIdx.x == 0) {
    *total = weight * sum;
  }
}

// --- products ---

// The nearest bfloat16, ties to even, of matrices with gaps between rows and between matrices; the
// result has none.
extern "C" __global__ void dualpipe_round_to_bfloat16(const float* from, unsigned short* to,
                                                      dualpipe::MatrixPlaces places) {
  const unsigned long long row_count = static_cast<unsigned long long>(places.rows) * places.count;
  for (unsigned long long row = blockIdx.y; row < row_count; row += gridDim.y) {
    const float* const row_from =
        from + row / places.rows * places.step + row % places.rows * places.stride;
    unsigned short* const row_to = to + row * places.columns;
    for (unsigned column = blockIdx.x * blockDim.x + threadIdx.x; column < places.columns;
         column += gridDim.x * blockDim.x) {
      row_to[column] = dualpipe::nearest_bfloat16(row_from[column]);
    }
  }
}

// --- time ---

namespace dualpipe {

// Lets time pass. The GPU's own clock ticks every microsecond, or oftener.
__device__ void pass_time(unsigned long long nanoseconds) {
#ifdef __CUDA_ARCH__
  unsigned long long begin = 0;
  unsigned long long now = 0;
  asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(begin));
  do {
    __nanosleep(200);
    asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(now));
  } while (now - begin < nanoseconds);
#else
  const std::timespec time{static_cast<std::time_t>(nanoseconds / 1'000'000'000),
                           static_cast<long>(nanoseconds % 1'000'000'000)};
  ::nanosleep(&time, nullptr);
#endif
}

}  // namespace dualpipe

// One call of the model `spin`, by one thread: checks the message that came (none where null), lets
// the time pass, and writes a message (none where null). A message that is not the expected one is
// put down in `wrong`, which is the host's memory, with what was expected and a 1 behind the two;
// the first one stays.
extern "C" __global__ void dualpipe_spin(const dualpipe::SpinWords* input,
                                         dualpipe::SpinWords* output, dualpipe::SpinCall call,
                                         dualpipe::WrongSpin* wrong) {
  if (input != nullptr) {
    bool equal = true;
    for (unsigned word = 0; word < dualpipe::spin_words; ++word) {
      equal = equal && input->words[word] == call.expected.words[word];
    }
    if (!equal && wrong->count == 0) {
      wrong->found = *input;
      wrong->expected = call.expected;
      wrong->count = 1;
    }
  }
  if (call.nanoseconds > 0) {
    dualpipe::pass_time(call.nanoseconds);
  }
  if (output != nullptr) {
    *output = call.written;
  }
}

// NOLINTEND(readability-function-size)
