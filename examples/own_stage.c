/* A stage of one's own in C: y = a * x per stage, one parameter each, trained on two threads - or,
 * were a transport of dualpipe_transport_create_mpi() given, on two processes.
 *
 *   find_package(dualpipe REQUIRED COMPONENTS runtime)
 *   target_link_libraries(own_stage_c PRIVATE dualpipe::runtime)
 *
 * or, with pkg-config: c++ own_stage.o $(pkg-config --libs --static dualpipe-runtime)
 */

#include <stdio.h>
#include <stdlib.h>

#include "runtime/c_api.h"

enum { stages = 2, microbatches = 4 };

typedef struct stage {
  float a;
  float x[microbatches], slope[microbatches]; /* by slot: never more than there are microbatches */
  double loss[microbatches];
} stage;

static int forward(void* context, const dualpipe_op* op, const void* input, void* output) {
  stage* self = context;
  const float first = (float)(op->microbatch + 1) / microbatches;
  self->x[op->slot] = input != NULL ? *(const float*)input : first;
  const float y = self->a * self->x[op->slot];
  if (output != NULL) {
    *(float*)output = y;
  }
  const float error = y - 6.0F * first; /* the product of both parameters is to be 6 */
  self->slope[op->slot] = 2.0F * error / microbatches;
  self->loss[op->microbatch] = (double)error * error / microbatches;
  return 0;
}

static int loss(void* context, int32_t microbatch, double* result) {
  *result = ((stage*)context)->loss[microbatch];
  return 0;
}

static int backward_input(void* context, const dualpipe_op* op, const void* output_gradient,
                          void* input_gradient) {
  stage* self = context;
  if (output_gradient != NULL) {
    self->slope[op->slot] = *(const float*)output_gradient;
  }
  if (input_gradient != NULL) {
    *(float*)input_gradient = self->a * self->slope[op->slot];
  }
  return 0;
}

static int backward_weight(void* context, const dualpipe_op* op, float* gradient) {
  const stage* self = context;
  gradient[0] = self->slope[op->slot] * self->x[op->slot];
  return 0;
}

static int apply_gradient(void* context, const float* gradient) {
  ((stage*)context)->a -= 0.02F * gradient[0];
  return 0;
}

static int make_stage(void* context, int32_t number, dualpipe_stage* made) {
  (void)context;
  stage* self = calloc(1, sizeof *self);
  if (self == NULL) {
    return 1;
  }
  self->a = 1.0F;
  made->context = self;
  made->input_bytes = number == 0 ? 0 : sizeof(float);
  made->output_bytes = number == stages - 1 ? 0 : sizeof(float);
  made->parameter_count = 1;
  made->forward = forward;
  made->loss = loss;
  made->backward_input = backward_input;
  made->backward_weight = backward_weight;
  made->apply_gradient = apply_gradient;
  made->destroy = free;
  return 0;
}

int main(void) {
  dualpipe_shape shape = DUALPIPE_SHAPE_INIT;
  shape.ranks = stages;
  shape.microbatches = microbatches;
  dualpipe_train_options options = DUALPIPE_TRAIN_OPTIONS_INIT;
  options.make_stage = make_stage;
  options.steps = 200;
  options.verify = 1;
  dualpipe_train_result result = DUALPIPE_TRAIN_RESULT_INIT;
  dualpipe_plan* plan = NULL;
  dualpipe_status status = dualpipe_plan_create("dualpipe", &shape, &plan);
  if (status == DUALPIPE_OK) {
    status = dualpipe_train(plan, NULL, &options, &result);
  }
  dualpipe_plan_free(plan);
  if (status != DUALPIPE_OK) {
    fprintf(stderr, "%s\n", dualpipe_last_error());
    return status;
  }
  printf("loss %.6f, gradients %s\n", result.last_loss,
         result.max_gradient_difference == 0.0 ? "bitwise equal to a plain run's" : "differ");
  return result.last_loss < 1e-3 && result.max_gradient_difference == 0.0 ? 0 : 1;
}
