/* The MPI transport for programs in C; see c_api.h. In the library dualpipe::mpi. */

#ifndef DUALPIPE_MPI_C_API_H
#define DUALPIPE_MPI_C_API_H

#include "runtime/c_api.h"

#ifdef __cplusplus
extern "C" {
#endif

/* This process's rank of the job that mpirun or srun started; once per process. It starts MPI where
 * the program has not, and freeing it ends what it started. */
dualpipe_status dualpipe_transport_create_mpi(dualpipe_transport** transport);

#ifdef __cplusplus
}
#endif

#endif
