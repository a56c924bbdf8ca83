/* The C ABI from C: what is refused, that a failing callback ends the job with its words, that a
 * run is resumed, and that callers of an earlier header are served. That it trains is for
 * examples/own_stage.c to show. */

#include "runtime/c_api.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failures = 0;

static void expect(int condition, const char* what) {
  if (!condition) {
    printf("failed: %s (last error: %s)\n", what, dualpipe_last_error());
    ++failures;
  }
}

static void expect_refusal(dualpipe_status status, dualpipe_status expected, const char* words) {
  if (status != expected || strstr(dualpipe_last_error(), words) == NULL) {
    printf("failed: expected status %d and '%s', got %d and '%s'\n", expected, words, status,
           dualpipe_last_error());
    ++failures;
  }
}

/* Counted by the threads of a run, which has ended when they are read. */
static int made_ones = 0;
static int destroyed = 0;
static int buffers_of_nothing = 0; /* that were not NULL */

static void count(void* counter) {
  __atomic_add_fetch((int*)counter, 1, __ATOMIC_SEQ_CST);
}

static int fine(void* context, const dualpipe_op* op, const void* from, void* to) {
  (void)context, (void)op, (void)from, (void)to;
  return 0;
}
static int broken(void* context, const dualpipe_op* op, const void* from, void* to) {
  (void)context, (void)from, (void)to;
  return op->microbatch == 1 ? 7 : 0;
}
static int no_loss(void* context, int32_t microbatch, double* loss) {
  (void)context, (void)microbatch;
  *loss = 0.0;
  return 0;
}
static int no_gradient(void* context, const dualpipe_op* op, float* gradient) {
  (void)context, (void)op;
  if (gradient != NULL) {
    count(&buffers_of_nothing);
  }
  return 0;
}
static int no_step(void* context, const float* gradient) {
  (void)context;
  if (gradient != NULL) {
    count(&buffers_of_nothing);
  }
  return 0;
}

/* `context` is the forward that stages are to have. */
static int make_stage(void* context, int32_t number, dualpipe_stage* made) {
  count(&made_ones);
  made->context = &destroyed;
  made->input_bytes = number == 0 ? 0 : 8;
  made->output_bytes = number == 1 ? 0 : 8;
  memcpy(&made->forward, context, sizeof made->forward);
  made->loss = no_loss;
  made->backward_input = fine;
  made->backward_weight = no_gradient;
  made->apply_gradient = no_step;
  made->destroy = count;
  return 0;
}
static int make_half_a_stage(void* context, int32_t number, dualpipe_stage* made) {
  make_stage(context, number, made);
  made->backward_input = NULL;
  return 0;
}
static int make_stage_of_another_version(void* context, int32_t number, dualpipe_stage* made) {
  make_stage(context, number, made);
  made->version = DUALPIPE_ABI_VERSION + 1;
  return 0;
}
static int make_nothing(void* context, int32_t number, dualpipe_stage* made) {
  (void)context, (void)number, (void)made;
  return 9;
}

typedef int (*forward)(void*, const dualpipe_op*, const void*, void*);

static void structs_are_checked(void) {
  dualpipe_plan* plan = NULL;
  dualpipe_shape shape = DUALPIPE_SHAPE_INIT;
  expect(dualpipe_abi_version() == DUALPIPE_ABI_VERSION, "the header is the library's");
  expect_refusal(dualpipe_plan_create("dualpipe", NULL, &plan), DUALPIPE_USAGE, "dualpipe_shape");
  shape.version = DUALPIPE_ABI_VERSION + 1;
  expect_refusal(dualpipe_plan_create("dualpipe", &shape, &plan), DUALPIPE_USAGE,
                 "found version 2");
  shape.version = DUALPIPE_ABI_VERSION;
  shape.struct_size = sizeof shape + 4;
  expect_refusal(dualpipe_plan_create("dualpipe", &shape, &plan), DUALPIPE_USAGE, "and 24");
  shape.struct_size = 0;
  expect_refusal(dualpipe_plan_create("dualpipe", &shape, &plan), DUALPIPE_USAGE, "and 0");
  /* Of an earlier library, which knew nothing of microbatches: they keep their default of 20. */
  shape.struct_size = 12;
  shape.ranks = 2;
  shape.microbatches = 4;
  expect(dualpipe_plan_create("1f1b", &shape, &plan) == DUALPIPE_OK, "a shorter struct is taken");
  expect(dualpipe_plan_ranks(plan) == 2 && dualpipe_plan_microbatches(plan) == 20, "its defaults");
  dualpipe_plan_free(plan);
  dualpipe_plan_free(NULL);
}

static void plans_are_checked(void) {
  dualpipe_plan* plan = NULL;
  const dualpipe_shape shape = DUALPIPE_SHAPE_INIT;
  expect_refusal(dualpipe_plan_create("dualpip", &shape, &plan), DUALPIPE_USAGE, "dualpipe");
  expect_refusal(dualpipe_plan_create_from_file("/nowhere", &plan), DUALPIPE_INPUT_OUTPUT,
                 "/nowhere");
  expect_refusal(dualpipe_plan_create_from_file(NULL, &plan), DUALPIPE_USAGE, "NULL");
}

