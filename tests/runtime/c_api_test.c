/* The C ABI from C: what is refused, and that a failing callback ends the job with its words. That
 * it trains is for examples/own_stage.c to show. */

#include "runtime/c_api.h"

#include <stdio.h>
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

static int destroyed = 0; /* by the threads of a run, which has ended when it is read */

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
  (void)context, (void)op, (void)gradient;
  return 0;
}
static int no_step(void* context, const float* gradient) {
  (void)context, (void)gradient;
  return 0;
}
static void count(void* context) {
  __atomic_add_fetch((int*)context, 1, __ATOMIC_SEQ_CST);
}

/* `context` is the forward that stages are to have. */
static int make_stage(void* context, int32_t number, dualpipe_stage* made) {
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
  options.make_stage = make_nothing;
  expect_refusal(dualpipe_train(plan, NULL, &options, NULL), DUALPIPE_CALLBACK, "returned 9");
  options.make_stage = make_stage;
  options.steps = 0;
  expect_refusal(dualpipe_train(plan, NULL, &options, NULL), DUALPIPE_USAGE, "steps");
  options.steps = 2;
  destroyed = 0;
  expect(dualpipe_train(plan, NULL, &options, NULL) == DUALPIPE_OK, "a run");
  expect(destroyed == 2, "every stage is destroyed, once");
  options.make_stage_context = &bad;
  expect_refusal(dualpipe_train(plan, NULL, &options, NULL), DUALPIPE_CALLBACK,
                 "F1 failed: forward returned 7");
  dualpipe_plan_free(plan);
}

int main(void) {
  structs_are_checked();
  plans_are_checked();
  training_is_checked();
  return failures == 0 ? 0 : 1;
}
