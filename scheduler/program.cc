#include "scheduler/program.h"

#include <string>

#include "scheduler/op.h"

namespace dualpipe {

std::string to_string(const Channel& channel) {
  return std::string(channel.kind == ValueKind::activation ? "activation " : "gradient ") +
         std::to_string(channel.source) + "->" + std::to_string(channel.destination);
}

}  // namespace dualpipe
