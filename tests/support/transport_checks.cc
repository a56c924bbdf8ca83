#include "tests/support/transport_checks.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <ostream>
#include <random>
#include <span>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/device.h"
#include "runtime/status.h"
#include "runtime/transport.h"

namespace dualpipe {
namespace {

using testing::AllOf;
using testing::HasSubstr;

constexpr std::array all_classes{MessageClass::activation, MessageClass::gradient,
                                 MessageClass::replica, MessageClass::control};

// Every rank sends to the next one; as many as fit are under way at once.
void messages_of_a_channel_arrive_in_order(Transport& transport) {
  constexpr std::uint64_t messages = 50;
  constexpr std::size_t ahead = 4;
  constexpr std::size_t bytes = 100;
  const int next = (transport.rank() + 1) % transport.ranks();
  const int previous = (transport.rank() + transport.ranks() - 1) % transport.ranks();
  std::array<std::vector<std::byte>, ahead> sent;
  std::array<std::vector<std::byte>, ahead> received;
  std::array<Ticket, ahead> send_tickets{};
  std::array<Ticket, ahead> receive_tickets{};
  for (std::uint64_t number = 0; number < messages + ahead; ++number) {
    const std::size_t slot = number % ahead;
    if (number >= ahead) {
      expect_done(transport, receive_tickets[slot]);
      expect_done(transport, send_tickets[slot]);
      EXPECT_EQ(received[slot], message_of(number - ahead, bytes)) << "message " << number - ahead;
    }
    if (number < messages) {
      sent[slot] = message_of(number, bytes);
      received[slot].assign(bytes, std::byte{0});
      receive_tickets[slot] =
          transport.post_receive(previous, MessageClass::activation, received[slot]);
      send_tickets[slot] = transport.post_send(next, MessageClass::activation, sent[slot]);
    }
  }
}

void messages_of_any_size_arrive_whole(Transport& transport) {
  for (const std::size_t bytes : {0UL, 1UL, 64UL, 4095UL, 4096UL, 4097UL, 8192UL, 3'000'001UL}) {
    const std::vector<std::byte> sent = message_of(bytes, bytes);
    std::vector<std::byte> received(bytes);
    if (transport.rank() == 0) {
      expect_done(transport, transport.post_send(1, MessageClass::gradient, sent));
    } else if (transport.rank() == 1) {
      expect_done(transport, transport.post_receive(0, MessageClass::gradient, received));
      EXPECT_TRUE(received == sent) << bytes << " bytes";
    }
  }
}

// Sent in one order, received in the opposite one.
void classes_do_not_mix(Transport& transport) {
  constexpr std::size_t bytes = 40;
  std::vector<std::vector<std::byte>> messages;
  std::vector<Ticket> tickets;
  if (transport.rank() == 0) {
    for (const MessageClass message_class : all_classes) {
      messages.push_back(message_of(static_cast<std::uint64_t>(message_class), bytes));
    }
    for (const MessageClass message_class : all_classes) {
      tickets.push_back(
          transport.post_send(1, message_class, messages[static_cast<std::size_t>(message_class)]));
    }
    for (const Ticket ticket : tickets) {
      expect_done(transport, ticket);
    }
  } else if (transport.rank() == 1) {
    for (std::size_t k = all_classes.size(); k-- > 0;) {
      std::vector<std::byte> received(bytes);
      expect_done(transport, transport.post_receive(0, all_classes[k], received));
      EXPECT_EQ(received, message_of(k, bytes)) << to_string(all_classes[k]);
    }
  }
}

void a_deadline_leaves_the_ticket_valid(Transport& transport) {
  const std::vector<std::byte> sent = message_of(7, 10);
  std::vector<std::byte> received(sent.size());
  if (transport.rank() == 1) {
    const Ticket ticket = transport.post_receive(0, MessageClass::activation, received);
    EXPECT_FALSE(transport.wait(ticket, std::chrono::steady_clock::now()));
    EXPECT_FALSE(
        transport.wait(ticket, std::chrono::steady_clock::now() + std::chrono::milliseconds(1)));
    meet(transport);  // only now may rank 0 send
    expect_done(transport, ticket);
    EXPECT_EQ(received, sent);
  } else {
    meet(transport);
    if (transport.rank() == 0) {
      expect_done(transport, transport.post_send(1, MessageClass::activation, sent));
    }
  }
}

void expect_refused(Transport& transport, Ticket ticket, const std::string& sizes) {
  try {
    static_cast<void>(transport.wait(ticket, generous_deadline()));
    ADD_FAILURE() << "accepted a message of another size";
  } catch (const OperationFailure& error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr("gradient 0->1"), HasSubstr(sizes)));
  }
}

void a_message_of_another_size_is_refused(Transport& transport) {
  std::vector<std::byte> received(100);
  for (const std::size_t bytes : {60UL, 140UL}) {
    if (transport.rank() == 0) {
      const std::vector<std::byte> sent = message_of(1, bytes);
      const Ticket ticket = transport.post_send(1, MessageClass::gradient, sent);
      try {  // whether the sender knows depends on the transport
        EXPECT_TRUE(transport.wait(ticket, generous_deadline()));
      } catch (const OperationFailure& failure) {
        EXPECT_THAT(failure.what(), HasSubstr("gradient 0->1"));
      }
    } else if (transport.rank() == 1) {
      expect_refused(transport, transport.post_receive(0, MessageClass::gradient, received), "100");
    }
  }
}

struct Traffic {
  int source = 0;
  int destination = 0;
  MessageClass message_class = MessageClass::activation;
  std::size_t bytes = 0;
};

