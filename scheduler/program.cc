#include "scheduler/program.h"

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "scheduler/op.h"

namespace dualpipe {

std::string_view to_string(Topology topology) {
  switch (topology) {
    case Topology::channel:
      return "channel";
    case Topology::edge:
      return "edge";
    case Topology::pair:
      return "pair";
    case Topology::direction:
      return "direction";
    case Topology::world:
      return "world";
  }
  return "";
}

std::pair<int, int> communicator_of(const Channel& channel, std::int32_t index, Topology topology) {
  switch (topology) {
    case Topology::channel:
      return {index, 0};
    case Topology::edge:
      return {channel.source, channel.destination};
    case Topology::pair:
      return std::minmax(channel.source, channel.destination);
    case Topology::direction:
      return {channel.destination > channel.source ? 1 : 0, 0};
    case Topology::world:
      return {0, 0};
  }
  return {0, 0};
}

std::string to_string(const Channel& channel) {
  return std::string(channel.kind == ValueKind::activation ? "activation " : "gradient ") +
         std::to_string(channel.source) + "->" + std::to_string(channel.destination);
}

}  // namespace dualpipe
