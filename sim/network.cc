#include "sim/network.h"

#include "scheduler/communication.h"
#include "scheduler/compile.h"
#include "scheduler/schedule.h"

namespace dualpipe {

Compilation compile_for(NetworkModel::Mode mode, const Schedule& schedule,
                        const CommunicationOrder& grouped_order) {
  switch (mode) {
    case NetworkModel::Mode::eager:
      return compile_with_least_buffers(schedule);
    case NetworkModel::Mode::rendezvous:
      return compile(schedule, {.receives_ahead = 0, .send_slots = 1});
    case NetworkModel::Mode::grouped:
      return compile(schedule, {.grouped = true, .receives_ahead = 0, .send_slots = 1},
                     grouped_order);
  }
  return {};
}

}  // namespace dualpipe
