#include "runtime/models/model.h"

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "costs/error.h"

namespace dualpipe {
namespace {

using testing::AllOf;
using testing::HasSubstr;

TEST(Model, TheTableHoldsThreeModels) {
  std::vector<std::string> names;
  for (const Model& model : models()) {
    names.emplace_back(model.name);
    EXPECT_FALSE(model.summary.empty());
    EXPECT_EQ(&find_model(model.name), &model);
  }
  EXPECT_THAT(names, testing::ElementsAre("gpt", "mlp", "spin"));
}

TEST(Model, AnUnknownNameIsAnsweredWithTheNearest) {
  try {
    static_cast<void>(find_model("spim"));
    FAIL() << "a model of that name was found";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::usage);
    EXPECT_THAT(error.what(), AllOf(HasSubstr("one of gpt, mlp, spin"), HasSubstr("'spim'"),
                                    HasSubstr("did you mean 'spin'")));
  }
}

}  // namespace
}  // namespace dualpipe
