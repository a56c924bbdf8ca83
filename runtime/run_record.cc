#include "runtime/run_record.h"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "costs/check.h"
#include "costs/cost_model.h"
#include "costs/error.h"
#include "runtime/clock.h"
#include "runtime/rank_answers.h"
#include "runtime/step_marks.h"
#include "scheduler/program.h"
#include "scheduler/schedule.h"
#include "trace/timeline.h"

namespace dualpipe {
namespace {

// Times on the rank's clock, since its epoch.
struct SpanTimes {
  Time begin{};
  Time end{};
};
struct MessageStamp {
  std::int64_t message = 0;
  Time time{};
};

// A rank's record of a step is an array of SpanTimes, one per slot, then one of MessageStamps, one
// per message that the rank sends or receives, in the order of StepMarks: sent ones, then received.
struct MessageCounts {
  std::size_t sent = 0;
  std::size_t received = 0;
};

MessageCounts message_counts(const Program& program, int rank) {
  MessageCounts counts;
  for (const Message& message : program.messages()) {
    const Channel& channel = program.channel_of(message);
    counts.sent += channel.source == rank ? 1 : 0;
    counts.received += channel.destination == rank ? 1 : 0;
  }
  return counts;
}

std::size_t step_bytes(const Program& program, int rank) {
  const MessageCounts counts = message_counts(program, rank);
  return program.slots(rank).size() * sizeof(SpanTimes) +
         (counts.sent + counts.received) * sizeof(MessageStamp);
}

// Writes values one behind the other.
template <typename Record>
void put(std::span<std::byte>& bytes, const Record& record) {
  static_assert(std::is_trivially_copyable_v<Record>);
  CHECK(bytes.size() >= sizeof(Record));
  std::memcpy(bytes.data(), &record, sizeof(Record));
  bytes = bytes.subspan(sizeof(Record));
}

void put_messages(std::span<std::byte>& bytes, const std::vector<MessageTime>& messages) {
  for (const MessageTime& one : messages) {
    put(bytes, MessageStamp{one.message, one.time.time_since_epoch()});
  }
}

// What is left of one rank's record, and its times as rank 0 would have seen them.
struct Rest {
  int rank = 0;
  std::span<const std::byte> bytes;
  ClockLine clock;

