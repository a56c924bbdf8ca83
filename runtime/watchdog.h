// What to say when a wait has passed its deadline: who waits for whom, whether they wait in a
// circle, and which rank is the suspect if they do not. A rank waits for at most one other.

#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "runtime/status.h"
#include "runtime/transport.h"
#include "scheduler/program.h"

namespace dualpipe {

// One line per rank, then where the waits lead, seen from `reporter`. For example:
//   rank 0 waits to receive gradient 1->0 #2 (stage 1, microbatch 2) for 5.0 s
//   rank 1 is inside 1B2 for 312.0 s
//   no cycle; suspect rank 1
//   rank 0 before: 0F5 1.204 ms, receive gradient 1->0 #1 0.350 ms, 0B1 2.411 ms
//   rank 1 before: 1F2 1.198 ms
// Beyond 16 ranks only those are listed that are on the way from the reporter or in a cycle.
// `statuses` has one entry per rank; nothing where the rank did not answer. No newline at the end.
[[nodiscard]] std::string who_waits_for_whom(const Program& program,
                                             std::span<const std::optional<RankStatus>> statuses,
                                             int reporter);

// How long a single wait may be given: a shorter time passes whenever a thread is not scheduled, a
// longer one would overflow where train() multiplies it.
inline constexpr double op_timeout_seconds_min = 0.001;
inline constexpr double op_timeout_seconds_max = 1e6;
// Throws Error (usage) naming `option` beyond these bounds.
[[nodiscard]] std::chrono::nanoseconds op_timeout_of(double seconds, std::string_view option);

// How long the parts of reporting may take, once a wait has passed its deadline.
struct ReportLimits {
  std::chrono::milliseconds answer{2000};   // for a rank to say what it is doing
  std::chrono::milliseconds report{10000};  // for the reporting rank to end the job
  std::chrono::milliseconds grace{3000};    // for all else that reporting takes
};

// Waits with a deadline. One per rank, used for every wait of a run.
class BoundedWait {
 public:
  // Requires: op_timeout > 0. Both references must outlive this object.
  BoundedWait(const Program& program, Transport& transport, std::chrono::nanoseconds op_timeout,
              const ReportLimits& limits = {});

  [[nodiscard]] Transport& transport() const { return transport_; }

  // Waits until the ticket is done. When the deadline passes: collects every rank's status, aborts
  // the job with the report of who waits for whom, and throws Error (timeout) with it; when another
  // rank is reporting already, waits for its abort and throws what that says. The report is as good
  // as the status pages: publish what is waited for before waiting. Should reporting itself get
  // stuck, the process ends with the code of a timeout when its limits are over. Throws Error
  // (transport) when the operation has failed, saying which it was.
  void wait(Ticket ticket) const;
  // The same for a mark in the queue of the transport's device.
  void wait_for_mark(std::size_t mark) const;

 private:
  // Returns when what is waited for came after all.
  void report_late(const std::function<bool(Deadline)>& wait_until) const;
  [[nodiscard]] bool is_done(Ticket ticket, Deadline deadline) const;

  const Program& program_;
  Transport& transport_;
  std::chrono::nanoseconds op_timeout_;
  ReportLimits limits_;
};

}  // namespace dualpipe
