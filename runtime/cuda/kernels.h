// The kernels as the host sees them: names to launch them by, and what their arguments are. Only a
// launch may use them; a call is not a launch. Each does what the Math function of its name does,
// on whole rows, or on `count` elements; `rows` and `row_count` are those of the matrices.

#pragma once

#include "runtime/cuda/kernel_shapes.h"
#include "runtime/cuda/spin_call.h"
#include "runtime/models/math.h"

extern "C" {

// Blocks of element_threads, as many as there are elements or fewer.
void dualpipe_add(const float* addend, float* sum, unsigned long long count);
void dualpipe_multiply_elements(const float* factors, float* values, unsigned long long count);
void dualpipe_gelu(float* values, float* output, unsigned long long count);
void dualpipe_adamw(dualpipe::AdamWStep step, const float* gradient, float* first, float* second,
                    float* values, unsigned long long count);

// Blocks of any number of threads along x for the columns, along y for the rows (or positions);
// as many as there are or fewer.
void dualpipe_set_rows(const float* row_values, float* rows, unsigned row_count, unsigned width);
void dualpipe_add_to_rows(const float* row_values, float* rows, unsigned row_count, unsigned width);
void dualpipe_scale_rows(const float* rows, const float* gain, const float* bias, float* output,
                         unsigned row_count, unsigned width);
void dualpipe_embed(const unsigned char* tokens, const float* token_table,
                    const float* position_table, float* rows, unsigned row_count,
                    unsigned positions, unsigned width);
void dualpipe_embed_positions_backward(const float* rows_gradient, float* position_gradient,
                                       unsigned row_count, unsigned positions, unsigned width);
void dualpipe_round_to_bfloat16(const float* from, unsigned short* to,
                                dualpipe::MatrixPlaces places);
// Likewise along x, and along y exactly one block per row of the table.
void dualpipe_embed_tokens_backward(const unsigned char* tokens, const float* rows_gradient,
                                    float* token_gradient, unsigned row_count, unsigned width);

// One block of column_threads per block_columns columns.
void dualpipe_sum_rows(const float* rows, float* sum, unsigned row_count, unsigned width);
void dualpipe_norm_backward_weight(const float* normalised, const float* output_gradient,
                                   float* gain_gradient, float* bias_gradient, unsigned row_count,
                                   unsigned width);

// One block of row_threads per row.
void dualpipe_normalise(const float* rows, float* values, float* deviation_inverse, unsigned width,
                        float epsilon);
void dualpipe_norm_backward_input(const float* normalised, const float* deviation_inverse,
                                  const float* gain, const float* output_gradient,
                                  float* input_gradient, unsigned width);
void dualpipe_causal_softmax(float* scores, unsigned length);
void dualpipe_causal_softmax_backward(const float* probabilities, float* gradients,
                                      unsigned length);
// The row's losses are without the weight.
void dualpipe_cross_entropy(const unsigned char* targets, float* logits, float* row_losses,
                            unsigned classes, double weight);
void dualpipe_squared_error(const float* targets, float* predictions, float* row_losses,
                            unsigned width, float slope);

// One block of row_threads.
void dualpipe_sum_losses(const float* row_losses, double* total, unsigned row_count, double weight);

// One thread; see kernels.cuh.
void dualpipe_spin(const dualpipe::SpinWords* input, dualpipe::SpinWords* output,
                   dualpipe::SpinCall call, dualpipe::WrongSpin* wrong);

}  // extern "C"
