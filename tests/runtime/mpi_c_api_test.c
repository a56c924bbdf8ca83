/* The C ABI over MPI, on two processes: y = a x on the first, (y - 1)^2 on the second. With an
 * argument, in a program that starts and ends MPI itself: for multiple threads, for serialized
 * calls, for a single thread. */

#include "runtime/mpi_c_api.h"

#include <mpi.h>
#include <stdio.h>
#include <string.h>

typedef struct stage {
  int number;
  float a, x, slope;
  double loss;
} stage;

static stage stages[2] = {{0, 0.0F, 0.0F, 0.0F, 0.0}, {1, 0.0F, 0.0F, 0.0F, 0.0}};

static int forward(void* context, const dualpipe_op* op, const void* input, void* output) {
  stage* self = context;
  (void)op;
  if (self->number == 0) {
    memcpy(output, &self->a, sizeof self->a); /* its x is 1 */
  } else {
    memcpy(&self->x, input, sizeof self->x);
    self->slope = 2.0F * (self->x - 1.0F);
    self->loss = ((double)self->x - 1.0) * ((double)self->x - 1.0);
  }
  return 0;
}
static int loss(void* context, int32_t microbatch, double* result) {
  (void)microbatch;
  *result = ((stage*)context)->loss;
  return 0;
}
static int backward_input(void* context, const dualpipe_op* op, const void* output_gradient,
                          void* input_gradient) {
  stage* self = context;
  (void)op;
  if (self->number == 0) {
    memcpy(&self->slope, output_gradient, sizeof self->slope);
  } else {
    memcpy(input_gradient, &self->slope, sizeof self->slope);
  }
  return 0;
}
static int backward_weight(void* context, const dualpipe_op* op, float* gradient) {
  (void)op;
  gradient[0] = ((stage*)context)->slope;
  return 0;
}
static int apply_gradient(void* context, const float* gradient) {
  stage* self = context;
  self->a -= 0.25F * gradient[0]; /* halves the distance to 1 */
  return 0;
}
static int make_stage(void* context, int32_t number, dualpipe_stage* made) {
  (void)context;
  made->context = &stages[number];
  made->input_bytes = number == 0 ? 0 : sizeof(float);
  made->output_bytes = number == 0 ? sizeof(float) : 0;
  made->parameter_count = 1;
  made->forward = forward;
  made->loss = loss;
  made->backward_input = backward_input;
  made->backward_weight = backward_weight;
  made->apply_gradient = apply_gradient;
  return 0;
}

/* A run of three steps from the beginning. */
static int train_once(void) {
  dualpipe_transport* transport = NULL;
  dualpipe_plan* plan = NULL;
  dualpipe_shape shape = DUALPIPE_SHAPE_INIT;
  dualpipe_train_options options = DUALPIPE_TRAIN_OPTIONS_INIT;
  dualpipe_train_result result = DUALPIPE_TRAIN_RESULT_INIT;
  shape.microbatches = 1;
  options.make_stage = make_stage;
  options.steps = 3;
  stages[0].a = 0.0F;
  dualpipe_status status = dualpipe_transport_create_mpi(&transport);
  if (status == DUALPIPE_OK) {
    shape.ranks = dualpipe_transport_ranks(transport);
    status = dualpipe_plan_create("1f1b", &shape, &plan);
  }
  if (status == DUALPIPE_OK) {
    status = dualpipe_train(plan, transport, &options, &result);
  }
  if (status != DUALPIPE_OK) {
    printf("%s\n", dualpipe_last_error());
    return status;
  }
  /* After two steps the distance is a quarter, and the third step's loss its square. */
  const int is_first = dualpipe_transport_rank(transport) == 0;
  if (is_first && result.last_loss != 0.0625) {
    printf("expected a loss of 0.0625, got %g\n", result.last_loss);
    return 1;
  }
  dualpipe_plan_free(plan);
  dualpipe_transport_free(transport);
  return 0;
}

static int expect_refusal(dualpipe_transport** transport, const char* words) {
  const dualpipe_status status = dualpipe_transport_create_mpi(transport);
  if (status == DUALPIPE_USAGE && strstr(dualpipe_last_error(), words) != NULL) {
    return 0;
  }
  printf("expected a refusal with '%s', got %d and '%s'\n", words, status, dualpipe_last_error());
  return 1;
}

/* Whether the program itself can still use MPI: the ranks' numbers plus one are added. */
static int mpi_works(void) {
  int number = 0;
  int sum = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &number);
  ++number;
  MPI_Allreduce(&number, &sum, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
  return sum == 3;
}

static int in_a_program_with(int level) {
  int provided = 0;
  int failed = 0;
  MPI_Init_thread(NULL, NULL, level, &provided);
  for (int run = 0; run < 2; ++run) {
    failed = train_once() != 0 || !mpi_works() || failed;
  }
  MPI_Finalize();
  return failed;
}

static int in_a_program_for_one_thread(void) {
  dualpipe_transport* transport = NULL;
  MPI_Init(NULL, NULL);
  const int failed = expect_refusal(&transport, "for one thread") || !mpi_works();
  MPI_Finalize();
  return failed || expect_refusal(&transport, "MPI_Finalize");
}

int main(int argument_count, char** arguments) {
  const char* const program = argument_count > 1 ? arguments[1] : "";
  if (strcmp(program, "multiple") == 0) {
    return in_a_program_with(MPI_THREAD_MULTIPLE);
  }
  if (strcmp(program, "serialized") == 0) {
    return in_a_program_with(MPI_THREAD_SERIALIZED);
  }
  if (strcmp(program, "single") == 0) {
    return in_a_program_for_one_thread();
  }
  return expect_refusal(NULL, "NULL") != 0 ? 1 : train_once();
}
