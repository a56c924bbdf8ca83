// What a measured timeline shows of the links between ranks: how long messages travel when nothing
// holds them up, and how that splits into latency and bandwidth.
//
// A transfer is measured from its send to when its receiver has noticed it. A receiver that is busy
// notices late, so only messages that found their receiver waiting count: when they were sent, the
// slot before the one that reads them had ended there, and what that slot reads besides had come.
// A sender that is late does no harm, for the time begins with it. By then the receive is posted
// too, for a rank posts it before it waits.
//
// What a link takes is the median of these: the waking up of threads is part of every message, and
// a few that waited for a processor do not move it. Where ranks compute on fewer processors than
// they are, most messages wait for one, and the link seems as slow as it then is.

#pragma once

#include <cstdint>
#include <vector>

#include "trace/spread.h"
#include "trace/timeline.h"

namespace dualpipe {

// Times in nanoseconds.
struct LinkFit {
  int source = -1;  // -1 and -1: all links together
  int destination = -1;
  int messages = 0;     // all of them
  Spread travel;        // of those that found their receiver waiting
  double waited = 0.0;  // of the others, the mean of how much longer than time() they took

  // A message of so many bytes takes latency + bytes * per_byte. Where only one size was seen, the
  // two cannot be told apart, and all is latency: the median.
  bool has_sizes = false;
  double latency = 0.0;
  double per_byte = 0.0;
  double bytes = 0.0;  // the mean message, of those that found their receiver waiting

  // Of the mean message.
  [[nodiscard]] double time() const { return latency + bytes * per_byte; }
};

struct LinkFits {
  LinkFit all;
  std::vector<LinkFit> links;  // by source, then destination; those with messages
  double log_deviation = 0.0;  // of what transfers took over what the fit of `all` says; spread.h
};

// Where sizes differ, the line of least squares through the median time of each size, weighted by
// its number of messages. A line that falls, or begins below zero, is moved to the nearest that
// does not: the flat one, or the one through zero.
[[nodiscard]] LinkFits fit_links(const Timeline& timeline);

}  // namespace dualpipe
