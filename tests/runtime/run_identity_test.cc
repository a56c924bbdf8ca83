#include "runtime/run_identity.h"

#include <chrono>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "costs/error.h"
#include "runtime/transport.h"
#include "runtime/watchdog.h"
#include "scheduler/compile.h"
#include "scheduler/generate.h"
#include "scheduler/program.h"
#include "tests/support/all_ranks.h"
#include "tests/support/schedules.h"

namespace dualpipe {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

Program program_of(const char* family, int microbatches, const TransportSemantics& semantics) {
  return compile_or_throw(generate(find_family(family), {.ranks = 2, .microbatches = microbatches}),
                          semantics);
}

RunIdentity identity_of(const Program& program) {
  RunIdentity identity;
  add_schedule(program, identity);
  add_communication(program, identity);
  return identity;
}

TEST(RunIdentity, NamesWhatDiffers) {
  RunIdentity one;
  one.add("model", std::string_view("gpt"));
  one.add("config", std::string_view("p2p = 1"));
  RunIdentity other;
  other.add("model", std::string_view("gpt"));
  other.add("config", std::string_view("p2p = 2"));
  other.add("seed", std::string_view("7"));
  EXPECT_THAT(one.differences(one), IsEmpty());
  EXPECT_THAT(one.differences(other), ElementsAre("config", "seed"));
  EXPECT_THAT(other.differences(one), ElementsAre("config", "seed"));
}

TEST(RunIdentity, IsThatOfTheScheduleAndOfItsCommunication) {
  const RunIdentity base = identity_of(program_of("dualpipe", 4, eager));
  EXPECT_THAT(base.differences(identity_of(program_of("dualpipe", 4, eager))), IsEmpty());
  EXPECT_THAT(base.differences(identity_of(program_of("dualpipe", 6, eager))),
              ElementsAre("schedule", "communication"));
  EXPECT_THAT(base.differences(
                  identity_of(program_of("dualpipe", 4, {.receives_ahead = 0, .send_slots = 1}))),
              ElementsAre("communication"));
}

TEST(RunIdentity, RanksOfOneRunPass) {
  const Program program = program_of("1f1b", 4, eager);
  expect_success_on_all_ranks(2, [&](Transport& transport) {
    require_same_identity(BoundedWait(program, transport, std::chrono::seconds(20)),
                          identity_of(program));
  });
}

TEST(RunIdentity, ARankOfAnotherRunIsNamedWithWhatItHas) {
  const Program program = program_of("1f1b", 4, eager);
  const std::vector<RankEnd> ends = on_all_ranks(2, [&](Transport& transport) {
    RunIdentity identity = identity_of(program);
    identity.add("model", std::string_view(transport.rank() == 1 ? "mlp" : "gpt"));
    try {
      require_same_identity(BoundedWait(program, transport, std::chrono::seconds(20)), identity);
    } catch (const Error& error) {
      transport.abort(error.code(), error.what());
      throw;
    }
  });
  for (const RankEnd& end : ends) {
    EXPECT_EQ(end.code, ExitCode::usage);
    EXPECT_THAT(end.message, AllOf(HasSubstr("rank 1 has another model"),
                                   Not(HasSubstr("schedule,")), HasSubstr("start the same")));
  }
}

}  // namespace
}  // namespace dualpipe
