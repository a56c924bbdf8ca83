/* The runtime for programs in C, and whatever calls C: the same plans, transports and training as
 * the C++ headers beside this one, as plain functions and structs. No C++ type and no exception
 * crosses this line.
 *
 * Every function that can fail returns a dualpipe_status, 0 when all is well; dualpipe_last_error()
 * has the words. The codes are the exit codes of the programs.
 *
 * Structs that a caller fills begin with struct_size and version; the DUALPIPE_..._INIT macros fill
 * both and every default. A later library takes structs of an earlier one, by their struct_size; a
 * struct that is larger than the library knows, or of another version, is refused.
 *
 * Ownership: what a ..._create function gives is freed by the matching ..._free, once; NULL is let
 * be. Callbacks, their contexts and strings must stay until the call that uses them returns.
 * Threads: different objects may be used at the same time; one object, by one thread at a time.
 */

#ifndef DUALPIPE_C_API_H
#define DUALPIPE_C_API_H

#include <stddef.h>
#include <stdint.h>

/* NOLINTBEGIN(readability-identifier-naming): the names of C. */

#ifdef __cplusplus
extern "C" {
#endif

#define DUALPIPE_ABI_VERSION 1u

typedef enum dualpipe_status {
  DUALPIPE_OK = 0,
  DUALPIPE_INTERNAL_ERROR = 1, /* a bug of the library */
  DUALPIPE_USAGE = 2,          /* an argument cannot be used */
  DUALPIPE_INVALID_SCHEDULE = 3,
  DUALPIPE_INFEASIBLE = 4,
  DUALPIPE_INPUT_OUTPUT = 5,
  DUALPIPE_TIMEOUT = 86,
  DUALPIPE_TRANSPORT = 87,
  DUALPIPE_CALLBACK = 88 /* a callback returned something other than 0 */
} dualpipe_status;

/* The ABI of the library that is linked, to be compared with DUALPIPE_ABI_VERSION. */
uint32_t dualpipe_abi_version(void);

/* What went wrong in this thread's last call that failed; "" before. Valid until its next call. */
const char* dualpipe_last_error(void);

/* --- plans: a schedule with its communication, proven complete, ordered and free from deadlock ---
 */

typedef struct dualpipe_plan dualpipe_plan;

typedef struct dualpipe_shape {
  uint32_t struct_size;
  uint32_t version;
  int32_t ranks;
  int32_t microbatches;
  int32_t chunks; /* stages per rank, where the family lets one choose; others ignore it */
} dualpipe_shape;
#define DUALPIPE_SHAPE_INIT {sizeof(dualpipe_shape), DUALPIPE_ABI_VERSION, 8, 20, 1}

/* `family` is a name of `dualpipe-sim list`. Cost-aware families are arranged for equal costs. */
dualpipe_status dualpipe_plan_create(const char* family, const dualpipe_shape* shape,
                                     dualpipe_plan** plan);
/* A schedule file: JSON, CSV or text, told by its content. */
dualpipe_status dualpipe_plan_create_from_file(const char* path, dualpipe_plan** plan);
void dualpipe_plan_free(dualpipe_plan* plan);

int32_t dualpipe_plan_ranks(const dualpipe_plan* plan);
int32_t dualpipe_plan_stages(const dualpipe_plan* plan);
int32_t dualpipe_plan_microbatches(const dualpipe_plan* plan);

/* --- stages: the trainer's part, as class Stage in stage.h, which has the whole contract --- */

typedef struct dualpipe_op {
  uint64_t step;
  int32_t microbatch;
  int32_t slot; /* of the stage's activation slots, less than what `allocate` was told */
} dualpipe_op;

/* Callbacks return 0, or anything else to end the job with DUALPIPE_CALLBACK. One object's come
 * from one thread at a time. Buffers have the sizes that the struct says, are aligned to 64 bytes
 * and valid during the call; a buffer of 0 bytes is NULL. */
typedef struct dualpipe_stage {
  uint32_t struct_size;
  uint32_t version;
  void* context;
  size_t input_bytes;                                       /* 0 at the first stage */
  size_t output_bytes;                                      /* 0 at the last stage */
  size_t parameter_count;                                   /* floats of the gradient */
  int64_t activation_bytes;                                 /* of one occupied slot, for reports */
  int (*allocate)(void* context, int32_t activation_slots); /* may be NULL */
  int (*forward)(void* context, const dualpipe_op* op, const void* input, void* output);
  int (*loss)(void* context, int32_t microbatch, double* loss); /* last stage only */
  int (*backward_input)(void* context, const dualpipe_op* op, const void* output_gradient,
                        void* input_gradient);
  int (*backward_weight)(void* context, const dualpipe_op* op, float* gradient); /* overwrites */
  int (*apply_gradient)(void* context, const float* gradient);
  void (*destroy)(void* context); /* may be NULL */
  /* For checkpoints: all that the next step depends on, beside its number, as parameters and the
   * optimizer's state. Asked for between steps; restore() gets what save() wrote, of a stage that
   * was made the same way. All three or none. */
  size_t state_bytes;
  int (*save)(void* context, void* state); /* writes state_bytes bytes */
  int (*restore)(void* context, const void* state);
} dualpipe_stage;
#define DUALPIPE_STAGE_INIT \
  {sizeof(dualpipe_stage),  \
   DUALPIPE_ABI_VERSION,    \
   NULL,                    \
   0,                       \
   0,                       \
   0,                       \
   0,                       \
   NULL,                    \
   NULL,                    \
   NULL,                    \
   NULL,                    \
   NULL,                    \
   NULL,                    \
   NULL,                    \
   0,                       \
   NULL,                    \
   NULL}

/* Fills `made`, which comes initialised. Called once per (direction, stage) of a rank, on the
 * rank's thread; `destroy` is called for each one made, refused or not, unless what is returned is
 * not 0. Equal stages must come out equal. */
typedef int (*dualpipe_make_stage)(void* context, int32_t stage, dualpipe_stage* made);

/* --- transports and training --- */

/* One rank's, of a job of several processes; mpi_c_api.h makes one. */
typedef struct dualpipe_transport dualpipe_transport;
void dualpipe_transport_free(dualpipe_transport* transport);
int32_t dualpipe_transport_rank(const dualpipe_transport* transport);
int32_t dualpipe_transport_ranks(const dualpipe_transport* transport);

typedef struct dualpipe_train_options {
  uint32_t struct_size;
  uint32_t version;
  dualpipe_make_stage make_stage; /* called from all ranks' threads at once */
  void* make_stage_context;
  int32_t steps;
  int32_t verify; /* 1: rank 0 recomputes each step without a pipeline and compares */
  /* For every single wait, 0.001 to 1e6; beyond it the job ends with a report. */
  double op_timeout_seconds;
  /* On rank 0, after each step; may be NULL. */
  void (*progress)(void* context, int32_t step, double loss);
  void* progress_context;
  /* Where to keep the two newest checkpoints; NULL: none. Needs stages with save and restore. */
  const char* checkpoint_directory;
  int32_t checkpoint_every; /* steps; the last step of a run is always one */
  /* 1: go on from the newest checkpoint there, or begin where there is none. `steps` counts those
   * before it too. */
  int32_t resume;
  /* What else must be equal on every rank, and in a run that is resumed: the model, its data and
   * seed, in the caller's own words; may be NULL. The schedule is compared by itself. */
  const char* identity;
} dualpipe_train_options;
#define DUALPIPE_TRAIN_OPTIONS_INIT \
  {sizeof(dualpipe_train_options),  \
   DUALPIPE_ABI_VERSION,            \
   NULL,                            \
   NULL,                            \
   1,                               \
   0,                               \
   60.0,                            \
   NULL,                            \
   NULL,                            \
   NULL,                            \
   10,                              \
   0,                               \
   NULL}

typedef struct dualpipe_train_result {
  uint32_t struct_size;
  uint32_t version;
  double last_loss;               /* mean over the microbatches of the last step */
  int64_t median_step_ns;         /* the makespan of a step's slots */
  double max_gradient_difference; /* with verify; NaN without */
} dualpipe_train_result;
#define DUALPIPE_TRAIN_RESULT_INIT \
  {sizeof(dualpipe_train_result), DUALPIPE_ABI_VERSION, 0.0, 0, 0.0}

/* Trains. With `transport` this process is its rank, and all ranks call it with equal arguments;
 * with NULL all ranks are threads of this process. `result`, which may be NULL, is filled on rank 0
 * and with threads. With threads a failure is returned; with a transport over MPI it ends all
 * processes of the job, and so this one, with its status as exit code and its words on stderr. Only
 * structs and options that cannot be used are returned in either case. */
dualpipe_status dualpipe_train(const dualpipe_plan* plan, dualpipe_transport* transport,
                               const dualpipe_train_options* options,
                               dualpipe_train_result* result);

#ifdef __cplusplus
}
#endif

/* NOLINTEND(readability-identifier-naming) */

#endif
