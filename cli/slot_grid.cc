#include "cli/slot_grid.h"

#include <algorithm>
#include <cstddef>
#include <set>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "scheduler/compile.h"
#include "scheduler/op.h"
#include "scheduler/schedule.h"

namespace dualpipe {
namespace {

constexpr int nearby = 4;      // slots shown on each side of a mark
constexpr int short_row = 16;  // slots: what is no longer is shown whole
constexpr std::size_t rows_max = 16;
constexpr std::size_t marks_max = 4;  // per rank

const std::string& elision() {
  static const std::string dots = "..";
  return dots;
}

std::string cell_of(const Slot& slot) {
  const std::string text = to_string(slot.front());
  return slot.is_pair() ? text + "+" + to_string(slot.back()) : text;
}

// The marked slots of each rank; its end counts as one more slot.
std::vector<std::set<int>> marks_by_rank(const Schedule& schedule,
                                         const std::vector<RankSlot>& marks) {
  std::vector<std::set<int>> by_rank(schedule.ranks.size());
  for (const RankSlot& mark : marks) {
    const std::size_t rank = static_cast<std::size_t>(mark.rank);
    const int end = static_cast<int>(schedule.ranks[rank].size());
    if (by_rank[rank].size() < marks_max) {
      by_rank[rank].insert(mark.slot < 0 ? end : mark.slot);
    }
  }
  return by_rank;
}

// The cells of one rank; `near` is what to show the surroundings of.
std::vector<std::string> row_of(const std::vector<Slot>& slots, const std::set<int>& marks,
                                const std::set<int>& near) {
  std::vector<std::string> cells;
  const int end = static_cast<int>(slots.size());
  for (int slot = 0; slot < end; ++slot) {
    const bool shown = end <= short_row || std::any_of(near.begin(), near.end(), [&](int mark) {
                         return mark - nearby <= slot && slot <= mark + nearby;
                       });
    if (shown) {
      const std::string cell = cell_of(slots[static_cast<std::size_t>(slot)]);
      cells.push_back(marks.contains(slot) ? ">" + cell + "<" : " " + cell + " ");
    } else if (cells.empty() || cells.back() != elision()) {
      cells.push_back(elision());
    }
  }
  if (marks.contains(end)) {
    cells.emplace_back(">end<");
  }
  return cells;
}

}  // namespace

std::string slot_grid(const Schedule& schedule, const std::vector<RankSlot>& marks) {
  const std::vector<std::set<int>> by_rank = marks_by_rank(schedule, marks);
  const std::set<int>& first_marked =
      *std::find_if(by_rank.begin(), by_rank.end(), [](const auto& row) { return !row.empty(); });
  const bool all_ranks = schedule.ranks.size() <= rows_max;
  std::vector<std::string> heads;
  std::vector<std::vector<std::string>> rows;
  std::size_t width = 0;
  for (std::size_t rank = 0; rank < by_rank.size() && rows.size() < rows_max; ++rank) {
    if (all_ranks || !by_rank[rank].empty()) {
      heads.push_back(fmt::format("rank {}", rank));
      rows.push_back(row_of(schedule.ranks[rank], by_rank[rank],
                            by_rank[rank].empty() ? first_marked : by_rank[rank]));
      for (const std::string& cell : rows.back()) {
        width = std::max(width, cell.size());
      }
    }
  }
  std::string text;
  for (std::size_t row = 0; row < rows.size(); ++row) {
    std::string line = fmt::format("  {:<{}} ", heads[row], heads.back().size());
    for (const std::string& cell : rows[row]) {
      line += cell == elision() ? " .. " : fmt::format("{:<{}}", cell, width);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  }
  return all_ranks ? text : text + "  ..\n";
}

}  // namespace dualpipe
