#include "tests/simgrid/play.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <map>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <simgrid/forward.h>
#include <simgrid/s4u/Actor.hpp>
#include <simgrid/s4u/Comm.hpp>
#include <simgrid/s4u/Engine.hpp>
#include <simgrid/s4u/Host.hpp>
#include <simgrid/s4u/Link.hpp>
#include <simgrid/s4u/Mailbox.hpp>
#include <simgrid/s4u/NetZone.hpp>
#include <sys/wait.h>
#include <unistd.h>

#include "costs/check.h"
#include "costs/cost_model.h"
#include "scheduler/program.h"
#include "scheduler/schedule.h"
#include "scheduler/slot_time.h"
#include "sim/network.h"

namespace dualpipe {
namespace {

namespace s4u = simgrid::s4u;
using Mode = NetworkModel::Mode;
using Sharing = NetworkModel::Sharing;
using Played = std::vector<std::vector<PlayedSlot>>;

// SimGrid counts in seconds, flops and bytes. With these, a flop or a byte takes a nanosecond.
constexpr double per_second = 1e9;

// Bytes per second where a message is nothing but latency. It has one byte all the same: of none, a
// permanent receiver's get() believes that they are there before the latency is over.
constexpr double instant = 1e18;

std::size_t at(int index) {
  return static_cast<std::size_t>(index);
}

double seconds(Time time) {
  return static_cast<double>(time.count()) / per_second;
}

double now() {
  return s4u::Engine::get_clock() * per_second;
}

// One host per rank, and for every two ranks with messages a way that has the link's latency and
// its bandwidth. What a way shares is the way itself (pair) or ports that are on the route too
// (nic); a FATPIPE gives its whole bandwidth to everyone.
class Platform {
 public:
  Platform(const Program& program, const CostModel& costs, Sharing sharing)
      : costs_(costs), sharing_(sharing), zone_(s4u::create_full_zone("cluster")) {
    for (int rank = 0; rank < program.pipeline().ranks(); ++rank) {
      hosts_.push_back(zone_->create_host(fmt::format("rank {}", rank), per_second));
    }
    std::set<std::pair<int, int>> connected;
    for (const Channel& channel : program.channels()) {
      if (connected.emplace(channel.source, channel.destination).second) {
        connect(channel.source, channel.destination);
      }
    }
    zone_->seal();
  }

  [[nodiscard]] s4u::Host* host(int rank) const { return hosts_[at(rank)]; }

 private:
  using Policy = s4u::Link::SharingPolicy;

  s4u::Link* port(const std::string& name) {
    s4u::Link*& link = ports_[name];
    if (link == nullptr) {
      link = zone_->create_link(name, per_second)->set_sharing_policy(Policy::SHARED)->seal();
    }
    return link;
  }

  void connect(int source, int destination) {
    const Link link = costs_.link(source, destination);
    const bool has_bytes = link.busy > Time{};
    s4u::Link* way = zone_->create_link(fmt::format("way {}->{}", source, destination),
                                        has_bytes ? per_second : instant);
    way->set_latency(seconds(link.latency))
        ->set_sharing_policy(sharing_ == Sharing::pair ? Policy::SHARED : Policy::FATPIPE)
        ->seal();
    std::vector<s4u::LinkInRoute> route{s4u::LinkInRoute(way)};
    if (sharing_ == Sharing::nic && has_bytes) {
      const char* net = costs_.is_in_node(source, destination) ? "node" : "network";
      route.emplace_back(port(fmt::format("out of {} to its {}", source, net)));
      route.emplace_back(port(fmt::format("into {} from its {}", destination, net)));
    }
    zone_->add_route(host(source)->get_netpoint(), host(destination)->get_netpoint(), nullptr,
                     nullptr, route, false);
  }

  const CostModel& costs_;
  Sharing sharing_ = Sharing::none;
  s4u::NetZone* zone_ = nullptr;
  std::vector<s4u::Host*> hosts_;
  std::map<std::string, s4u::Link*> ports_;
};

// A rank. Eager: its mailboxes have it as their permanent receiver, so that what is put there
// travels at once. Rendezvous: puts and gets begin together, and are waited for where the program
// says so.
class RankActor {
 public:
  RankActor(const Program& program, const CostModel& costs, Mode mode,
            std::vector<PlayedSlot>& played)
      : program_(program), costs_(costs), mode_(mode), played_(played) {}

  void run(int rank) {
    for (const Instruction& instruction : program_.instructions(rank)) {
      if (instruction.kind == Instruction::Kind::run) {
        compute(program_.slots(rank)[at(instruction.index)]);
      } else if (mode_ == Mode::eager) {
        communicate_eagerly(instruction);
      } else {
        communicate_together(instruction);
      }
    }
  }

 private:
  void compute(const Slot& slot) {
    const double begin = now();
    s4u::this_actor::execute(static_cast<double>(slot_time(slot, costs_).count()));
    played_.push_back({.begin = begin, .end = now()});
  }

  void communicate_eagerly(const Instruction& instruction) {
    if (instruction.kind == Instruction::Kind::send) {
      mailbox_of(instruction)->put_init(&played_, bytes_of(instruction))->detach();
    } else if (instruction.kind == Instruction::Kind::await_received) {
      mailbox_of(instruction)->get<void>();
    }
  }

