#include "runtime/status_words.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <fmt/core.h>

#include "runtime/status.h"
#include "scheduler/pipeline.h"
#include "scheduler/program.h"
#include "scheduler/schedule.h"

namespace dualpipe {
namespace {

// How many things of the kind that the index counts there are; 0 for a kind that there is not.
std::size_t count_of(const Program& program, Activity activity, int rank) {
  switch (activity) {
    case Activity::running:
      return program.slots(rank).size();
    case Activity::awaiting_receive:
    case Activity::awaiting_send:
      return program.messages().size();
    case Activity::reducing_replicas:
    case Activity::optimizing:
      return static_cast<std::size_t>(program.pipeline().stages());
    case Activity::synchronizing:
      return static_cast<std::size_t>(program.pipeline().ranks());
    case Activity::starting:
    case Activity::finished:
      return 1;
  }
  return 0;
}

bool fits(const Program& program, Activity activity, std::int32_t index, int rank) {
  return index >= 0 && std::cmp_less(index, count_of(program, activity, rank));
}

std::string message_words(const Program& program, std::int32_t index) {
  const Message& message = program.message(index);
  return fmt::format("{} #{}", to_string(program.channel_of(message)), message.sequence);
}

std::string with_value(const Program& program, std::int32_t index) {
  const Message& message = program.message(index);
  return fmt::format("{} (stage {}, microbatch {})", message_words(program, index),
                     message.value.stage, message.value.microbatch);
}

std::string slot_words(const Program& program, std::int32_t index, int rank) {
  return to_string(program.slots(rank)[static_cast<std::size_t>(index)]);
}

std::string past_words(const Program& program, const PastActivity& past, int rank) {
  switch (past.activity) {
    case Activity::starting:
      return "start";
    case Activity::running:
      return slot_words(program, past.index, rank);
    case Activity::awaiting_receive:
      return "receive " + message_words(program, past.index);
    case Activity::awaiting_send:
      return "send " + message_words(program, past.index);
    case Activity::reducing_replicas:
      return fmt::format("replica of stage {}", past.index);
    case Activity::synchronizing:
      return fmt::format("synchronize with rank {}", past.index);
    case Activity::optimizing:
      return fmt::format("optimizer of stage {}", past.index);
    case Activity::finished:
      return "end";
  }
  return "";
}

}  // namespace

bool fits(const Program& program, const RankStatus& status, int rank) {
  if (!fits(program, status.activity, status.index, rank) || status.past_count < 0 ||
      std::cmp_greater(status.past_count, status.past.size())) {
    return false;
  }
  return std::all_of(
      status.past.begin(), status.past.begin() + status.past_count,
      [&](const PastActivity& past) { return fits(program, past.activity, past.index, rank); });
}

int other_holder(const Program& program, int stage, int rank) {
  for (const std::vector<int>& rank_of_stage : program.pipeline().placement.rank_of_stage) {
    const int holder = rank_of_stage[static_cast<std::size_t>(stage)];
    if (holder != rank) {
      return holder;
    }
  }
  return -1;
}

std::string describe(const Program& program, const RankStatus& status, int rank) {
  switch (status.activity) {
    case Activity::starting:
      return "has not begun its first step";
    case Activity::running:
      return "is inside " + slot_words(program, status.index, rank);
    case Activity::awaiting_receive:
      return "waits to receive " + with_value(program, status.index);
    case Activity::awaiting_send:
      return "waits to send " + with_value(program, status.index);
    case Activity::reducing_replicas:
      return fmt::format("waits to add the gradient of stage {} with rank {}", status.index,
                         other_holder(program, status.index, rank));
    case Activity::synchronizing:
      return status.index == rank ? "is busy between two steps"
                                  : fmt::format("waits to synchronize with rank {}", status.index);
    case Activity::optimizing:
      return fmt::format("is inside the optimizer of stage {}", status.index);
    case Activity::finished:
      return "has finished";
  }
  return "";
}

std::string describe_past(const Program& program, const RankStatus& status, int rank) {
  std::string words;
  const char* separator = "";
  for (std::int32_t k = status.past_count; k-- > 0;) {
    const PastActivity& past = status.past[static_cast<std::size_t>(k)];
    const std::int64_t end =
        k == 0 ? status.since_ns : status.past[static_cast<std::size_t>(k) - 1].since_ns;
    words += fmt::format("{}{} {:.3f} ms", std::exchange(separator, ", "),
                         past_words(program, past, rank),
                         static_cast<double>(end - past.since_ns) * 1e-6);
  }
  return words;
}

std::string past_line(const Program& program, const RankStatus& status, int rank) {
  if (!fits(program, status, rank) || status.past_count == 0) {
    return "";
  }
  return fmt::format("\nrank {} before: {}", rank, describe_past(program, status, rank));
}

}  // namespace dualpipe
