#include "costs/overlap.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <limits>
#include <map>
#include <random>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "costs/cost_model.h"

namespace dualpipe {
namespace {

using testing::ElementsAre;

constexpr std::array<Time LayerTimes::*, 10> fields{
    &LayerTimes::attention_forward, &LayerTimes::dispatch_forward,  &LayerTimes::mlp_forward,
    &LayerTimes::combine_forward,   &LayerTimes::combine_backward,  &LayerTimes::mlp_input,
    &LayerTimes::mlp_weight,        &LayerTimes::dispatch_backward, &LayerTimes::attention_input,
    &LayerTimes::attention_weight};

bool is_communication(std::size_t field) {
  return field == 1 || field == 3 || field == 4 || field == 7;
}

std::vector<LayerTimes> random_layers(std::mt19937& random, int layers) {
  std::vector<LayerTimes> result(static_cast<std::size_t>(layers));
  for (LayerTimes& layer : result) {
    for (const auto field : fields) {
      layer.*field = Time(random() % 5 == 0 ? 0 : random() % 20);
    }
  }
  return result;
}

// Of the fields that a chunk runs in its direction, forward fields 0..3, backward 4..9.
struct LaneSums {
  Time compute{};
  Time communication{};

  void add(const std::vector<LayerTimes>& chunk, std::size_t first, std::size_t last) {
    for (const LayerTimes& layer : chunk) {
      for (std::size_t field = first; field <= last; ++field) {
        (is_communication(field) ? communication : compute) += layer.*fields[field];
      }
    }
  }
};

// The tasks of a pair of chunks as a plain graph, and the best over all orders: every order that
// respects the graph is tried, each task starting as soon as its lane and its predecessors allow.
struct BruteForce {
  struct Node {
    Time duration{};
    bool is_communication = false;
    std::vector<std::size_t> after;
  };
  std::vector<Node> nodes;
  Time best{std::numeric_limits<Time::rep>::max()};

  std::size_t add(Time duration, bool communicates, std::vector<std::size_t> after) {
    nodes.push_back({duration, communicates, std::move(after)});
    return nodes.size() - 1;
  }

  void add_chunks(const std::vector<LayerTimes>& forward, const std::vector<LayerTimes>& backward,
                  Time boundary) {
    std::vector<std::size_t> before;
    for (const LayerTimes& layer : forward) {
      for (std::size_t field = 0; field < 4; ++field) {
        before = {add(layer.*fields[field], is_communication(field), before)};
      }
    }
    before.clear();
    for (auto layer = backward.rbegin(); layer != backward.rend(); ++layer) {
      before = {add(layer->combine_backward, true, before)};
      before = {add(layer->mlp_input, false, before)};
      add(layer->mlp_weight, false, before);
      before = {add(layer->dispatch_backward, true, before)};
      before = {add(layer->attention_input, false, before)};
      add(layer->attention_weight, false, before);
    }
    add(boundary, true, {});
  }

  void search(std::vector<Time>& ends, std::array<Time, 2> free, std::size_t scheduled) {
    const Time makespan = std::max(free[0], free[1]);
    if (makespan >= best) {
      return;
    }
    if (scheduled == nodes.size()) {
      best = makespan;
      return;
    }
    for (std::size_t node = 0; node < nodes.size(); ++node) {
      Time ready{};
      bool is_ready = ends[node] < Time(0);
      for (const std::size_t before : nodes[node].after) {
        is_ready = is_ready && ends[before] >= Time(0);
        ready = std::max(ready, ends[before]);
      }
      if (is_ready) {
        const std::size_t lane = nodes[node].is_communication ? 1 : 0;
        std::array<Time, 2> then = free;
        then[lane] = std::max(free[lane], ready) + nodes[node].duration;
        ends[node] = then[lane];
        search(ends, then, scheduled + 1);
        ends[node] = Time(-1);
      }
    }
  }

