// Prints docs/validation.md: every figure of the literature that this tree reproduces, beside ours.
//   dualpipe_validation CONFIGS_DIRECTORY >docs/validation.md

#include <cstdio>
#include <exception>
#include <string>

#include "tests/validation/sections.h"

namespace {

constexpr const char* introduction = R"(# Validation

Figures from the literature beside what this tree makes of them. The page is written by `tests/validation/`
(`cmake --build --preset dev --target validation`), and a test fails when it is not what the code gives today: no number
under "ours" was typed. "Why" is filled in where the two differ by more than the published figure's last digit; the
generator refuses a difference that nobody has explained.

Not here, because nobody has published figures for it: transfers that wait for both ends, or share links. Tests compare
them with a reference that looks at everything again every nanosecond.

)";

std::string page(const std::string& configs) {
  using namespace dualpipe;
  return introduction + dualpipe_section() + "\n" + zero_bubble_section() + "\n" +
         deepseek_section(configs) + "\n" + one_f_one_b_section() + "\n" + models_section(configs) +
         "\n" + memory_section(configs) + "\n" + longest_path_section();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fputs("usage: dualpipe_validation CONFIGS_DIRECTORY\n", stderr);
    return 2;
  }
  try {
    const std::string text = page(argv[1]);
    return std::fwrite(text.data(), 1, text.size(), stdout) == text.size() ? 0 : 5;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "dualpipe_validation: %s\n", error.what());
    return 1;
  }
}
