// The message of an Error that a test expects.

#pragma once

#include <string>

#include <gtest/gtest.h>

#include "costs/error.h"

namespace dualpipe {

// What `attempt` is refused with. A failure, and "", if it is not refused or with another code.
template <typename Attempt>
std::string refusal(ExitCode code, const Attempt& attempt) {
  try {
    static_cast<void>(attempt());
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "was not refused";
  return "";
}

}  // namespace dualpipe
