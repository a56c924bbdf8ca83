#include "runtime/watchdog.h"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/core.h>

#include "costs/check.h"
#include "costs/error.h"
#include "runtime/device.h"
#include "runtime/last_resort.h"
#include "runtime/status.h"
#include "runtime/status_words.h"
#include "runtime/transport.h"
#include "scheduler/pipeline.h"
#include "scheduler/program.h"

namespace dualpipe {
namespace {

using Clock = std::chrono::steady_clock;
using Statuses = std::span<const std::optional<RankStatus>>;

constexpr std::size_t ranks_listed_max = 16;
constexpr std::chrono::milliseconds slice{20};  // between two looks at whether the job goes on

// The rank that `rank` waits for, or -1.
int awaited_rank(const Program& program, Statuses statuses, int rank) {
  const std::optional<RankStatus>& status = statuses[static_cast<std::size_t>(rank)];
  if (!status || !status->answers || !fits(program, *status, rank)) {
    return -1;
  }
  switch (status->activity) {
    case Activity::awaiting_receive:
      return program.channel_of(program.message(status->index)).source;
    case Activity::awaiting_send:
      return program.channel_of(program.message(status->index)).destination;
    case Activity::reducing_replicas:
      return other_holder(program, status->index, rank);
    case Activity::synchronizing:
      return status->index == rank ? -1 : status->index;
    case Activity::starting:
    case Activity::running:
    case Activity::optimizing:
    case Activity::finished:
      return -1;
  }
  return -1;
}

std::string line_of(const Program& program, Statuses statuses, int rank) {
  const std::optional<RankStatus>& status = statuses[static_cast<std::size_t>(rank)];
  if (!status) {
    return fmt::format("rank {} does not answer\n", rank);
  }
  if (!fits(program, *status, rank)) {
    return fmt::format("rank {} says that it is somewhere where this program has nothing\n", rank);
  }
  const double seconds = static_cast<double>(status->now_ns - status->since_ns) * 1e-9;
  return fmt::format("rank {} {}{} for {:.1f} s (step {})\n", rank,
                     status->answers ? "" : "does not answer; by its status page it ",
                     describe(program, *status, rank), seconds, status->step);
}

// Where the waits lead from one rank: each waits for the next, the last for nobody - or for one
// that is on the way already, which closes a cycle.
struct Way {
  std::vector<int> ranks;
  std::vector<int> cycle;  // its first rank again at the end; empty if there is none
};

Way follow(const Program& program, Statuses statuses, int from) {
  Way way;
  for (int rank = from; rank >= 0; rank = awaited_rank(program, statuses, rank)) {
    const auto visited = std::find(way.ranks.begin(), way.ranks.end(), rank);
    if (visited != way.ranks.end()) {
      way.cycle.assign(visited, way.ranks.end());
      way.cycle.push_back(rank);
      break;
    }
    way.ranks.push_back(rank);
  }
  return way;
}

// The way from the reporter; but if that ends without a cycle and another way does not, that one.
Way telling_way(const Program& program, Statuses statuses, int reporter) {
  Way own = follow(program, statuses, reporter);
  for (int rank = 0; own.cycle.empty() && std::cmp_less(rank, statuses.size()); ++rank) {
    Way way = follow(program, statuses, rank);
    if (!way.cycle.empty()) {
      return way;
    }
  }
  return own;
}

std::string verdict(const Way& way) {
  if (way.cycle.empty()) {
    return fmt::format("no cycle; suspect rank {}", way.ranks.back());
  }
  std::string text = "cycle: ";
  const char* separator = "";
  for (const int rank : way.cycle) {
    text += fmt::format("{}rank {}", std::exchange(separator, " -> "), rank);
  }
  return text;
}

}  // namespace

std::string who_waits_for_whom(const Program& program, Statuses statuses, int reporter) {
  CHECK(std::cmp_equal(statuses.size(), program.pipeline().ranks()));
  CHECK(0 <= reporter && reporter < program.pipeline().ranks());
  const Way way = telling_way(program, statuses, reporter);
  std::string report;
  std::vector<int> listed;
  for (int rank = 0; std::cmp_less(rank, statuses.size()); ++rank) {
    const std::optional<RankStatus>& status = statuses[static_cast<std::size_t>(rank)];
    const bool telling = std::find(way.ranks.begin(), way.ranks.end(), rank) != way.ranks.end() ||
                         !status || !status->answers;
    if (telling || rank == reporter || statuses.size() <= ranks_listed_max) {
      report += line_of(program, statuses, rank);
      listed.push_back(rank);
    }
  }
  if (listed.size() < statuses.size()) {
    report +=
        fmt::format("({} other ranks are not part of this)\n", statuses.size() - listed.size());
  }
  report += verdict(way);
  for (const int rank : listed) {
    if (const std::optional<RankStatus>& status = statuses[static_cast<std::size_t>(rank)]) {
      report += past_line(program, *status, rank);
    }
  }
  return report;
}

std::chrono::nanoseconds op_timeout_of(double seconds, std::string_view option) {
  const bool fits = op_timeout_seconds_min <= seconds && seconds <= op_timeout_seconds_max;
  if (!fits) {  // a number that is none does not, either
    throw Error(ExitCode::usage,
                fmt::format("{}: expected {:g} to {:g} seconds, found {:g}", option,
                            op_timeout_seconds_min, op_timeout_seconds_max, seconds));
  }
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
      std::chrono::duration<double>(seconds));
}

