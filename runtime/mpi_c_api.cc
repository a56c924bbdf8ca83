#include "runtime/mpi_c_api.h"

#include "costs/error.h"
#include "runtime/c_api.h"
#include "runtime/c_objects.h"
#include "runtime/mpi_transport.h"

dualpipe_status dualpipe_transport_create_mpi(dualpipe_transport** transport) {
  return dualpipe::guarded([&] {
    if (transport == nullptr) {
      throw dualpipe::Error(dualpipe::ExitCode::usage, "dualpipe_transport_create_mpi: found NULL");
    }
    *transport = new dualpipe_transport{dualpipe::make_mpi_transport()};
  });
}
