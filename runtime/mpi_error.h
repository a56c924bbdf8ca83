// Errors of MPI as ours.

#pragma once

#include <string>
#include <string_view>

namespace dualpipe {

// "MPI_Isend: MPI_ERR_RANK: invalid rank", from a code that an MPI function has returned.
[[nodiscard]] std::string mpi_error_words(std::string_view what, int error);

// Throws Error (transport) with these words unless the code is MPI_SUCCESS.
void require_mpi(std::string_view what, int error);

}  // namespace dualpipe