static void training_is_checked(void) {
  dualpipe_plan* plan = NULL;
  dualpipe_shape shape = DUALPIPE_SHAPE_INIT;
  shape.ranks = 2;
  shape.microbatches = 4;
  expect(dualpipe_plan_create("1f1b", &shape, &plan) == DUALPIPE_OK, "a plan");
  dualpipe_train_options options = DUALPIPE_TRAIN_OPTIONS_INIT;
  forward good = fine;
  forward bad = broken;
  expect_refusal(dualpipe_train(plan, NULL, &options, NULL), DUALPIPE_USAGE, "`make_stage`");
  options.make_stage = make_half_a_stage;
  options.make_stage_context = &good;
  expect_refusal(dualpipe_train(plan, NULL, &options, NULL), DUALPIPE_USAGE, "`backward_input`");
  expect(made_ones > 0 && destroyed == made_ones, "a refused stage is destroyed");
  options.make_stage = make_stage_of_another_version;
  expect_refusal(dualpipe_train(plan, NULL, &options, NULL), DUALPIPE_USAGE, "found version 2");
  expect(destroyed == made_ones, "a stage of another version is destroyed");
  options.make_stage = make_nothing;
  expect_refusal(dualpipe_train(plan, NULL, &options, NULL), DUALPIPE_CALLBACK, "returned 9");
  options.make_stage = make_stage;
  options.steps = 0;
  expect_refusal(dualpipe_train(plan, NULL, &options, NULL), DUALPIPE_USAGE, "steps");
  options.steps = 2;
  destroyed = 0;
  expect(dualpipe_train(plan, NULL, &options, NULL) == DUALPIPE_OK, "a run");
  expect(destroyed == 2, "every stage is destroyed, once");
  expect(buffers_of_nothing == 0, "a gradient of no parameters is NULL");
  options.make_stage_context = &bad;
  expect_refusal(dualpipe_train(plan, NULL, &options, NULL), DUALPIPE_CALLBACK,
                 "F1 failed: forward returned 7");
  dualpipe_plan_free(plan);
}

static void timeouts_are_checked(void) {
  static const double refused[] = {1e-10, 0.0, -1.0, 4.62e8, 1e300, NAN};
  dualpipe_plan* plan = NULL;
  dualpipe_shape shape = DUALPIPE_SHAPE_INIT;
  dualpipe_train_options options = DUALPIPE_TRAIN_OPTIONS_INIT;
  forward good = fine;
  shape.ranks = 2;
  shape.microbatches = 4;
  expect(dualpipe_plan_create("1f1b", &shape, &plan) == DUALPIPE_OK, "a plan");
  options.make_stage = make_stage;
  options.make_stage_context = &good;
  options.verify = 1;
  for (size_t k = 0; k < sizeof refused / sizeof *refused; ++k) {
    options.op_timeout_seconds = refused[k];
    expect_refusal(dualpipe_train(plan, NULL, &options, NULL), DUALPIPE_USAGE,
                   "op_timeout_seconds: expected 0.001 to 1e+06 seconds");
  }
  options.op_timeout_seconds = 1e6;
  expect(dualpipe_train(plan, NULL, &options, NULL) == DUALPIPE_OK, "the longest timeout");
  dualpipe_plan_free(plan);
}

/* --- checkpoints --- */

/* What a stage remembers is how many steps it has been through. */
static int32_t steps_done[2];

static int count_step(void* context, const float* gradient) {
  (void)gradient;
  ++*(int32_t*)context;
  return 0;
}
static int save_steps(void* context, void* state) {
  memcpy(state, context, sizeof(int32_t));
  return 0;
}
static int restore_steps(void* context, const void* state) {
  memcpy(context, state, sizeof(int32_t));
  return 0;
}
static int make_counting_stage(void* context, int32_t number, dualpipe_stage* made) {
  make_stage(context, number, made);
  steps_done[number] = 0;
  made->context = &steps_done[number];
  made->apply_gradient = count_step;
  made->destroy = NULL;
  made->state_bytes = sizeof(int32_t);
  made->save = save_steps;
  made->restore = restore_steps;
  return 0;
}
static int make_stage_without_restore(void* context, int32_t number, dualpipe_stage* made) {
  make_counting_stage(context, number, made);
  made->restore = NULL;
  return 0;
}

