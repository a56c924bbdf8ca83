// The training text of the language model, byte by byte. Which windows of it a microbatch is made
// of is a pure function of (seed, step, microbatch): the first stage takes its tokens and the last
// stage its targets without a message between them.

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "runtime/models/random.h"
#include "runtime/stage.h"

namespace dualpipe {

class Corpus {
 public:
  // Requires: the text is longer than a sequence, since each token's target is the next byte.
  Corpus(std::shared_ptr<const std::string> text, std::uint64_t seed, std::size_t sequence_length);

  // Fills `tokens` with whole samples, one after another. The microbatch is op's; its slot has no
  // part in it.
  void read_inputs(const StageOp& op, std::span<std::uint8_t> tokens) const;
  // Likewise, each a byte further.
  void read_targets(const StageOp& op, std::span<std::uint8_t> tokens) const;

 private:
  void read(const StageOp& op, std::size_t shift, std::span<std::uint8_t> tokens) const;

  std::shared_ptr<const std::string> text_;
  RandomStream windows_;
  std::size_t sequence_length_;
};

}  // namespace dualpipe
