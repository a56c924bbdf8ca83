/* The MPI transport for programs in C; see c_api.h. In the library dualpipe::mpi. */

#ifndef DUALPIPE_MPI_C_API_H
#define DUALPIPE_MPI_C_API_H

#include "runtime/c_api.h"

#ifdef __cplusplus
extern "C" {
#endif

/* This process's rank of the job that mpirun or srun started. Where the program has not started
 * MPI, this does and freeing the transport ends it, once per process. Where it has, by
 * MPI_Init_thread() with MPI_THREAD_MULTIPLE (or MPI_THREAD_SERIALIZED, and calls nothing of MPI
 * while the transport lives), MPI stays the program's, and one transport may follow another until
 * MPI_Finalize(); DUALPIPE_USAGE where it was started for fewer threads or has ended. See
 * mpi_transport.h. */
dualpipe_status dualpipe_transport_create_mpi(dualpipe_transport** transport);

#ifdef __cplusplus
}
#endif

#endif
