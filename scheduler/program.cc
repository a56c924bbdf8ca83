#include "scheduler/program.h"

#include <string>
#include <string_view>

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

std::string to_string(const Channel& channel) {
  return std::string(channel.kind == ValueKind::activation ? "activation " : "gradient ") +
         std::to_string(channel.source) + "->" + std::to_string(channel.destination);
}

}  // namespace dualpipe