BoundedWait::BoundedWait(const Program& program, Transport& transport,
                         std::chrono::nanoseconds op_timeout, const ReportLimits& limits)
    : program_(program), transport_(transport), op_timeout_(op_timeout), limits_(limits) {
  CHECK(op_timeout > std::chrono::nanoseconds(0));
}

bool BoundedWait::is_done(Ticket ticket, Deadline deadline) const {
  try {
    return transport_.wait(ticket, deadline);
  } catch (const OperationFailure& failure) {
    const int rank = transport_.rank();
    const RankStatus status = transport_.status().read();
    throw Error(ExitCode::transport,
                fmt::format("rank {}, which {}: {}{}", rank, describe(program_, status, rank),
                            failure.what(), past_line(program_, status, rank)));
  }
}

void BoundedWait::wait(Ticket ticket) const {
  if (!is_done(ticket, Clock::now() + op_timeout_)) {
    report_late([&](Deadline deadline) { return is_done(ticket, deadline); });
  }
}

// In slices, because nothing but the transport knows that the job is being aborted.
void BoundedWait::wait_for_mark(std::size_t mark) const {
  Device& device = transport_.device();
  const auto wait_until = [&](Deadline deadline) {
    while (!device.wait(mark, std::min(deadline, Clock::now() + slice))) {
      transport_.check();
      if (Clock::now() >= deadline) {
        return false;
      }
    }
    return true;
  };
  if (!wait_until(Clock::now() + op_timeout_)) {
    report_late(wait_until);
  }
}

void BoundedWait::report_late(const std::function<bool(Deadline)>& wait_until) const {
  const LastResort timer(limits_.answer + limits_.report + limits_.grace, ExitCode::timeout,
                         fmt::format("rank {} has waited too long and got stuck while it reported "
                                     "that",
                                     transport_.rank()));
  const std::string late = fmt::format("rank {} has waited longer than {:g} s", transport_.rank(),
                                       std::chrono::duration<double>(op_timeout_).count());
  const std::optional<std::vector<std::optional<RankStatus>>> statuses =
      transport_.collect_status(Clock::now() + limits_.answer);
  std::string report;
  if (statuses) {
    report = late + "\n" + who_waits_for_whom(program_, *statuses, transport_.rank());
  } else if (wait_until(Clock::now() + limits_.report)) {
    return;  // it came after all; the abort that is on its way meets the next wait
  } else {
    report = fmt::format("{}; the rank that reports on it did not end the job within {:g} s", late,
                         std::chrono::duration<double>(limits_.report).count());
  }
  transport_.abort(ExitCode::timeout, report);
  throw Error(ExitCode::timeout, report);
}

}  // namespace dualpipe
