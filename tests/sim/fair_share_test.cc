#include "sim/fair_share.h"

#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "costs/cost_model.h"
#include "tests/support/fair_rates.h"
#include "tests/support/random_schedule.h"

namespace dualpipe {
namespace {

using testing::IsEmpty;
using testing::UnorderedElementsAre;

constexpr std::int32_t none = FairShare::none;

TEST(FairShare, AFlowThatIsAloneHasAllOfIt) {
  FairShare share(2);
  const std::int32_t flow = share.add({0, 1}, Time(100), Time(5));
  EXPECT_THAT(share.settle(Time(5)), UnorderedElementsAre(flow));
  EXPECT_EQ(share.end(flow), Time(105));
  EXPECT_THAT(share.settle(Time(50)), IsEmpty());
}

// The second comes when 60 of the first are left; at half rate that takes 120. Then 40 of the
// second's 100 are left.
TEST(FairShare, TwoFlowsShareEquallyWhileBothAreThere) {
  FairShare share(1);
  const std::int32_t first = share.add({0, none}, Time(100), Time(0));
  static_cast<void>(share.settle(Time(0)));
  const std::int32_t second = share.add({0, none}, Time(100), Time(40));
  EXPECT_THAT(share.settle(Time(40)), UnorderedElementsAre(first, second));
  EXPECT_EQ(share.end(first), Time(160));
  EXPECT_EQ(share.end(second), Time(240));
  share.remove(first);
  EXPECT_THAT(share.settle(Time(160)), UnorderedElementsAre(second));
  EXPECT_EQ(share.end(second), Time(200));
}

// The textbook's case: three flows share port 0, one of them also port 1 with a fourth. The three
// get a third each; the fourth what is left of port 1.
TEST(FairShare, WhatABottleneckLeavesGoesToTheOthers) {
  FairShare share(2);
  const std::int32_t first = share.add({0, none}, Time(30), Time(0));
  const std::int32_t second = share.add({0, none}, Time(30), Time(0));
  const std::int32_t both = share.add({0, 1}, Time(30), Time(0));
  const std::int32_t fourth = share.add({1, none}, Time(30), Time(0));
  static_cast<void>(share.settle(Time(0)));
  for (const std::int32_t flow : {first, second, both}) {
    EXPECT_EQ(share.end(flow), Time(90));
  }
  EXPECT_EQ(share.end(fourth), Time(45));
  EXPECT_DOUBLE_EQ(share.rate(fourth), 2.0 / 3.0);
}

// Rates of 1/3 and 2/3: 10 take 30, although that is no exact number, and 11 take 16.5.
TEST(FairShare, AnEndIsRoundedUpToAWholeNanosecond) {
  FairShare share(2);
  const std::int32_t third = share.add({0, none}, Time(10), Time(0));
  static_cast<void>(share.add({0, none}, Time(10), Time(0)));
  static_cast<void>(share.add({0, 1}, Time(10), Time(0)));
  const std::int32_t rest = share.add({1, none}, Time(11), Time(0));
  static_cast<void>(share.settle(Time(0)));
  EXPECT_EQ(share.end(third), Time(30));
  EXPECT_EQ(share.end(rest), Time(17));
}

TEST(FairShare, RatesAreThoseOfTheDefinitionWhateverComesAndGoes) {
  for (unsigned seed = 0; seed < 30; ++seed) {
    std::mt19937 random(seed);
    const int ports = draw(random, 1, 8);
    FairShare share(ports);
    std::vector<std::int32_t> flows;
    std::vector<std::vector<int>> ports_of;
    for (int change = 0; change < 25; ++change) {
      if (!flows.empty() && draw(random, 0, 2) == 0) {
        const std::size_t gone =
            static_cast<std::size_t>(draw(random, 0, static_cast<int>(flows.size()) - 1));
        share.remove(flows[gone]);
        flows.erase(flows.begin() + static_cast<std::ptrdiff_t>(gone));
        ports_of.erase(ports_of.begin() + static_cast<std::ptrdiff_t>(gone));
      } else {
        const std::int32_t first = draw(random, 0, ports - 1);
        const std::int32_t second = draw(random, 0, ports - 1);
        const FairShare::Ports both{first, second == first ? none : second};
        flows.push_back(share.add(both, Time(1'000'000), Time(change)));
        ports_of.push_back({first});
        if (second != first) {
          ports_of.back().push_back(second);
        }
      }
      static_cast<void>(share.settle(Time(change)));
      const std::vector<double> expected = fair_rates(ports_of);
      for (std::size_t flow = 0; flow < flows.size(); ++flow) {
        ASSERT_NEAR(share.rate(flows[flow]), expected[flow], 1e-9)
            << "seed " << seed << ", change " << change << ", flow " << flow;
      }
    }
  }
}

}  // namespace
}  // namespace dualpipe
