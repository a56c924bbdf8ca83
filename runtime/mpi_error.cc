#include "runtime/mpi_error.h"

#include <array>
#include <string>
#include <string_view>

#include <fmt/core.h>
#include <mpi.h>

#include "costs/error.h"

namespace dualpipe {

std::string mpi_error_words(std::string_view what, int error) {
  std::array<char, MPI_MAX_ERROR_STRING> text{};
  int length = 0;
  MPI_Error_string(error, text.data(), &length);
  return fmt::format("{}: {}", what, text.data());
}

void require_mpi(std::string_view what, int error) {
  if (error != MPI_SUCCESS) {
    throw Error(ExitCode::transport, mpi_error_words(what, error));
  }
}

}  // namespace dualpipe