static void a_run_is_resumed(void) {
  char directory[] = "/tmp/dualpipe_c_api_test_XXXXXX";
  char command[64];
  dualpipe_plan* plan = NULL;
  dualpipe_shape shape = DUALPIPE_SHAPE_INIT;
  dualpipe_train_options options = DUALPIPE_TRAIN_OPTIONS_INIT;
  forward good = fine;
  shape.ranks = 2;
  shape.microbatches = 4;
  expect(mkdtemp(directory) != NULL, "a directory");
  expect(dualpipe_plan_create("1f1b", &shape, &plan) == DUALPIPE_OK, "a plan");
  options.make_stage = make_counting_stage;
  options.make_stage_context = &good;
  options.steps = 3;
  options.checkpoint_directory = directory;
  options.checkpoint_every = 2;
  options.identity = "a stage that counts";
  expect(dualpipe_train(plan, NULL, &options, NULL) == DUALPIPE_OK, "a run with checkpoints");
  options.steps = 5;
  options.resume = 1;
  options.identity = "another stage";
  expect_refusal(dualpipe_train(plan, NULL, &options, NULL), DUALPIPE_USAGE, "another identity");
  options.identity = "a stage that counts";
  expect(dualpipe_train(plan, NULL, &options, NULL) == DUALPIPE_OK, "a run that goes on");
  expect(steps_done[0] == 5 && steps_done[1] == 5, "3 steps of the state and 2 of its own");
  options.steps = 9;
  options.make_stage = make_stage;
  expect_refusal(dualpipe_train(plan, NULL, &options, NULL), DUALPIPE_USAGE, "cannot be saved");
  options.make_stage = make_stage_without_restore;
  expect_refusal(dualpipe_train(plan, NULL, &options, NULL), DUALPIPE_USAGE, "`restore`");
  options.checkpoint_every = 0;
  expect_refusal(dualpipe_train(plan, NULL, &options, NULL), DUALPIPE_USAGE, "checkpoint_every");
  options.checkpoint_directory = NULL;
  expect_refusal(dualpipe_train(plan, NULL, &options, NULL), DUALPIPE_USAGE, "resume");
  dualpipe_plan_free(plan);
  snprintf(command, sizeof command, "rm -r %s", directory);
  expect(system(command) == 0, "the directory is removed");
}

/* --- callers that were compiled before there were checkpoints --- */

typedef struct earlier_stage {
  uint32_t struct_size;
  uint32_t version;
  void* context;
  size_t input_bytes;
  size_t output_bytes;
  size_t parameter_count;
  int64_t activation_bytes;
  int (*allocate)(void* context, int32_t activation_slots);
  int (*forward)(void* context, const dualpipe_op* op, const void* input, void* output);
  int (*loss)(void* context, int32_t microbatch, double* loss);
  int (*backward_input)(void* context, const dualpipe_op* op, const void* output_gradient,
                        void* input_gradient);
  int (*backward_weight)(void* context, const dualpipe_op* op, float* gradient);
  int (*apply_gradient)(void* context, const float* gradient);
  void (*destroy)(void* context);
} earlier_stage;

typedef struct earlier_options {
  uint32_t struct_size;
  uint32_t version;
  dualpipe_make_stage make_stage;
  void* make_stage_context;
  int32_t steps;
  int32_t verify;
  double op_timeout_seconds;
  void (*progress)(void* context, int32_t step, double loss);
  void* progress_context;
} earlier_options;

_Static_assert(sizeof(earlier_stage) == offsetof(dualpipe_stage, state_bytes),
               "a stage has kept its beginning");
_Static_assert(sizeof(earlier_options) == offsetof(dualpipe_train_options, checkpoint_directory),
               "options have kept their beginning");

static int make_earlier_stage(void* context, int32_t number, dualpipe_stage* made) {
  const earlier_stage stage = {.struct_size = sizeof(earlier_stage),
                               .version = 1,
                               .context = &destroyed,
                               .input_bytes = number == 0 ? 0 : 8,
                               .output_bytes = number == 1 ? 0 : 8,
                               .forward = fine,
                               .loss = no_loss,
                               .backward_input = fine,
                               .backward_weight = no_gradient,
                               .apply_gradient = no_step,
                               .destroy = count};
  (void)context;
  memcpy(made, &stage, sizeof stage);
  return 0;
}

static void earlier_callers_are_served(void) {
  dualpipe_plan* plan = NULL;
  dualpipe_shape shape = DUALPIPE_SHAPE_INIT;
  const earlier_options options = {.struct_size = sizeof(earlier_options),
                                   .version = 1,
                                   .make_stage = make_earlier_stage,
                                   .steps = 2,
                                   .op_timeout_seconds = 30.0};
  dualpipe_train_options* const passed = malloc(sizeof options); /* and not a byte more */
  shape.ranks = 2;
  shape.microbatches = 4;
  destroyed = 0;
  memcpy(passed, &options, sizeof options);
  expect(dualpipe_plan_create("1f1b", &shape, &plan) == DUALPIPE_OK, "a plan");
  expect(dualpipe_train(plan, NULL, passed, NULL) == DUALPIPE_OK, "an earlier caller's run");
  expect(destroyed == 2, "an earlier caller's stages are destroyed");
  free(passed);
  dualpipe_plan_free(plan);
}

int main(void) {
  structs_are_checked();
  plans_are_checked();
  training_is_checked();
  timeouts_are_checked();
  a_run_is_resumed();
  earlier_callers_are_served();
  return failures == 0 ? 0 : 1;
}
