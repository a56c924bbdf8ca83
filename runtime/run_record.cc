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
#include "runtime/executor.h"
#include "scheduler/program.h"
#include "scheduler/schedule.h"
#include "trace/timeline.h"

namespace dualpipe {
namespace {

// Times on rank 0's clock, since its epoch.
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

void append_messages(std::vector<std::byte>& bytes, const std::vector<MessageTime>& messages,
                     std::chrono::nanoseconds offset) {
  append(bytes, static_cast<std::uint64_t>(messages.size()));
  for (const MessageTime& one : messages) {
    append(bytes, MessageStamp{one.message, one.time.time_since_epoch() + offset});
  }
}

void take_spans(std::span<const std::byte>& bytes, std::span<const Slot> slots,
                std::vector<Span>& spans) {
  for (const Slot& slot : slots) {
    const SpanTimes times = take<SpanTimes>(bytes);
    spans.push_back({.slot = slot, .begin = times.begin, .end = times.end});
  }
}

void take_messages(std::span<const std::byte>& bytes, std::vector<Transfer>& transfers,
                   Time Transfer::* when) {
  const std::uint64_t count = take<std::uint64_t>(bytes);
  for (std::uint64_t i = 0; i < count; ++i) {
    const MessageStamp stamp = take<MessageStamp>(bytes);
    transfers[static_cast<std::size_t>(stamp.message)].*when = stamp.time;
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

void RunRecord::add(const RankStep& step, std::chrono::nanoseconds offset) {
  const Time begin = step.begin.time_since_epoch() + offset;
  for (const Span& span : step.spans) {
    append(bytes_, SpanTimes{begin + span.begin, begin + span.end});
  }
  append_messages(bytes_, step.sent, offset);
  append_messages(bytes_, step.received, offset);
}

std::vector<Timeline> merge_records(const Program& program,
                                    std::span<const std::vector<std::byte>> records, int steps) {
  const int ranks = program.pipeline().ranks();
  CHECK(records.size() == static_cast<std::size_t>(ranks));
  std::vector<std::span<const std::byte>> rest(records.begin(), records.end());
  std::vector<Timeline> timelines;
  for (int step = 0; step < steps; ++step) {
    Timeline timeline{.pipeline = program.pipeline(),
                      .ranks = std::vector<std::vector<Span>>(records.size()),
                      .transfers = transfers_of(program),
                      .stage_bytes = {}};
    for (int rank = 0; rank < ranks; ++rank) {
      std::span<const std::byte>& bytes = rest[static_cast<std::size_t>(rank)];
      take_spans(bytes, program.slots(rank), timeline.ranks[static_cast<std::size_t>(rank)]);
      take_messages(bytes, timeline.transfers, &Transfer::begin);
      take_messages(bytes, timeline.transfers, &Transfer::end);
    }
    shift(timeline, earliest_begin(timeline));
    timelines.push_back(std::move(timeline));
  }
  return timelines;
}

}  // namespace dualpipe
