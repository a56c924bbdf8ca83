#include "runtime/watchdog.h"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <fmt/core.h>

#include "costs/check.h"
#include "costs/error.h"
#include "runtime/device.h"
#include "runtime/status.h"
#include "runtime/transport.h"
#include "scheduler/pipeline.h"
#include "scheduler/program.h"
#include "scheduler/schedule.h"

namespace dualpipe {
namespace {

using Clock = std::chrono::steady_clock;
using Statuses = std::span<const std::optional<RankStatus>>;

constexpr std::size_t ranks_listed_max = 16;
constexpr std::chrono::seconds answer_limit{2};   // for a rank to say what it is doing
constexpr std::chrono::seconds report_limit{10};  // for the reporting rank to end the job
constexpr std::chrono::milliseconds slice{20};    // between two looks at whether the job goes on

// The other rank that holds `stage`, or -1.
int other_holder(const Placement& placement, int stage, int rank) {
  for (const std::vector<int>& rank_of_stage : placement.rank_of_stage) {
    const int holder = rank_of_stage[static_cast<std::size_t>(stage)];
    if (holder != rank) {
      return holder;
    }
  }
  return -1;
}

// The rank that `rank` waits for, or -1.
int awaited_rank(const Program& program, Statuses statuses, int rank) {
  const std::optional<RankStatus>& status = statuses[static_cast<std::size_t>(rank)];
  if (!status) {
    return -1;
  }
  switch (status->activity) {
    case Activity::awaiting_receive:
      return program.channel_of(program.message(status->index)).source;
    case Activity::awaiting_send:
      return program.channel_of(program.message(status->index)).destination;
    case Activity::reducing_replicas:
      return other_holder(program.pipeline().placement, status->index, rank);
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

std::string describe(const Program& program, std::int32_t index) {
  const Message& message = program.message(index);
  return fmt::format("{} #{} (stage {}, microbatch {})", to_string(program.channel_of(message)),
                     message.sequence, message.value.stage, message.value.microbatch);
}

std::string describe(const Program& program, const RankStatus& status, int rank) {
  switch (status.activity) {
    case Activity::starting:
      return "has not begun its first step";
    case Activity::running:
      return "is inside " + to_string(program.slots(rank)[static_cast<std::size_t>(status.index)]);
    case Activity::awaiting_receive:
      return "waits to receive " + describe(program, status.index);
    case Activity::awaiting_send:
      return "waits to send " + describe(program, status.index);
    case Activity::reducing_replicas:
      return fmt::format("waits to add the gradient of stage {} with rank {}", status.index,
                         other_holder(program.pipeline().placement, status.index, rank));
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

std::string line_of(const Program& program, Statuses statuses, int rank) {
  const std::optional<RankStatus>& status = statuses[static_cast<std::size_t>(rank)];
  if (!status) {
    return fmt::format("rank {} does not answer\n", rank);
  }
  const double seconds = static_cast<double>(status->now_ns - status->since_ns) * 1e-9;
  return fmt::format("rank {} {} for {:.1f} s (step {})\n", rank, describe(program, *status, rank),
                     seconds, status->step);
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
  std::size_t omitted = 0;
  for (int rank = 0; std::cmp_less(rank, statuses.size()); ++rank) {
    const bool telling = std::find(way.ranks.begin(), way.ranks.end(), rank) != way.ranks.end() ||
                         !statuses[static_cast<std::size_t>(rank)];
    if (telling || rank == reporter || statuses.size() <= ranks_listed_max) {
      report += line_of(program, statuses, rank);
    } else {
      ++omitted;
    }
  }
  if (omitted > 0) {
    report += fmt::format("({} other ranks are not part of this)\n", omitted);
  }
  return report + verdict(way);
}

BoundedWait::BoundedWait(const Program& program, Transport& transport,
                         std::chrono::nanoseconds op_timeout)
    : program_(program), transport_(transport), op_timeout_(op_timeout) {
  CHECK(op_timeout > std::chrono::nanoseconds(0));
}

bool BoundedWait::is_done(Ticket ticket, Deadline deadline) const {
  try {
    return transport_.wait(ticket, deadline);
  } catch (const OperationFailure& failure) {
    const int rank = transport_.rank();
    throw Error(ExitCode::transport,
                fmt::format("rank {}, which {}: {}", rank,
                            describe(program_, transport_.status().read(), rank), failure.what()));
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
  const std::string late = fmt::format("rank {} has waited longer than {:g} s", transport_.rank(),
                                       std::chrono::duration<double>(op_timeout_).count());
  const std::optional<std::vector<std::optional<RankStatus>>> statuses =
      transport_.collect_status(Clock::now() + answer_limit);
  std::string report;
  if (statuses) {
    report = late + "\n" + who_waits_for_whom(program_, *statuses, transport_.rank());
  } else if (wait_until(Clock::now() + report_limit)) {
    return;  // it came after all; the abort that is on its way meets the next wait
  } else {
    report = fmt::format("{}; the rank that reports on it did not end the job within {} s", late,
                         report_limit.count());
  }
  transport_.abort(ExitCode::timeout, report);
  throw Error(ExitCode::timeout, report);
}

}  // namespace dualpipe
