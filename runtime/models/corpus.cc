#include "runtime/models/corpus.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include "costs/check.h"
#include "runtime/models/random.h"
#include "runtime/stage.h"

namespace dualpipe {

Corpus::Corpus(std::shared_ptr<const std::string> text, std::uint64_t seed,
               std::size_t sequence_length)
    : text_(std::move(text)),
      windows_(RandomStream{seed}.named("windows")),
      sequence_length_(sequence_length) {
  CHECK(text_->size() > sequence_length_);
}

void Corpus::read_inputs(const StageOp& op, std::span<std::uint8_t> tokens) const {
  read(op, 0, tokens);
}

void Corpus::read_targets(const StageOp& op, std::span<std::uint8_t> tokens) const {
  read(op, 1, tokens);
}

void Corpus::read(const StageOp& op, std::size_t shift, std::span<std::uint8_t> tokens) const {
  CHECK(tokens.size() % sequence_length_ == 0);
  const RandomStream windows =
      windows_.child(op.step).child(static_cast<std::uint64_t>(op.microbatch));
  const std::size_t starts = text_->size() - sequence_length_;
  std::uint64_t sample = 0;
  for (; !tokens.empty(); tokens = tokens.subspan(sequence_length_)) {
    const std::size_t start = windows.bits(sample++) % starts + shift;
    std::ranges::transform(text_->begin() + static_cast<std::ptrdiff_t>(start),
                           text_->begin() + static_cast<std::ptrdiff_t>(start + sequence_length_),
                           tokens.begin(),
                           [](char letter) { return static_cast<std::uint8_t>(letter); });
  }
}

}  // namespace dualpipe