  void communicate_together(const Instruction& instruction) {
    switch (instruction.kind) {
      case Instruction::Kind::send:
        posted_[instruction.index] =
            mailbox_of(instruction)->put_async(&played_, bytes_of(instruction));
        break;
      case Instruction::Kind::receive:
        posted_[instruction.index] = mailbox_of(instruction)->get_async<void>(&received_);
        break;
      case Instruction::Kind::await_sent:
      case Instruction::Kind::await_received:
        posted_.at(instruction.index)->wait();
        posted_.erase(instruction.index);
        break;
      case Instruction::Kind::run:
      case Instruction::Kind::end_group:
        break;
    }
  }

  [[nodiscard]] s4u::Mailbox* mailbox_of(const Instruction& instruction) const {
    return s4u::Mailbox::by_name(std::to_string(program_.message(instruction.index).channel));
  }

  [[nodiscard]] std::uint64_t bytes_of(const Instruction& instruction) const {
    const Channel& channel = program_.channel_of(program_.message(instruction.index));
    const Time busy = costs_.link(channel.source, channel.destination).busy;
    return busy == Time{} ? 1 : static_cast<std::uint64_t>(busy.count());
  }

  const Program& program_;
  const CostModel& costs_;
  Mode mode_ = Mode::eager;
  std::vector<PlayedSlot>& played_;
  std::map<std::int32_t, s4u::CommPtr> posted_;  // [message]
  void* received_ = nullptr;                     // nobody reads what arrives
};

// Times of a thousandth of a nanosecond are told apart; SimGrid's default is ten microseconds. ASan
// does not know the stacks that actors have, and says so once for every play.
Played play_here(const Program& program, const CostModel& costs, const NetworkModel& network) {
  std::array<std::string, 8> arguments{
      "play",
      "--cfg=network/model:CM02",
      "--cfg=network/crosstraffic:0",
      "--cfg=network/TCP-gamma:0",
      "--cfg=surf/precision:1e-12",
      "--cfg=contexts/stack-size:256",  // KiB
      "--log=xbt_cfg.threshold:warning",
      "--log=no_loc",
  };
  std::vector<char*> pointers;
  for (std::string& argument : arguments) {
    pointers.push_back(argument.data());
  }
  pointers.push_back(nullptr);
  int count = static_cast<int>(arguments.size());
  const s4u::Engine engine(&count, pointers.data());
  const Platform platform(program, costs, network.sharing);

  const int ranks = program.pipeline().ranks();
  Played played(at(ranks));
  std::vector<s4u::ActorPtr> actors;
  for (int rank = 0; rank < ranks; ++rank) {
    actors.push_back(s4u::Actor::create(
        fmt::format("rank {}", rank), platform.host(rank),
        [&, rank] { RankActor(program, costs, network.mode, played[at(rank)]).run(rank); }));
  }
  if (network.mode == Mode::eager) {
    for (std::size_t channel = 0; channel < program.channels().size(); ++channel) {
      s4u::Mailbox::by_name(std::to_string(channel))
          ->set_receiver(actors[at(program.channels()[channel].destination)]);
    }
  }
  engine.run();
  return played;
}

bool write(const Played& played, std::FILE* result) {
  for (const std::vector<PlayedSlot>& slots : played) {
    if (!slots.empty() &&
        std::fwrite(slots.data(), sizeof(PlayedSlot), slots.size(), result) != slots.size()) {
      return false;
    }
  }
  return std::fflush(result) == 0;
}

// Nothing if there is less than the program's slots.
std::optional<Played> read(const Program& program, std::FILE* result) {
  Played played;
  for (int rank = 0; rank < program.pipeline().ranks(); ++rank) {
    std::vector<PlayedSlot>& slots = played.emplace_back(program.slots(rank).size());
    if (!slots.empty() &&
        std::fread(slots.data(), sizeof(PlayedSlot), slots.size(), result) != slots.size()) {
      return std::nullopt;
    }
  }
  return played;
}

// The child's part. Whatever its parent has open or registered is not the child's to close.
[[noreturn]] void play_and_exit(const Program& program, const CostModel& costs,
                                const NetworkModel& network, std::FILE* result) {
  bool is_written = false;
  try {
    is_written = write(play_here(program, costs, network), result);
  } catch (const std::exception& error) {
    fmt::print(stderr, "SimGrid: {}\n", error.what());
  }
  _exit(is_written ? 0 : 1);
}

}  // namespace

Played play(const Program& program, const CostModel& costs, const NetworkModel& network) {
  CHECK(network.mode != Mode::grouped && !network.blocking && !program.semantics().grouped);
  // A file, since a pipe would have to be emptied while the child runs.
  std::FILE* result = std::tmpfile();
  if (result == nullptr) {
    throw std::runtime_error("cannot open a file for what SimGrid plays");
  }
  const int child = fork();
  if (child == 0) {
    play_and_exit(program, costs, network, result);
  }
  int status = 0;
  std::optional<Played> played;
  if (child > 0 && waitpid(child, &status, 0) == child && status == 0 &&
      std::fseek(result, 0, SEEK_SET) == 0) {
    played = read(program, result);
  }
  static_cast<void>(std::fclose(result));
  if (!played) {
    throw std::runtime_error(
        fmt::format("SimGrid did not play the program to its end (wait status {})", status));
  }
  return *std::move(played);
}

}  // namespace dualpipe
