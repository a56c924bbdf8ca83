#include "runtime/models/corpus.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "runtime/stage.h"

namespace dualpipe {
namespace {

Corpus corpus(const std::string& text, std::uint64_t seed, std::size_t sequence_length) {
  return {std::make_shared<const std::string>(text), seed, sequence_length};
}

std::vector<std::uint8_t> inputs(const Corpus& source, const StageOp& op, std::size_t size) {
  std::vector<std::uint8_t> tokens(size);
  source.read_inputs(op, tokens);
  return tokens;
}

// All letters differ, so the target of a letter is the next one.
TEST(Corpus, TargetsAreTheNextBytesOfWindowsOfTheText) {
  const std::string text = "abcdefghijklmnopqrstuvwxyz\xff";
  const Corpus source = corpus(text, 1, 4);
  for (int microbatch = 0; microbatch < 20; ++microbatch) {
    const StageOp op{.step = 9, .microbatch = microbatch, .slot = 0};
    const std::vector<std::uint8_t> tokens = inputs(source, op, 12);
    std::vector<std::uint8_t> targets(12);
    source.read_targets(op, targets);
    for (std::size_t token = 0; token < tokens.size(); ++token) {
      const std::size_t position = text.find(static_cast<char>(tokens[token]));
      ASSERT_NE(position, std::string::npos);
      EXPECT_EQ(targets[token], static_cast<std::uint8_t>(text.at(position + 1)));
      if (token % 4 != 0) {
        EXPECT_EQ(tokens[token], targets[token - 1]);
      }
    }
  }
}

TEST(Corpus, AMicrobatchDependsOnSeedStepAndMicrobatchAndNotOnTheSlot) {
  const std::string text(std::string(1000, ' ') + "x");
  std::string varied;
  for (std::size_t letter = 0; letter < text.size(); ++letter) {
    varied += static_cast<char>(letter * letter % 251);
  }
  const Corpus source = corpus(varied, 1, 8);
  const std::vector<std::uint8_t> tokens = inputs(source, {3, 4, 0}, 16);
  EXPECT_EQ(inputs(source, {3, 4, 7}, 16), tokens);
  EXPECT_EQ(inputs(corpus(varied, 1, 8), {3, 4, 0}, 16), tokens);
  EXPECT_NE(inputs(source, {3, 5, 0}, 16), tokens);
  EXPECT_NE(inputs(source, {4, 4, 0}, 16), tokens);
  EXPECT_NE(inputs(corpus(varied, 2, 8), {3, 4, 0}, 16), tokens);
}

TEST(Corpus, EveryWindowComesUpAndTheShortestTextHasOne) {
  const Corpus source = corpus("abcdefgh", 5, 3);
  std::set<std::uint8_t> starts;
  for (int microbatch = 0; microbatch < 200; ++microbatch) {
    starts.insert(inputs(source, {0, microbatch, 0}, 3).front());
  }
  EXPECT_EQ(starts, (std::set<std::uint8_t>{'a', 'b', 'c', 'd', 'e'}));
  EXPECT_EQ(inputs(corpus("abcd", 5, 3), {0, 0, 0}, 3), (std::vector<std::uint8_t>{'a', 'b', 'c'}));
}

}  // namespace
}  // namespace dualpipe
