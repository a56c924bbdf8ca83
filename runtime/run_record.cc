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

#include "costs/check.h"
#include "costs/cost_model.h"
#include "runtime/clock.h"
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

template <typename Record>
void append(std::vector<std::byte>& bytes, const Record& record) {
  static_assert(std::is_trivially_copyable_v<Record>);
  const std::size_t size = bytes.size();
  bytes.resize(size + sizeof(Record));
  std::memcpy(bytes.data() + size, &record, sizeof(Record));
}

template <typename Record>
Record take(std::span<const std::byte>& bytes) {
  CHECK(bytes.size() >= sizeof(Record));
  Record record{};
  std::memcpy(&record, bytes.data(), sizeof(Record));
  bytes = bytes.subspan(sizeof(Record));
  return record;
}

void append_messages(std::vector<std::byte>& bytes, const std::vector<MessageTime>& messages) {
  append(bytes, static_cast<std::uint64_t>(messages.size()));
  for (const MessageTime& one : messages) {
    append(bytes, MessageStamp{one.message, one.time.time_since_epoch()});
  }
}

// What is left of one rank's record, and its times as rank 0 would have seen them.
struct Rest {
  std::span<const std::byte> bytes;
  ClockLine clock;

  [[nodiscard]] Time on_first(Time time) const {
    return clock.on_first(std::chrono::steady_clock::time_point(time));
  }
};

void take_spans(Rest& rest, std::span<const Slot> slots, std::vector<Span>& spans) {
  for (const Slot& slot : slots) {
    const SpanTimes times = take<SpanTimes>(rest.bytes);
    spans.push_back(
        {.slot = slot, .begin = rest.on_first(times.begin), .end = rest.on_first(times.end)});
  }
}

void take_messages(Rest& rest, std::vector<Transfer>& transfers, Time Transfer::* when) {
  const std::uint64_t count = take<std::uint64_t>(rest.bytes);
  for (std::uint64_t i = 0; i < count; ++i) {
    const MessageStamp stamp = take<MessageStamp>(rest.bytes);
    transfers[static_cast<std::size_t>(stamp.message)].*when = rest.on_first(stamp.time);
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

void RunRecord::add(const RankStep& step) {
  const Time begin = step.begin.time_since_epoch();
  for (const Span& span : step.spans) {
    append(bytes_, SpanTimes{begin + span.begin, begin + span.end});
  }
  append_messages(bytes_, step.sent);
  append_messages(bytes_, step.received);
}

std::vector<Timeline> merge_records(const Program& program, std::span<const RankRecord> records,
                                    int steps) {
  CHECK(records.size() == static_cast<std::size_t>(program.pipeline().ranks()));
  std::vector<Rest> rests;
  std::vector<RankClock> clocks;
  for (const RankRecord& record : records) {
    rests.push_back({.bytes = record.bytes, .clock = record.clock});
    clocks.push_back(record.clock.summary());
  }
  std::vector<Timeline> timelines;
  for (int step = 0; step < steps; ++step) {
    Timeline timeline{.pipeline = program.pipeline(),
                      .ranks = std::vector<std::vector<Span>>(records.size()),
                      .transfers = transfers_of(program),
                      .stage_bytes = {},
                      .tail = {},
                      .clocks = clocks};
    for (std::size_t rank = 0; rank < records.size(); ++rank) {
      take_spans(rests[rank], program.slots(static_cast<int>(rank)), timeline.ranks[rank]);
      take_messages(rests[rank], timeline.transfers, &Transfer::begin);
      take_messages(rests[rank], timeline.transfers, &Transfer::end);
    }
    shift(timeline, earliest_begin(timeline));
    timelines.push_back(std::move(timeline));
  }
  return timelines;
}

}  // namespace dualpipe
