#include "sim/events.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <queue>
#include <span>
#include <utility>
#include <vector>

#include "costs/check.h"
#include "costs/cost_model.h"
#include "scheduler/memory.h"
#include "scheduler/pipeline.h"
#include "scheduler/program.h"
#include "scheduler/schedule.h"
#include "sim/communicators.h"
#include "sim/durations.h"
#include "sim/fair_share.h"
#include "sim/network.h"
#include "sim/tail.h"
#include "trace/timeline.h"

namespace dualpipe {
namespace {

using Kind = Instruction::Kind;
using Mode = NetworkModel::Mode;
using Sharing = NetworkModel::Sharing;

constexpr std::int32_t none = -1;

std::size_t at(std::int32_t index) {
  return static_cast<std::size_t>(index);
}

// The ports of every channel, and how many there are. A directed pair of ranks is one port. A rank
// has four: out and in, of the network and of its node.
struct PortMap {
  std::vector<FairShare::Ports> of_channel;
  int count = 0;
};

PortMap map_ports(const Program& program, const CostModel& costs, Sharing sharing) {
  PortMap map;
  std::map<std::pair<int, int>, std::int32_t> pairs;
  for (const Channel& channel : program.channels()) {
    if (sharing == Sharing::nic) {
      const int in_node = costs.is_in_node(channel.source, channel.destination) ? 2 : 0;
      map.of_channel.push_back(
          {4 * channel.source + in_node, 4 * channel.destination + in_node + 1});
    } else {
      const std::int32_t pair = pairs
                                    .try_emplace({channel.source, channel.destination},
                                                 static_cast<std::int32_t>(pairs.size()))
                                    .first->second;
      map.of_channel.push_back({pair, FairShare::none});
    }
  }
  map.count =
      sharing == Sharing::nic ? 4 * program.pipeline().ranks() : static_cast<int>(pairs.size());
  return map;
}

// `whole` in the ratio of the link's two parts.
Link split(Time whole, const Link& link) {
  if (whole == link.time()) {
    return link;
  }
  const double share = link.time() == Time{} ? 1.0
                                             : static_cast<double>(link.latency.count()) /
                                                   static_cast<double>(link.time().count());
  const Time latency(static_cast<std::int64_t>(static_cast<double>(whole.count()) * share));
  return {.latency = latency, .busy = whole - latency};
}

class Engine {
 public:
  Engine(const Program& program, const CostModel& costs, const NetworkModel& network,
         const StepDurations& durations)
      : program_(program),
        costs_(costs),
        network_(network),
        durations_(durations),
        communicators_(program),
        ports_(map_ports(program, costs, network.sharing)),
        fair_share_(ports_.count),
        arrived_(program.messages().size(), false) {}

  Timeline run() {
    prepare();
    for (;;) {
      settle();
      if (events_.empty()) {
        break;
      }
      now_ = events_.top().time;
      while (!events_.empty() && events_.top().time == now_) {
        const Event event = events_.top();
        events_.pop();
        take(event);
      }
    }
    for (const Rank& rank : ranks_) {
      CHECK(rank.rest.empty());
    }
    append_tail(timeline_, costs_);
    return std::move(timeline_);
  }

 private:
  struct Event {
    enum class Kind : std::uint8_t { slot_end, latency_over, arrival, flow_end };
    Time time{};
    Kind kind = Kind::slot_end;
    std::int32_t number = 0;  // rank, message, message, flow

    auto operator<=>(const Event&) const = default;
  };

  struct Rank {
    std::span<const Instruction> rest;
    const Slot* slots = nullptr;
    const Time* durations = nullptr;
    std::vector<Span>* spans = nullptr;
    std::int32_t awaited = none;  // message whose end it waits for
    std::int32_t group = 0;       // of what it posts next
    bool is_computing = false;
    bool is_waiting_for_link = false;     // its next slot must wait for transfers (blocking)
    int transfers = 0;                    // that have a claim on it (blocking)
    std::vector<Instruction> gathered;    // operations of the open group
    std::vector<std::int32_t> held_back;  // transfers that wait for its slot, or its peer's, to end
  };

  void prepare();
  void settle();
  void take(const Event& event);
  void advance(int rank);
  [[nodiscard]] bool must_wait(Rank& rank, const Instruction& instruction) const;
  void post(int rank, const Instruction& instruction);
  void begin_slot(int rank);
  void end_slot(int rank);
  void allow(std::int32_t message);
  void begin_transfer(std::int32_t message);
  void add_flow(std::int32_t message);
  void arrive(std::int32_t message);
  void release(int rank);
  [[nodiscard]] Link link_of(std::int32_t message) const;
  [[nodiscard]] Rank& rank_of(int rank) { return ranks_[at(rank)]; }
  [[nodiscard]] const Channel& channel_of(std::int32_t message) const {
    return program_.channel_of(program_.message(message));
  }
  void push(Time time, Event::Kind kind, std::int32_t number) {
    events_.push({.time = time, .kind = kind, .number = number});
  }