  Time shortest() {
    std::vector<Time> ends(nodes.size(), Time(-1));
    search(ends, {}, 0);
    return best;
  }
};

Time brute_force(const std::vector<LayerTimes>& forward, const std::vector<LayerTimes>& backward,
                 Time boundary) {
  BruteForce force;
  force.add_chunks(forward, backward, boundary);
  return force.shortest();
}

LayerTimes deepseek_v3_layer() {
  // Tenths of a millisecond, near the published profile: F 9.0, I 14.7, W 7.5 of computing.
  return {.attention_forward = Time(37),
          .dispatch_forward = Time(30),
          .mlp_forward = Time(53),
          .combine_forward = Time(59),
          .combine_backward = Time(30),
          .mlp_input = Time(65),
          .mlp_weight = Time(50),
          .dispatch_backward = Time(59),
          .attention_input = Time(82),
          .attention_weight = Time(25)};
}

TEST(LayerTimes, AddUpToTheThreeHalves) {
  const LayerTimes layer = deepseek_v3_layer();
  EXPECT_EQ(layer.forward(), Time(37 + 30 + 53 + 59));
  EXPECT_EQ(layer.backward_input(), Time(30 + 65 + 59 + 82));
  EXPECT_EQ(layer.backward_weight(), Time(75));
}

// By hand, everything one unit long. The backward's first message goes beside the forward's
// attention; then the lanes take turns until the compute lane has done its six.
TEST(OverlapChunks, OfUnitPiecesFollowTheFigure) {
  LayerTimes layer;
  for (const auto field : fields) {
    layer.*field = Time(1);
  }
  const OverlappedChunks pair = overlap_chunks({{layer}}, {{layer}}, Time(1));
  using enum ChunkPiece;
  EXPECT_THAT(pair.compute, ElementsAre(ChunkSpan{attention_forward, 0, Time(0), Time(1)},
                                        ChunkSpan{mlp_input, 0, Time(1), Time(2)},
                                        ChunkSpan{mlp_weight, 0, Time(2), Time(3)},
                                        ChunkSpan{mlp_forward, 0, Time(3), Time(4)},
                                        ChunkSpan{attention_input, 0, Time(4), Time(5)},
                                        ChunkSpan{attention_weight, 0, Time(5), Time(6)}));
  EXPECT_THAT(pair.communication, ElementsAre(ChunkSpan{combine_backward, 0, Time(0), Time(1)},
                                              ChunkSpan{dispatch_forward, 0, Time(1), Time(2)},
                                              ChunkSpan{dispatch_backward, 0, Time(2), Time(3)},
                                              ChunkSpan{boundary, 0, Time(3), Time(4)},
                                              ChunkSpan{combine_forward, 0, Time(4), Time(5)}));
  EXPECT_EQ(pair.makespan, Time(6));
}

TEST(OverlapChunks, KeepsBetweenTheLongerLaneAndTheSumOfBoth) {
  std::mt19937 random(1);
  for (int trial = 0; trial < 2000; ++trial) {
    const std::vector<LayerTimes> forward = random_layers(random, static_cast<int>(random() % 5));
    const std::vector<LayerTimes> backward = random_layers(random, static_cast<int>(random() % 5));
    const Time boundary(random() % 10);
    const Time makespan = overlap_chunks(forward, backward, boundary).makespan;
    LaneSums sums{.communication = boundary};
    sums.add(forward, 0, 3);
    sums.add(backward, 4, 9);
    EXPECT_GE(makespan, std::max(sums.compute, sums.communication)) << "trial " << trial;
    EXPECT_LE(makespan, sums.compute + sums.communication) << "trial " << trial;
  }
}

// One layer each way is 11 pieces. That no list order is twice as long as the best follows from the
// bounds: the sum of both lanes is at most twice the longer one.
TEST(OverlapChunks, IsNeverShorterThanTheBestOfAllOrdersAndNeverTwiceAsLong) {
  std::mt19937 random(2);
  for (int trial = 0; trial < 60; ++trial) {
    const std::vector<LayerTimes> forward = random_layers(random, 1);
    const std::vector<LayerTimes> backward = random_layers(random, 1);
    const Time boundary(random() % 10);
    const Time makespan = overlap_chunks(forward, backward, boundary).makespan;
    const Time best = brute_force(forward, backward, boundary);
    EXPECT_GE(makespan, best) << "trial " << trial;
    EXPECT_LE(makespan, 2 * best) << "trial " << trial;
  }
}

TEST(OverlapChunks, OfADeepSeekV3LayerIsTheBestOfAllOrders) {
  const std::vector<LayerTimes> layer{deepseek_v3_layer()};
  EXPECT_EQ(overlap_chunks(layer, layer, Time(6)).makespan, brute_force(layer, layer, Time(6)));
}

// Four layers: the first attention and the last weight half have nothing to hide behind, in
// between all communication is hidden; the paper speaks of "fully hidden".
TEST(OverlapChunks, HidesAlmostAllCommunicationOfDeepSeekV3) {
  const std::vector<LayerTimes> chunk(4, deepseek_v3_layer());
  LaneSums sums{.communication = Time(6)};
  sums.add(chunk, 0, 9);
  const Time makespan = overlap_chunks(chunk, chunk, Time(6)).makespan;
  EXPECT_LE(makespan - sums.compute, sums.communication / 20);
}

// Each span begins after the one before it in its lane and after what it waits for.
TEST(OverlapChunks, KeepsTheOrderOfPieces) {
  std::mt19937 random(3);
  for (int trial = 0; trial < 300; ++trial) {
    const std::vector<LayerTimes> forward = random_layers(random, 3);
    const std::vector<LayerTimes> backward = random_layers(random, 3);
    const OverlappedChunks pair = overlap_chunks(forward, backward, Time(3));
    std::map<std::pair<ChunkPiece, int>, ChunkSpan> spans;
    for (const auto* lane : {&pair.compute, &pair.communication}) {
      Time free{};
      for (const ChunkSpan& span : *lane) {
        EXPECT_GE(span.begin, free);
        free = span.end;
        EXPECT_TRUE(spans.insert({{span.piece, span.layer}, span}).second);
      }
    }
    const auto check_chain = [&](const std::vector<std::pair<ChunkPiece, int>>& chain) {
      Time end{};
      for (const auto& piece : chain) {
        if (const auto found = spans.find(piece); found != spans.end()) {
          EXPECT_GE(found->second.begin, end) << "trial " << trial;
          end = found->second.end;
        }
      }
    };
    using enum ChunkPiece;
    std::vector<std::pair<ChunkPiece, int>> there;
    std::vector<std::pair<ChunkPiece, int>> back;
    for (int layer = 0; layer < 3; ++layer) {
      for (const ChunkPiece piece :
           {attention_forward, dispatch_forward, mlp_forward, combine_forward}) {
        there.emplace_back(piece, layer);
      }
      for (const ChunkPiece piece :
           {combine_backward, mlp_input, dispatch_backward, attention_input}) {
        back.emplace_back(piece, 2 - layer);
      }
      check_chain({{mlp_input, layer}, {mlp_weight, layer}});
      check_chain({{attention_input, layer}, {attention_weight, layer}});
    }
    check_chain(there);
    check_chain(back);
  }
}

TEST(OverlapChunks, OfNothingIsTheBoundaryAlone) {
  EXPECT_EQ(overlap_chunks({}, {}, Time(7)).makespan, Time(7));
  EXPECT_EQ(overlap_chunks({}, {}, Time(0)), OverlappedChunks{});
}

TEST(NameOf, IsTheFiguresName) {
  EXPECT_EQ(name_of(ChunkPiece::attention_forward), "ATTN(F)");
  EXPECT_EQ(name_of(ChunkPiece::combine_backward), "COMBINE(B)");
  EXPECT_EQ(name_of(ChunkPiece::mlp_weight), "MLP(W)");
  EXPECT_EQ(name_of(ChunkPiece::boundary), "PP");
}

}  // namespace
}  // namespace dualpipe
