// For tests that want a GPU: they are skipped, with the reason, where there is none.

#pragma once

#include <string>

#include <gtest/gtest.h>

#include "runtime/cuda/cuda_device.h"

namespace dualpipe {

class NeedsGpu : public testing::Test {
 protected:
  void SetUp() override {
    if (const std::string reason = no_gpu_reason(); !reason.empty()) {
      GTEST_SKIP() << "no GPU: " << reason;
    }
  }
};

}  // namespace dualpipe