  const Program& program_;
  const CostModel& costs_;
  const NetworkModel& network_;
  const StepDurations& durations_;
  Communicators communicators_;  // not used where transfers are eager
  PortMap ports_;
  FairShare fair_share_;
  std::vector<Rank> ranks_;
  std::vector<bool> arrived_;  // [message]
  std::vector<std::int32_t> message_of_flow_;
  std::priority_queue<Event, std::vector<Event>, std::greater<>> events_;
  Time now_{};
  // What is to be done at this time, before anything later.
  std::vector<int> ready_;             // ranks that may go on
  std::vector<int> starting_;          // ranks whose next instruction is a slot
  std::vector<std::int32_t> allowed_;  // transfers that may begin
  Timeline timeline_;
};

void Engine::prepare() {
  const Pipeline& pipeline = program_.pipeline();
  timeline_.pipeline = pipeline;
  timeline_.stage_bytes = stage_bytes_of(costs_);
  timeline_.ranks.resize(at(pipeline.ranks()));
  timeline_.transfers.reserve(program_.messages().size());
  for (const Message& message : program_.messages()) {
    const Channel& channel = program_.channel_of(message);
    timeline_.transfers.push_back(
        {.value = message.value, .source = channel.source, .destination = channel.destination});
  }
  const std::vector<std::size_t> first = first_slots(program_);
  ranks_.resize(at(pipeline.ranks()));
  for (int rank = 0; rank < pipeline.ranks(); ++rank) {
    Rank& state = rank_of(rank);
    state.rest = program_.instructions(rank);
    state.slots = program_.slots(rank).data();
    state.durations = durations_.slots.data() + first[at(rank)];
    state.spans = &timeline_.ranks[at(rank)];
    state.spans->reserve(program_.slots(rank).size());
    ready_.push_back(rank);
  }
}

// All that follows at this time from what has happened. Slots begin last, and only when nothing
// else is left to happen now.
void Engine::settle() {
  while (!ready_.empty() || !allowed_.empty()) {
    while (!ready_.empty()) {
      const int rank = ready_.back();
      ready_.pop_back();
      advance(rank);
    }
    while (!allowed_.empty()) {
      const std::int32_t message = allowed_.back();
      allowed_.pop_back();
      allow(message);
    }
  }
  for (const std::int32_t flow : fair_share_.settle(now_)) {
    push(fair_share_.end(flow), Event::Kind::flow_end, flow);
  }
  if (!events_.empty() && events_.top().time == now_) {
    return;
  }
  for (const int rank : starting_) {
    begin_slot(rank);
  }
  starting_.clear();
}

void Engine::take(const Event& event) {
  switch (event.kind) {
    case Event::Kind::slot_end:
      end_slot(event.number);
      break;
    case Event::Kind::latency_over:
      add_flow(event.number);
      break;
    case Event::Kind::arrival:
      arrive(event.number);
      break;
    case Event::Kind::flow_end:
      // Of an end that has since moved, or of a flow that is gone, nothing is left but this event.
      if (const std::int32_t message = message_of_flow_[at(event.number)];
          message != none && fair_share_.end(event.number) == now_) {
        message_of_flow_[at(event.number)] = none;
        fair_share_.remove(event.number);
        arrive(message);
      }
      break;
  }
}

// Executes a rank's instructions up to its next slot, or until it must wait.
void Engine::advance(int index) {
  Rank& rank = rank_of(index);
  for (; !rank.rest.empty(); rank.rest = rank.rest.subspan(1)) {
    const Instruction instruction = rank.rest.front();
    switch (instruction.kind) {
      case Kind::run:
        starting_.push_back(index);
        return;
      case Kind::send:
      case Kind::receive:
        post(index, instruction);
        break;
      case Kind::end_group:
        for (const Instruction& operation : rank.gathered) {
          communicators_.post(operation.index, operation.kind == Kind::send, rank.group, allowed_);
        }
        rank.gathered.clear();
        ++rank.group;
        break;
      case Kind::await_received:
      case Kind::await_sent:
        if (must_wait(rank, instruction)) {
          return;
        }
        break;
    }
  }
}

bool Engine::must_wait(Rank& rank, const Instruction& instruction) const {
  const bool is_free = instruction.kind == Kind::await_sent && network_.mode == Mode::eager;
  const bool waits = !is_free && !arrived_[at(instruction.index)];
  rank.awaited = waits ? instruction.index : none;
  return waits;
}

void Engine::post(int index, const Instruction& instruction) {
  Rank& rank = rank_of(index);
  const bool is_send = instruction.kind == Kind::send;
  if (network_.mode == Mode::eager) {
    if (is_send) {
      allowed_.push_back(instruction.index);
    }
  } else if (network_.mode == Mode::grouped) {
    rank.gathered.push_back(instruction);
  } else {
    communicators_.post(instruction.index, is_send, rank.group++, allowed_);
  }
}

void Engine::begin_slot(int index) {
  Rank& rank = rank_of(index);
  if (rank.transfers > 0) {
    rank.is_waiting_for_link = true;
    return;
  }
  const std::int32_t slot = rank.rest.front().index;
  const Time end = now_ + rank.durations[slot];
  rank.spans->push_back({.slot = rank.slots[slot], .begin = now_, .end = end});
  rank.is_computing = true;
  push(end, Event::Kind::slot_end, index);
}

void Engine::end_slot(int index) {
  Rank& rank = rank_of(index);
  rank.rest = rank.rest.subspan(1);
  rank.is_computing = false;
  ready_.push_back(index);
  const std::vector<std::int32_t> held_back = std::exchange(rank.held_back, {});
  for (const std::int32_t message : held_back) {
    const Channel& channel = channel_of(message);
    const int peer = channel.source == index ? channel.destination : channel.source;
    if (rank_of(peer).is_computing) {
      rank_of(peer).held_back.push_back(message);
    } else {
      begin_transfer(message);
    }
  }
}

// The transfer has all it needs, but perhaps for the slots that its ends are in: it is held back by
// one of them, and looks for the other when that is over.
void Engine::allow(std::int32_t message) {
  if (!network_.blocking) {
    begin_transfer(message);
    return;
  }
  const Channel& channel = channel_of(message);
  Rank& source = rank_of(channel.source);
  Rank& destination = rank_of(channel.destination);
  ++source.transfers;
  ++destination.transfers;
  if (source.is_computing || destination.is_computing) {
    (source.is_computing ? source : destination).held_back.push_back(message);
  } else {
    begin_transfer(message);
  }
}

void Engine::begin_transfer(std::int32_t message) {
  timeline_.transfers[at(message)].begin = now_;
  const Link link = link_of(message);
  if (network_.sharing == Sharing::none || link.busy == Time{}) {
    push(now_ + link.time(), Event::Kind::arrival, message);
  } else {
    push(now_ + link.latency, Event::Kind::latency_over, message);
  }
}

Link Engine::link_of(std::int32_t message) const {
  const Channel& channel = channel_of(message);
  return split(durations_.transfers[at(message)], costs_.link(channel.source, channel.destination));
}

void Engine::add_flow(std::int32_t message) {
  const FairShare::Ports& ports = ports_.of_channel[at(program_.message(message).channel)];
  const std::int32_t flow = fair_share_.add(ports, link_of(message).busy, now_);
  message_of_flow_.resize(std::max(message_of_flow_.size(), at(flow) + 1), none);
  message_of_flow_[at(flow)] = message;
}

void Engine::arrive(std::int32_t message) {
  timeline_.transfers[at(message)].end = now_;
  arrived_[at(message)] = true;
  const Channel& channel = channel_of(message);
  for (const int index : {channel.source, channel.destination}) {
    Rank& rank = rank_of(index);
    if (rank.awaited == message) {
      rank.awaited = none;
      ready_.push_back(index);
    }
    release(index);
  }
  if (network_.mode != Mode::eager) {
    communicators_.finish(message, allowed_);
  }
}

void Engine::release(int index) {
  Rank& rank = rank_of(index);
  if (network_.blocking && --rank.transfers == 0 && rank.is_waiting_for_link) {
    rank.is_waiting_for_link = false;
    starting_.push_back(index);
  }
}

}  // namespace

Timeline simulate_events(const Program& program, const CostModel& costs,
                         const NetworkModel& network) {
  return simulate_events(program, costs, network, nominal_durations(program, costs));
}

Timeline simulate_events(const Program& program, const CostModel& costs,
                         const NetworkModel& network, const StepDurations& durations) {
  CHECK(costs.stages.size() == at(program.pipeline().stages()));
  CHECK(durations.slots.size() == first_slots(program).back() &&
        durations.transfers.size() == program.messages().size());
  CHECK(network.mode == Mode::eager ||
        (program.semantics().buffering == 0 &&
         program.semantics().grouped == (network.mode == Mode::grouped)));
  return Engine(program, costs, network, durations).run();
}

}  // namespace dualpipe