  [[nodiscard]] Time on_first(Time time) const {
    return clock.on_first(std::chrono::steady_clock::time_point(time));
  }
  // Requires: that much is left.
  template <typename Record>
  [[nodiscard]] Record take() {
    Record record{};
    std::memcpy(&record, bytes.data(), sizeof(Record));
    bytes = bytes.subspan(sizeof(Record));
    return record;
  }
};

std::vector<Span> take_spans(Rest& rest, std::span<const Slot> slots) {
  std::vector<Span> spans;
  for (const Slot& slot : slots) {
    const SpanTimes times = rest.take<SpanTimes>();
    spans.push_back(
        {.slot = slot, .begin = rest.on_first(times.begin), .end = rest.on_first(times.end)});
  }
  return spans;
}

// One end of the messages of a rank.
struct MessageEnd {
  Time Transfer::* when;
  int Transfer::* rank;
};

void take_messages(Rest& rest, std::size_t count, std::vector<Transfer>& transfers,
                   const MessageEnd& end) {
  for (std::size_t taken = 0; taken < count; ++taken) {
    const MessageStamp stamp = rest.take<MessageStamp>();
    if (stamp.message < 0 || std::cmp_greater_equal(stamp.message, transfers.size()) ||
        transfers[static_cast<std::size_t>(stamp.message)].*end.rank != rest.rank) {
      throw Error(ExitCode::transport,
                  fmt::format("rank {} sent a record of a step with message {}, which is none of "
                              "its own; start the same program on every rank",
                              rest.rank, stamp.message));
    }
    transfers[static_cast<std::size_t>(stamp.message)].*end.when = rest.on_first(stamp.time);
  }
}

Time earliest_begin(const Timeline& timeline) {
  Time earliest = Time::max();
  for (const std::vector<Span>& spans : timeline.ranks) {
    if (!spans.empty()) {
      earliest = std::min(earliest, spans.front().begin);
    }
  }
  return earliest;
}

void shift(Timeline& timeline, Time by) {
  for (std::vector<Span>& spans : timeline.ranks) {
    for (Span& span : spans) {
      span.begin -= by;
      span.end -= by;
    }
  }
  for (Transfer& transfer : timeline.transfers) {
    transfer.begin -= by;
    // Two clocks that are a little apart must not make a message arrive before it was sent.
    transfer.end = std::max(transfer.begin, transfer.end - by);
  }
}

std::vector<Transfer> transfers_of(const Program& program) {
  std::vector<Transfer> transfers;
  for (const Message& message : program.messages()) {
    const Channel& channel = program.channel_of(message);
    transfers.push_back({.value = message.value,
                         .source = channel.source,
                         .destination = channel.destination,
                         .begin = {},
                         .end = {}});
  }
  return transfers;
}

}  // namespace

RunRecord::RunRecord(const Program& program, int rank, int steps)
    : step_bytes_(step_bytes(program, rank)),
      wholes_(step_bytes_ * static_cast<std::size_t>(std::min(steps, whole_steps_max))) {
  extents_.reserve(static_cast<std::size_t>(steps));
}

void RunRecord::add(const RankStep& step) {
  CHECK(extents_.size() < extents_.capacity());
  const Time begin = step.begin.time_since_epoch();
  const std::size_t place = extents_.size() % whole_steps_max;
  std::span<std::byte> bytes = std::span(wholes_).subspan(place * step_bytes_, step_bytes_);
  for (const Span& span : step.spans) {
    put(bytes, SpanTimes{begin + span.begin, begin + span.end});
  }
  put_messages(bytes, step.sent);
  put_messages(bytes, step.received);
  CHECK(bytes.empty());
  extents_.push_back(step.spans.empty() ? StepExtent{}
                                        : StepExtent{.begin = begin + step.spans.front().begin,
                                                     .end = begin + step.spans.back().end});
}

std::span<const std::byte> RunRecord::whole(std::size_t step) const {
  CHECK(step < extents_.size() && step + whole_steps_max >= extents_.size());
  return std::span(wholes_).subspan(step % whole_steps_max * step_bytes_, step_bytes_);
}

std::vector<Time> step_times(const Program& program, std::span<const RankExtents> ranks) {
  CHECK(std::cmp_equal(ranks.size(), program.pipeline().ranks()));
  std::vector<Time> times;
  for (std::size_t step = 0; step < ranks.front().steps.size(); ++step) {
    Time begin = Time::max();
    Time end = Time::min();
    for (std::size_t rank = 0; rank < ranks.size(); ++rank) {
      if (!program.slots(static_cast<int>(rank)).empty()) {
        const Rest clock{.rank = {}, .bytes = {}, .clock = ranks[rank].clock};
        const StepExtent& extent = ranks[rank].steps[step];
        begin = std::min(begin, clock.on_first(extent.begin));
        end = std::max(end, clock.on_first(extent.end));
      }
    }
    times.push_back(end - begin);
  }
  return times;
}

std::size_t typical_step(std::span<const Time> step_times) {
  CHECK(!step_times.empty());
  const std::size_t whole_max = RunRecord::whole_steps_max;
  const std::size_t first_whole = step_times.size() - std::min(step_times.size(), whole_max);
  const std::size_t warm_up = step_times.size() > 1 ? 1 : 0;
  std::vector<std::size_t> order;
  for (std::size_t step = std::max(first_whole, warm_up); step < step_times.size(); ++step) {
    order.push_back(step);
  }
  std::ranges::stable_sort(order, {}, [&](std::size_t step) { return step_times[step]; });
  return order[order.size() / 2];
}

Timeline merge_records(const Program& program, std::span<const RankRecord> records) {
  CHECK(std::cmp_equal(records.size(), program.pipeline().ranks()));
  Timeline timeline{.pipeline = program.pipeline(),
                    .ranks = {},
                    .transfers = transfers_of(program),
                    .stage_bytes = {},
                    .tail = {},
                    .clocks = {}};
  for (int rank = 0; rank < program.pipeline().ranks(); ++rank) {
    const RankRecord& record = records[static_cast<std::size_t>(rank)];
    require_size({.rank = rank, .what = "its record of a step", .bytes = record.step},
                 step_bytes(program, rank));
    Rest rest{.rank = rank, .bytes = record.step, .clock = record.clock};
    timeline.ranks.push_back(take_spans(rest, program.slots(rank)));
    const MessageCounts counts = message_counts(program, rank);
    take_messages(rest, counts.sent, timeline.transfers,
                  {.when = &Transfer::begin, .rank = &Transfer::source});
    take_messages(rest, counts.received, timeline.transfers,
                  {.when = &Transfer::end, .rank = &Transfer::destination});
    timeline.clocks.push_back(record.clock.summary());
  }
  shift(timeline, earliest_begin(timeline));
  return timeline;
}

}  // namespace dualpipe
