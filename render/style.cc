#include "render/style.h"

#include <array>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/core.h>
#include <fmt/format.h>

#include "costs/check.h"
#include "costs/error.h"
#include "scheduler/op.h"

namespace dualpipe {
namespace {

constexpr Colour black{0x000000};
constexpr Colour white{0xffffff};

// A palette names F, B, I, W and the text, in this order.
constexpr std::array<Style, 6> table{{
    // The figures of DeepSeek's DualPipe repository: B and I share a colour and differ in width,
    // and
    // the second chunk of DualPipeV is told by its white numbers.
    {.name = "dualpipe",
     .summary = "DualPipe's own figures: orange, green, blue; later chunks numbered in white",
     .first_chunk = {{0xf1b238}, {0x7fd650}, {0x7fd650}, {0x77befb}, black},
     .later_chunks = {{0xf1b238}, {0x7fd650}, {0x7fd650}, {0x77befb}, white}},
    // For print without colour. Chunks differ in shade, because white text needs a dark ground.
    {.name = "gray",
     .summary = "shades of gray, for print; later chunks darker",
     .first_chunk = {{0xe3e3e3}, {0xbfbfbf}, {0xbfbfbf}, {0x999999}, black},
     .later_chunks = {{0x7a7a7a}, {0x5c5c5c}, {0x5c5c5c}, {0x383838}, white}},
    // Narayanan et al., SC'21, figure 4: dark is the first chunk, light are the later ones.
    {.name = "megatron",
     .summary = "Megatron-LM: forward blue, backward green; later chunks lighter",
     .first_chunk = {{0x3d6fc4}, {0x4f8f3f}, {0x4f8f3f}, {0x8a5fa8}, white},
     .later_chunks = {{0xb8cdf0}, {0xc0dfb4}, {0xc0dfb4}, {0xd9c6e8}, black}},
    // Okabe and Ito's palette, told apart under every common colour blindness.
    {.name = "okabe-ito",
     .summary = "safe for colour-blind readers; later chunks numbered in white",
     .first_chunk = {{0xe69f00}, {0x009e73}, {0x56b4e9}, {0xcc79a7}, black},
     .later_chunks = {{0xe69f00}, {0x009e73}, {0x56b4e9}, {0xcc79a7}, white}},
    // torch.distributed.pipelining's plots write the whole action into the box.
    {.name = "pytorch",
     .summary = "PyTorch: forward blue, input teal, weight green, backward orange; ops in full",
     .first_chunk = {{0x6fa8dc}, {0xf6b26b}, {0x45b5aa}, {0x93c47d}, black},
     .later_chunks = {{0x6fa8dc}, {0xf6b26b}, {0x45b5aa}, {0x93c47d}, black},
     .label = Label::op},
    // Qi et al., "Zero Bubble Pipeline Parallelism" and its V schedules: text tells the chunk.
    {.name = "zb",
     .summary = "Zero Bubble: forward blue, input cyan, weight green; first chunk in white",
     .first_chunk = {{0x4c86d9}, {0x3fb6c6}, {0x3fb6c6}, {0x4fae5a}, white},
     .later_chunks = {{0x4c86d9}, {0x3fb6c6}, {0x3fb6c6}, {0x4fae5a}, black}},
}};

}  // namespace

std::string to_string(Colour colour) {
  return fmt::format("#{:06x}", colour.rgb);
}

Colour Palette::fill(OpKind kind) const {
  switch (kind) {
    case OpKind::forward:
      return forward;
    case OpKind::backward:
      return backward;
    case OpKind::backward_input:
      return backward_input;
    case OpKind::backward_weight:
      return backward_weight;
  }
  CHECK(false);
}

std::span<const Style> styles() {
  return table;
}

const Style& find_style(std::string_view name) {
  std::vector<std::string_view> names;
  for (const Style& style : table) {
    if (style.name == name) {
      return style;
    }
    names.push_back(style.name);
  }
  throw Error(ExitCode::usage, fmt::format("no style '{}'{}: expected one of {}", name,
                                           did_you_mean(name, names), fmt::join(names, ", ")));
}

}  // namespace dualpipe
