// The sections of docs/validation.md, in their order: Markdown with a heading each. Whatever stands
// on our side of a table is worked out here and now; what stands on the other is published, or
// counted by hand in the section's source.

#pragma once

#include <string>

namespace dualpipe {

// `configs` is the directory of that name.
[[nodiscard]] std::string dualpipe_section();
[[nodiscard]] std::string zero_bubble_section();
[[nodiscard]] std::string deepseek_section(const std::string& configs);
[[nodiscard]] std::string one_f_one_b_section();
[[nodiscard]] std::string models_section(const std::string& configs);
[[nodiscard]] std::string memory_section(const std::string& configs);
[[nodiscard]] std::string longest_path_section();

}  // namespace dualpipe
