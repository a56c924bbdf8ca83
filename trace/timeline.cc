#include "trace/timeline.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "costs/cost_model.h"
#include "costs/error.h"
#include "scheduler/op.h"
#include "scheduler/pipeline.h"
#include "scheduler/pipeline_json.h"
#include "scheduler/schedule.h"

namespace dualpipe {
namespace {

using nlohmann::json;

constexpr std::string_view activation_name = "activation";
constexpr std::string_view gradient_name = "gradient";
constexpr std::int64_t sum_max = std::numeric_limits<std::int64_t>::max() / 2;

std::int64_t to_int64(const JsonReader& reader, const json& value, const char* key,
                      std::int64_t largest) {
  if (!value.is_number_integer() || value < 0 || value > largest) {
    reader.refuse(key, fmt::format("expected whole nanoseconds or bytes from 0 to {}, found {}",
                                   largest, value.is_primitive() ? value.dump() : "a list"));
  }
  return value.get<std::int64_t>();
}

// A rank computes one thing at a time, so whatever is added up over a timeline, busy or idle, is at
// most its last end for every rank. That is half of what 64 bits hold: 146 years of one rank, and
// so many parts of them for more.
Time to_time(const JsonReader& reader, const json& value, const char* key,
             const Pipeline& pipeline) {
  return Time(to_int64(reader, value, key, sum_max / pipeline.ranks()));
}

// Likewise what a rank may keep: of every kind of bytes, for every microbatch of every stage.
std::int64_t to_bytes(const JsonReader& reader, const json& value, const char* key,
                      const Pipeline& pipeline) {
  constexpr std::int64_t kinds = 8;
  return to_int64(reader, value, key,
                  sum_max / kinds / pipeline.stages() / std::max(1, pipeline.microbatches()));
}

void expect_list(const JsonReader& reader, const json& value, const char* key, std::size_t length) {
  if (!value.is_array() || value.size() != length) {
    reader.refuse(key, fmt::format("expected lists of {}, found {}", length,
                                   value.is_array() ? fmt::format("one of {}", value.size())
                                                    : std::string(value.type_name())));
  }
}

Span parse_span(const JsonReader& reader, const json& row, const Timeline& timeline) {
  expect_list(reader, row, "ranks", 3);
  if (!row[0].is_string()) {
    reader.refuse("ranks", "expected spans such as [\"0F0\",0,1000]");
  }
  Span span;
  try {
    span.slot = parse_slot(row[0].get_ref<const std::string&>());
  } catch (const Error& error) {
    reader.refuse("ranks", error.what());
  }
  for (const Op& op : span.slot) {
    if (op.stage >= timeline.pipeline.stages() ||
        op.microbatch >= timeline.pipeline.microbatches()) {
      reader.refuse("ranks", to_string(op) + " is outside the document's stages and microbatches");
    }
  }
  span.begin = to_time(reader, row[1], "ranks", timeline.pipeline);
  span.end = to_time(reader, row[2], "ranks", timeline.pipeline);
  return span;
}

void parse_spans(const JsonReader& reader, Timeline& timeline) {
  for (const json& row : reader.list("ranks")) {
    if (!row.is_array()) {
      reader.refuse("ranks", "expected a list of spans for each rank");
    }
    std::vector<Span>& spans = timeline.ranks.emplace_back();
    Time previous{};
    for (const json& value : row) {
      spans.push_back(parse_span(reader, value, timeline));
      if (spans.back().begin < previous || spans.back().end < spans.back().begin) {
        reader.refuse("ranks",
                      fmt::format("rank {}: {} overlaps what is before it, or ends before "
                                  "it begins",
                                  timeline.ranks.size() - 1, to_string(spans.back().slot)));
      }
      previous = spans.back().end;
    }
  }
}

Transfer parse_transfer(const JsonReader& reader, const json& row, const Pipeline& pipeline) {
  constexpr std::size_t without_bytes = 7;
  expect_list(
      reader, row, "transfers",
      row.is_array() && row.size() == without_bytes + 1 ? without_bytes + 1 : without_bytes);
  Transfer transfer;
  if (row[0] == gradient_name) {
    transfer.value.kind = ValueKind::input_gradient;
  } else if (row[0] != activation_name) {
    reader.refuse("transfers", "expected \"activation\" or \"gradient\" first");
  }
  const std::vector<int> numbers =
      reader.integers(json(std::vector<json>(row.begin() + 1, row.begin() + 5)), "transfers");
  transfer.value.stage = numbers[0];
  transfer.value.microbatch = numbers[1];
  transfer.source = numbers[2];
  transfer.destination = numbers[3];
  transfer.begin = to_time(reader, row[5], "transfers", pipeline);
  transfer.end = to_time(reader, row[6], "transfers", pipeline);
  if (row.size() > without_bytes) {
    transfer.bytes = to_bytes(reader, row[without_bytes], "transfers", pipeline);
  }
  if (transfer.value.stage >= pipeline.stages() ||
      transfer.value.microbatch >= pipeline.microbatches() || transfer.source >= pipeline.ranks() ||
      transfer.destination >= pipeline.ranks()) {
    reader.refuse("transfers",
                  fmt::format("{} from rank {} to rank {} is outside the document's "
                              "stages, microbatches and ranks",
                              to_string(transfer.value), transfer.source, transfer.destination));
  }
  if (transfer.end < transfer.begin) {
    reader.refuse("transfers", to_string(transfer.value) + " arrives before it is sent");
  }
  return transfer;
}

// Of a stage: the two that every timeline has; and, where parameters are known too, all of them.
constexpr std::size_t few_bytes = 2;
constexpr std::size_t all_bytes = 7;

std::vector<std::int64_t> numbers_of(const StageBytes& bytes) {
  std::vector<std::int64_t> numbers{bytes.activation, bytes.weight_operands, bytes.logits,
                                    bytes.boundary,   bytes.weights,         bytes.gradients,
                                    bytes.optimizer};
  if (std::all_of(numbers.begin() + few_bytes, numbers.end(),
                  [](std::int64_t number) { return number == 0; })) {
    numbers.resize(few_bytes);
  }
  return numbers;
}

StageBytes parse_bytes_of_stage(const JsonReader& reader, const json& row,
                                const Pipeline& pipeline) {
  expect_list(reader, row, "stage_bytes",
              row.is_array() && row.size() == all_bytes ? all_bytes : few_bytes);
  std::array<std::int64_t, all_bytes> numbers{};
  for (std::size_t place = 0; place < row.size(); ++place) {
    numbers[place] = to_bytes(reader, row[place], "stage_bytes", pipeline);
  }
  return {.activation = numbers[0],
          .weight_operands = numbers[1],
          .logits = numbers[2],
          .boundary = numbers[3],
          .weights = numbers[4],
          .gradients = numbers[5],
          .optimizer = numbers[6]};
}

TailSpan parse_tail(const JsonReader& reader, const json& row, const Pipeline& pipeline) {
  expect_list(reader, row, "tail", 5);
  const auto* const kind = std::ranges::find_if(
      tail_kinds, [&](std::string_view name) { return row[0].is_string() && row[0] == name; });
  if (kind == tail_kinds.end()) {
    reader.refuse("tail", fmt::format("expected one of {} first", fmt::join(tail_kinds, ", ")));
  }
  const std::vector<int> numbers =
      reader.integers(json(std::vector<json>(row.begin() + 1, row.begin() + 3)), "tail");
  const TailSpan span{.kind = static_cast<TailKind>(kind - tail_kinds.begin()),
                      .rank = numbers[0],
                      .stage = numbers[1],
                      .begin = to_time(reader, row[3], "tail", pipeline),
                      .end = to_time(reader, row[4], "tail", pipeline)};
  if (span.rank >= pipeline.ranks() || span.stage >= pipeline.stages() || span.end < span.begin) {
    reader.refuse("tail", fmt::format("{} of stage {} on rank {} is outside the document's stages "
                                      "and ranks, or ends before it begins",
                                      *kind, span.stage, span.rank));
  }
  return span;
}

// Rank after rank, by begin; and a rank computes one thing at a time.
void check_tail(const JsonReader& reader, const Timeline& timeline) {
  const TailSpan* previous = nullptr;
  Time computed{};  // until when the rank does
  for (const TailSpan& span : timeline.tail) {
    if (previous != nullptr &&
        std::pair(span.rank, span.begin) < std::pair(previous->rank, previous->begin)) {
      reader.refuse("tail", fmt::format("rank {}: {} of stage {} is out of order; expected rank "
                                        "after rank, each by its begin",
                                        span.rank, to_string(span.kind), span.stage));
    }
    if (previous == nullptr || previous->rank != span.rank) {
      const std::vector<Span>& slots = timeline.ranks[static_cast<std::size_t>(span.rank)];
      computed = slots.empty() ? Time{} : slots.back().end;
    }
    if (span.kind == TailKind::optimizer) {
      if (span.begin < computed) {
        reader.refuse("tail", fmt::format("rank {}: the optimizer of stage {} begins before the "
                                          "rank has computed what is before it",
                                          span.rank, span.stage));
      }
      computed = span.end;
    }
    previous = &span;
  }
}

// Offsets are of any size and sign: what a host's clock shows depends on when it was started.
void parse_clocks(const JsonReader& reader, Timeline& timeline) {
  for (const json& row : reader.list("clocks")) {
    expect_list(reader, row, "clocks", 3);
    if (!row[0].is_number_integer() || !row[1].is_number_integer()) {
      reader.refuse("clocks", "expected whole nanoseconds: offset, drift and uncertainty");
    }
    timeline.clocks.push_back(
        {.offset = Time(row[0].get<std::int64_t>()),
         .drift = Time(row[1].get<std::int64_t>()),
         .uncertainty = to_time(reader, row[2], "clocks", timeline.pipeline)});
  }
  if (timeline.clocks.size() != timeline.ranks.size()) {
    reader.refuse("clocks", fmt::format("expected one entry per rank, {}; found {}",
                                        timeline.ranks.size(), timeline.clocks.size()));
  }
}

void check_ranks(const JsonReader& reader, const Pipeline& pipeline) {
  if (pipeline.placement.rank_of_stage.empty() || pipeline.stages() == 0 || pipeline.ranks() == 0) {
    reader.refuse("placement", "expected at least one direction, stage and rank");
  }
  for (const std::vector<int>& rank_of : pipeline.placement.rank_of_stage) {
    if (*std::max_element(rank_of.begin(), rank_of.end()) >= pipeline.ranks()) {
      reader.refuse("placement", fmt::format("expected ranks below {}", pipeline.ranks()));
    }
  }
  for (const int direction : pipeline.direction) {
    if (direction >= pipeline.placement.directions()) {
      reader.refuse("direction",
                    fmt::format("expected numbers below {}", pipeline.placement.directions()));
    }
  }
}

void append_spans(std::string& text, const std::vector<Span>& spans) {
  const char* separator = "";
  for (const Span& span : spans) {
    text += fmt::format("{}[\"{}\",{},{}]", separator, to_string(span.slot), span.begin.count(),
                        span.end.count());
    separator = ",";
  }
}

void append_transfer(std::string& text, const Transfer& transfer) {
  text +=
      fmt::format("[\"{}\",{},{},{},{},{},{}",
                  transfer.value.kind == ValueKind::activation ? activation_name : gradient_name,
                  transfer.value.stage, transfer.value.microbatch, transfer.source,
                  transfer.destination, transfer.begin.count(), transfer.end.count());
  text += transfer.bytes == 0 ? "]" : fmt::format(",{}]", transfer.bytes);
}

}  // namespace

Time makespan(const Timeline& timeline) {
  Time begin = Time::max();
  Time end{};
  for (const std::vector<Span>& spans : timeline.ranks) {
    if (!spans.empty()) {
      begin = std::min(begin, spans.front().begin);
      end = std::max(end, spans.back().end);
    }
  }
  for (const TailSpan& span : timeline.tail) {
    end = std::max(end, span.end);
  }
  return begin == Time::max() ? Time{} : end - begin;
}

Schedule schedule_of(const Timeline& timeline) {
  Schedule schedule{.pipeline = timeline.pipeline, .ranks = {}};
  for (const std::vector<Span>& spans : timeline.ranks) {
    std::vector<Slot>& slots = schedule.ranks.emplace_back();
    for (const Span& span : spans) {
      slots.push_back(span.slot);
    }
  }
  return schedule;
}

std::string to_json(const Timeline& timeline) {
  std::string text =
      fmt::format("{{\"schema_version\":{},\"kind\":\"timeline\",{}\"stage_bytes\":[",
                  schema_version, pipeline_members(timeline.pipeline));
  const char* separator = "";
  for (const StageBytes& bytes : timeline.stage_bytes) {
    text += fmt::format("{}[{}]", separator, fmt::join(numbers_of(bytes), ","));
    separator = ",";
  }
  text += "],\n\"ranks\":[";
  separator = "\n[";
  for (const std::vector<Span>& spans : timeline.ranks) {
    text += separator;
    append_spans(text, spans);
    separator = "],\n[";
  }
  text += "]],\n\"transfers\":[";
  separator = "\n";
  for (const Transfer& transfer : timeline.transfers) {
    text += separator;
    append_transfer(text, transfer);
    separator = ",\n";
  }
  text += "]";
  if (!timeline.tail.empty()) {
    text += ",\n\"tail\":[";
    separator = "\n";
    for (const TailSpan& span : timeline.tail) {
      text += fmt::format("{}[\"{}\",{},{},{},{}]", separator, to_string(span.kind), span.rank,
                          span.stage, span.begin.count(), span.end.count());
      separator = ",\n";
    }
    text += "]";
  }
  if (!timeline.clocks.empty()) {
    text += ",\n\"clocks\":[";
    separator = "";
    for (const RankClock& clock : timeline.clocks) {
      text += fmt::format("{}[{},{},{}]", separator, clock.offset.count(), clock.drift.count(),
                          clock.uncertainty.count());
      separator = ",";
    }
    text += "]";
  }
  return text + "}\n";
}

bool is_timeline(std::string_view text) {
  constexpr std::string_view space = " \t\r\n";
  const std::size_t first = text.find_first_not_of(space);
  if (first == std::string_view::npos || text[first] != '{') {
    return false;
  }
  // A key that schedules do not have. Inside a longer string its quotes would be escaped, and no
  // colon follows a string that is a value.
  constexpr std::string_view key = "\"stage_bytes\"";
  for (std::size_t at = text.find(key); at != std::string_view::npos; at = text.find(key, at + 1)) {
    const std::size_t next = text.find_first_not_of(space, at + key.size());
    if (next != std::string_view::npos && text[next] == ':') {
      return true;
    }
  }
  return false;
}

Timeline parse_timeline(std::string_view text, const std::string& origin) {
  const json document = parse_document(text, origin);
  const JsonReader reader(document, origin);
  if (reader.string("kind") != "timeline") {
    reader.refuse("kind", "expected \"timeline\"");
  }
  Timeline timeline;
  timeline.pipeline = parse_pipeline_members(reader);
  timeline.pipeline.placement.ranks = static_cast<int>(reader.list("ranks").size());
  check_ranks(reader, timeline.pipeline);
  parse_spans(reader, timeline);
  for (const json& row : reader.list("stage_bytes")) {
    timeline.stage_bytes.push_back(parse_bytes_of_stage(reader, row, timeline.pipeline));
  }
  if (!timeline.stage_bytes.empty() &&
      timeline.stage_bytes.size() != static_cast<std::size_t>(timeline.pipeline.stages())) {
    reader.refuse("stage_bytes", "expected one entry per stage, or none");
  }
  for (const json& value : reader.list("transfers")) {
    timeline.transfers.push_back(parse_transfer(reader, value, timeline.pipeline));
  }
  if (reader.has("tail")) {
    for (const json& value : reader.list("tail")) {
      timeline.tail.push_back(parse_tail(reader, value, timeline.pipeline));
    }
    check_tail(reader, timeline);
  }
  if (reader.has("clocks")) {
    parse_clocks(reader, timeline);
  }
  return timeline;
}

}  // namespace dualpipe
