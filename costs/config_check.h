// Refusing what a config says: one wording and one way to name the place for the [model],
// [parallel] and [hardware] tables and for model files of other programs.

#pragma once

#include <limits>
#include <span>
#include <string>
#include <string_view>

namespace dualpipe {

// The numbers that a key may have, both ends included; by default every finite one from 0. The
// config of each table states its own (ModelRanges and its like), for its check and for whatever
// reads the table.
struct NumberRange {
  double least = 0.0;
  double largest = std::numeric_limits<double>::infinity();

  [[nodiscard]] bool contains(double value) const;  // no NaN and no infinity is
  // Of a key that may not be left out here, where 0 stands for that.
  [[nodiscard]] constexpr NumberRange from(double higher) const {
    return {.least = higher, .largest = largest};
  }
  [[nodiscard]] std::string whole_words() const;  // "a whole number from 1 to 8"
  [[nodiscard]] std::string words() const;        // "a number from 0.5 to 8"
};

// What a key should have been, what it is, and what to do about it.
struct Refusal {
  std::string expected;
  std::string found;
  std::string remedy;
};

// One table of a config. Every Error is ExitCode::usage and reads
// "model.layers: expected a whole number from 1 to 10000, found 0; ...".
class ConfigCheck {
 public:
  // `table` must outlive this; "model" for a key "model.layers".
  constexpr explicit ConfigCheck(std::string_view table) : table_(table) {}

  [[noreturn]] void refuse(std::string_view key, const Refusal& refusal) const;
  // Throws Error: the number is outside the range, or is not one.
  void whole(std::string_view key, int value, NumberRange range) const;
  void number(std::string_view key, double value, NumberRange range) const;
  // Throws Error: the word is none of `choices`.
  void word(std::string_view key, std::string_view value,
            std::span<const std::string_view> choices) const;

 private:
  std::string_view table_;
};

}  // namespace dualpipe
