#include "trace/links.h"

#include <algorithm>
#include <cstddef>
#include <map>
#include <tuple>
#include <utility>
#include <vector>

#include "costs/cost_model.h"
#include "scheduler/op.h"
#include "trace/spread.h"
#include "trace/timeline.h"

namespace dualpipe {
namespace {

struct Journey {
  double bytes = 0.0;
  double time = 0.0;
  bool was_awaited = false;  // its receiver had nothing else to do
};

using Arrival = std::tuple<int, Value>;  // at a rank

// Whether each transfer found its receiver waiting. A slot's messages are noticed one after
// another: a later one may have come before the one that was noticed first.
std::vector<bool> find_awaited(const Timeline& timeline) {
  std::map<Arrival, std::size_t> transfers;
  for (std::size_t index = 0; index < timeline.transfers.size(); ++index) {
    const Transfer& transfer = timeline.transfers[index];
    transfers[{transfer.destination, transfer.value}] = index;
  }
  std::vector<bool> awaited(timeline.transfers.size(), false);
  for (std::size_t rank = 0; rank < timeline.ranks.size(); ++rank) {
    Time free_since{};
    for (const Span& span : timeline.ranks[rank]) {
      std::vector<std::size_t> read;
      for (const Op& op : span.slot) {
        for (const Value& value : reads(op, timeline.pipeline.stages())) {
          const auto found = transfers.find({static_cast<int>(rank), value});
          if (found != transfers.end()) {
            read.push_back(found->second);
          }
        }
      }
      std::ranges::sort(read, {}, [&](std::size_t index) { return timeline.transfers[index].end; });
      for (const std::size_t index : read) {
        awaited[index] = free_since <= timeline.transfers[index].begin;
        free_since = std::max(free_since, timeline.transfers[index].end);
      }
      free_since = std::max(free_since, span.end);
    }
  }
  return awaited;
}

struct Point {
  double bytes = 0.0;
  double time = 0.0;
  double weight = 0.0;
};

// Requires: two points of different bytes.
void fit_line(const std::vector<Point>& points, LinkFit& fit) {
  double weight = 0.0;
  double bytes = 0.0;
  double time = 0.0;
  for (const Point& point : points) {
    weight += point.weight;
    bytes += point.weight * point.bytes;
    time += point.weight * point.time;
  }
  bytes /= weight;
  time /= weight;
  double both = 0.0;
  double squares = 0.0;
  double through_zero = 0.0;
  double squares_from_zero = 0.0;
  for (const Point& point : points) {
    both += point.weight * (point.bytes - bytes) * (point.time - time);
    squares += point.weight * (point.bytes - bytes) * (point.bytes - bytes);
    through_zero += point.weight * point.bytes * point.time;
    squares_from_zero += point.weight * point.bytes * point.bytes;
  }
  fit.per_byte = std::max(0.0, both / squares);
  fit.latency = time - bytes * fit.per_byte;
  if (fit.latency < 0.0) {
    fit.latency = 0.0;
    fit.per_byte = through_zero / squares_from_zero;
  }
}

LinkFit fit_of(const std::vector<Journey>& journeys) {
  LinkFit fit;
  fit.messages = static_cast<int>(journeys.size());
  std::map<double, std::vector<double>> times_of_size;
  std::vector<double> times;
  std::vector<double> others;
  double bytes = 0.0;
  for (const Journey& journey : journeys) {
    if (journey.was_awaited) {
      times_of_size[journey.bytes].push_back(journey.time);
      times.push_back(journey.time);
      bytes += journey.bytes;
    } else {
      others.push_back(journey.time);
    }
  }
  fit.travel = spread_of(times);
  fit.bytes = times.empty() ? 0.0 : bytes / static_cast<double>(times.size());
  fit.has_sizes = times_of_size.size() > 1;
  fit.latency = fit.travel.median;
  if (fit.has_sizes) {
    std::vector<Point> points;
    for (const auto& [size, some] : times_of_size) {
      points.push_back({.bytes = size,
                        .time = spread_of(some).median,
                        .weight = static_cast<double>(some.size())});
    }
    fit_line(points, fit);
  }
  fit.waited = others.empty() ? 0.0 : std::max(0.0, spread_of(others).mean - fit.time());
  return fit;
}

}  // namespace

LinkFits fit_links(const Timeline& timeline) {
  const std::vector<bool> awaited = find_awaited(timeline);
  std::vector<Journey> journeys;
  std::map<std::pair<int, int>, std::vector<Journey>> of_link;
  for (std::size_t index = 0; index < timeline.transfers.size(); ++index) {
    const Transfer& transfer = timeline.transfers[index];
    const Journey journey{.bytes = static_cast<double>(transfer.bytes),
                          .time = static_cast<double>((transfer.end - transfer.begin).count()),
                          .was_awaited = awaited[index]};
    journeys.push_back(journey);
    of_link[{transfer.source, transfer.destination}].push_back(journey);
  }
  LinkFits fits{.all = fit_of(journeys), .links = {}, .log_deviation = 0.0};
  for (const auto& [ends, own] : of_link) {
    fits.links.push_back(fit_of(own));
    fits.links.back().source = ends.first;
    fits.links.back().destination = ends.second;
  }
  std::vector<double> ratios;
  for (const Journey& journey : journeys) {
    const double expected = fits.all.latency + journey.bytes * fits.all.per_byte;
    if (journey.was_awaited && expected > 0.0) {
      ratios.push_back(journey.time / expected);
    }
  }
  fits.log_deviation = log_deviation(ratios);
  return fits;
}

}  // namespace dualpipe