std::vector<Traffic> random_traffic(int ranks, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  const auto below = [&random](std::uint64_t bound) { return random() % bound; };
  std::vector<Traffic> traffic(300);
  for (Traffic& message : traffic) {
    const std::uint64_t count = static_cast<std::uint64_t>(ranks);
    message.source = static_cast<int>(below(count));
    message.destination = (message.source + 1 + static_cast<int>(below(count - 1))) % ranks;
    message.message_class = all_classes[below(all_classes.size())];
    message.bytes = below(10) == 0 ? below(200'000) : below(2'000);
  }
  return traffic;
}

// Every rank posts its ends in the common order and has at most `window` under way, so the earliest
// message that is not done can always be: no deadlock even without buffering.
void random_traffic_arrives(Transport& transport) {
  constexpr std::uint64_t seed = 20240607;
  constexpr std::size_t window = 8;
  const std::vector<Traffic> traffic = random_traffic(transport.ranks(), seed);
  struct End {
    Ticket ticket = 0;
    std::size_t number = 0;
    bool receives = false;
    std::vector<std::byte> bytes;
  };
  std::deque<End> under_way;
  const auto finish_oldest = [&] {
    const End& end = under_way.front();
    expect_done(transport, end.ticket);
    if (end.receives) {
      EXPECT_TRUE(end.bytes == message_of(end.number, end.bytes.size()))
          << "message " << end.number << " of seed " << seed;
    }
    under_way.pop_front();
  };
  for (std::size_t number = 0; number < traffic.size(); ++number) {
    const Traffic& message = traffic[number];
    if (message.source == transport.rank()) {
      End& end =
          under_way.emplace_back(End{.number = number, .bytes = message_of(number, message.bytes)});
      end.ticket = transport.post_send(message.destination, message.message_class, end.bytes);
    } else if (message.destination == transport.rank()) {
      End& end = under_way.emplace_back(
          End{.number = number, .receives = true, .bytes = std::vector<std::byte>(message.bytes)});
      end.ticket = transport.post_receive(message.source, message.message_class, end.bytes);
    }
    if (under_way.size() == window) {
      finish_oldest();
    }
  }
  while (!under_way.empty()) {
    finish_oldest();
  }
}

// Rank 0 is the first to ask and may ask again; from then on the report is its.
void the_first_to_ask_learns_what_all_ranks_do(Transport& transport) {
  transport.status().publish(7, Activity::running, 100 + transport.rank());
  meet(transport);
  if (transport.rank() == 0) {
    for (int round = 0; round < 2; ++round) {
      const std::vector<std::optional<RankStatus>> statuses =
          transport.collect_status(generous_deadline())
              .value_or(std::vector<std::optional<RankStatus>>{});
      ASSERT_EQ(static_cast<int>(statuses.size()), transport.ranks());
      for (int rank = 0; rank < transport.ranks(); ++rank) {
        const RankStatus status =
            statuses[static_cast<std::size_t>(rank)].value_or(RankStatus{.step = -1});
        EXPECT_EQ(status.step, 7) << "rank " << rank;
        EXPECT_EQ(status.activity, Activity::running);
        EXPECT_EQ(status.index, 100 + rank);
        EXPECT_GE(status.now_ns, status.since_ns);
      }
    }
  }
  meet(transport);
  if (transport.rank() != 0) {
    EXPECT_FALSE(transport.collect_status(generous_deadline()));
  }
}

}  // namespace

std::ostream& operator<<(std::ostream& out, const TransportCheck& check) {
  return out << check.name;
}

std::span<const TransportCheck> transport_checks() {
  static constexpr std::array<TransportCheck, 7> table{{
      {"messages_of_a_channel_arrive_in_order", messages_of_a_channel_arrive_in_order},
      {"messages_of_any_size_arrive_whole", messages_of_any_size_arrive_whole},
      {"classes_do_not_mix", classes_do_not_mix},
      {"a_deadline_leaves_the_ticket_valid", a_deadline_leaves_the_ticket_valid},
      {"a_message_of_another_size_is_refused", a_message_of_another_size_is_refused},
      {"random_traffic_arrives", random_traffic_arrives},
      {"the_first_to_ask_learns_what_all_ranks_do", the_first_to_ask_learns_what_all_ranks_do},
  }};
  return table;
}

Deadline generous_deadline() {
  return std::chrono::steady_clock::now() + std::chrono::seconds(60);
}

std::vector<std::byte> message_of(std::uint64_t number, std::size_t bytes) {
  std::vector<std::byte> message(bytes);
  std::uint64_t state = number * 0x9E37'79B9'7F4A'7C15 + 1;
  std::ranges::generate(message, [&state] {
    state = state * 6364136223846793005 + 1442695040888963407;
    return static_cast<std::byte>(state >> 56);
  });
  return message;
}

void expect_done(Transport& transport, Ticket ticket) {
  EXPECT_TRUE(transport.wait(ticket, generous_deadline())) << "at rank " << transport.rank();
}

void meet(Transport& transport) {
  std::byte token{};
  const std::span<std::byte> message(&token, 1);
  if (transport.rank() != 0) {
    expect_done(transport, transport.post_send(0, MessageClass::control, message));
    expect_done(transport, transport.post_receive(0, MessageClass::control, message));
    return;
  }
  for (int rank = 1; rank < transport.ranks(); ++rank) {
    expect_done(transport, transport.post_receive(rank, MessageClass::control, message));
  }
  for (int rank = 1; rank < transport.ranks(); ++rank) {
    expect_done(transport, transport.post_send(rank, MessageClass::control, message));
  }
}

}  // namespace dualpipe
