#include "runtime/mpi_thread.h"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <fmt/core.h>
#include <linux/prctl.h>
#include <mpi.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "costs/error.h"
#include "runtime/host_seat.h"
#include "runtime/last_resort.h"
#include "runtime/mpi_commands.h"
#include "runtime/mpi_error.h"
#include "runtime/mpi_host.h"
#include "runtime/mpi_transport.h"
#include "runtime/operations.h"
#include "runtime/pacing.h"
#include "runtime/status.h"
#include "runtime/status_round.h"
#include "runtime/transport.h"

namespace dualpipe {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::microseconds patience{50};       // about what being woken takes
constexpr std::chrono::milliseconds telling_limit{20};  // to get word of an ending out
constexpr std::chrono::seconds ending_limit{3};         // for the launcher to end this process
constexpr std::chrono::minutes closing_limit{5};        // for the last rank to come to its end

[[noreturn]] void kill_job(ExitCode code) {
  const LastResort timer(ending_limit, code, "MPI_Abort got stuck");
  MPI_Abort(MPI_COMM_WORLD, static_cast<int>(code));
  ::_exit(static_cast<int>(code));
}

// What travels on the control communicator.
struct Note {
  enum class Kind : std::int32_t { question, answer, ending } kind = Kind::question;
  std::int32_t code = 0;  // of an ending
  RankStatus status;      // of an answer
};

// Throws Error (transport) when what has come is no note.
void require_whole(const MPI_Status& status, const Note& note) {
  int bytes = 0;
  MPI_Get_count(&status, MPI_BYTE, &bytes);
  const bool is_whole = bytes == static_cast<int>(sizeof(note));
  const bool is_known = note.kind == Note::Kind::question || note.kind == Note::Kind::answer ||
                        (note.kind == Note::Kind::ending && 0 < note.code && note.code < 256);
  if (!is_whole || !is_known) {
    throw Error(ExitCode::transport,
                fmt::format("rank {} sent a control message of {} bytes that is none; expected one "
                            "of {} bytes: do all ranks run the same program?",
                            status.MPI_SOURCE, bytes, sizeof(note)));
  }
}

class MpiThread {
 public:
  explicit MpiThread(MpiShared& shared) : shared_(shared) {}

  void start();
  [[nodiscard]] bool turn();
  void close();

 private:
  void start_mpi();
  [[noreturn]] void end_job(const MpiEnding& ending);
  void ring(int rank);
  void serve_wants();
  void begin(const MpiCommand& command);
  [[nodiscard]] bool test();
  void complete(std::size_t position, const MPI_Status& status);
  void fail(const MpiCommand& command, const std::string& failure);
  void forget_completed();
  void hear(int source);
  void listen();
  void tell(int rank, const Note& note);
  void tell_others(const Note& note);
  void push_notes();
  void pause(bool worked);

  // The part of an operation that one request stands for.
  struct Piece {
    MpiCommand command;
    std::size_t offset = 0;
    std::size_t bytes = 0;
    bool orphaned = false;  // another piece of the operation has failed
  };
  struct OutgoingNote {
    Note note;
    MPI_Request request = MPI_REQUEST_NULL;
  };

  MpiShared& shared_;
  MPI_Comm data_ = MPI_COMM_NULL;
  MPI_Comm control_ = MPI_COMM_NULL;
  Pacing pacing_;
  MpiHost host_;
  std::uint32_t rings_seen_ = 0;
  bool closing_ = false;
  bool owns_mpi_ = false;  // and so ends it
  // requests_[0] receives the next note; requests_[k] stands for pieces_[k].
  std::vector<MPI_Request> requests_{MPI_REQUEST_NULL};
  std::vector<Piece> pieces_{Piece{}};
  std::vector<std::size_t> pieces_left_ = std::vector<std::size_t>(Operations::outstanding_max);
  Note incoming_;
  std::deque<OutgoingNote> outgoing_;  // addresses stay
  std::vector<int> done_;
  std::vector<MPI_Status> done_statuses_;
};

// MPI is the program's where the program has started it: then it stays as it is, and stays when
// this thread ends.
void MpiThread::start_mpi() {
  int initialized = 0;
  int finalized = 0;
  MPI_Initialized(&initialized);
  MPI_Finalized(&finalized);
  if (finalized != 0) {
    throw Error(ExitCode::usage,
                "the program has ended MPI already (MPI_Finalize), and it cannot be started again: "
                "make the transport before that");
  }
  int provided = MPI_THREAD_SINGLE;
  if (initialized != 0) {
    MPI_Query_thread(&provided);
    if (provided < MPI_THREAD_SERIALIZED) {
      throw Error(ExitCode::usage,
                  "the program has started MPI for one thread, but the transport calls it from a "
                  "thread of its own: start it by MPI_Init_thread() with MPI_THREAD_MULTIPLE, or "
                  "leave starting it to the transport");
    }
    return;
  }
  require_mpi("MPI_Init_thread",
              MPI_Init_thread(nullptr, nullptr, MPI_THREAD_SERIALIZED, &provided));
  owns_mpi_ = true;
  if (provided < MPI_THREAD_SERIALIZED) {
    MPI_Finalize();
    throw Error(ExitCode::transport,
                "this MPI does not let a thread other than the main one call it (expected at least "
                "MPI_THREAD_SERIALIZED): use one built with thread support, or --transport inproc");
  }
}

void MpiThread::start() {
  start_mpi();
  MPI_Comm_rank(MPI_COMM_WORLD, &shared_.rank);
  MPI_Comm_size(MPI_COMM_WORLD, &shared_.ranks);
  require_mpi("MPI_Comm_dup", MPI_Comm_dup(MPI_COMM_WORLD, &data_));
  MPI_Comm_set_errhandler(data_, MPI_ERRORS_RETURN);  // its duplicate inherits it
  require_mpi("MPI_Comm_dup", MPI_Comm_dup(data_, &control_));
  host_.open(control_);
  shared_.seats = host_.seats();
  shared_.seat = shared_.seats[static_cast<std::size_t>(shared_.rank)];
  const bool spare = host_.has_cores_to_spare();
  pacing_ = Pacing(spare);
  shared_.operations.set_patience(spare ? patience : std::chrono::microseconds(0));
  // A rank that is stopped or stuck must not outlive the launcher that would have ended it.
  if (started_by_mpi_launcher()) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  }
  // The kernel makes sleeps up to 50 us longer unless asked not to: as long as ours are.
  ::prctl(PR_SET_TIMERSLACK, 1000UL);
  listen();
  require_mpi("MPI_Barrier", MPI_Barrier(control_));

  const std::scoped_lock lock(shared_.mutex);
  shared_.round = StatusRound(shared_.rank, shared_.ranks);
  shared_.started = true;
  shared_.answered.notify_all();
}

// Tells a rank of this host that there is something for it to find in MPI.
void MpiThread::ring(int rank) {
  if (HostSeat* const seat = host_.seats()[static_cast<std::size_t>(rank)]) {
    seat->bell.ring();
  }
}

// Everything there is to do once. False: the rank is at its end. The bell is looked at first: what
// it was rung for is found below, and what comes later is seen before sleeping.
bool MpiThread::turn() {
  const std::uint32_t rings = shared_.seat->bell.rings();
  const bool rung = std::exchange(rings_seen_, rings) != rings;
  if (shared_.has_wants.exchange(false)) {
    serve_wants();
  }
  while (const std::optional<MpiCommand> command = shared_.commands.take()) {
    begin(*command);
  }
  pause(test() || rung);
  return !closing_;
}

// Does what the other threads of the process have asked for, beside transfers.
void MpiThread::serve_wants() {
  bool ask = false;
  std::optional<MpiEnding> ending;
  {
    const std::scoped_lock lock(shared_.mutex);
    if (std::exchange(shared_.asked, false)) {
      ask = shared_.round.ask(shared_.seat->status.read());
      shared_.answered.notify_all();
    }
    closing_ = std::exchange(shared_.closing, false) || closing_;
    ending = shared_.ending;
  }
  if (ending) {
    end_job(*ending);
  }
  if (ask) {
    tell_others({.kind = Note::Kind::question, .code = 0, .status = {}});
  }
}

// The pieces of a message keep their order, as all messages of one tag between two ranks do.
void MpiThread::begin(const MpiCommand& command) {
  const int tag = static_cast<int>(command.message_class);
  std::size_t& left = pieces_left_[Operations::place(command.ticket)];
  left = 0;
  std::size_t offset = 0;
  do {  // an empty message is one piece too
    const std::size_t bytes = std::min(command.size() - offset, shared_.piece_bytes_max);
    const int count = static_cast<int>(bytes);
    MPI_Request request = MPI_REQUEST_NULL;
    if (command.sends) {
      require_mpi("MPI_Isend", MPI_Isend(command.outgoing.data() + offset, count, MPI_BYTE,
                                         command.peer, tag, data_, &request));
    } else {
      require_mpi("MPI_Irecv", MPI_Irecv(command.incoming.data() + offset, count, MPI_BYTE,
                                         command.peer, tag, data_, &request));
    }
    requests_.push_back(request);
    pieces_.push_back({.command = command, .offset = offset, .bytes = bytes});
    offset += bytes;
    ++left;
  } while (offset < command.size());
  ring(command.peer);
}

// Lets MPI work. True: something has come to its end.
bool MpiThread::test() {
  done_.resize(requests_.size());
  done_statuses_.resize(requests_.size());
  int done_count = 0;
  const int error = MPI_Testsome(static_cast<int>(requests_.size()), requests_.data(), &done_count,
                                 done_.data(), done_statuses_.data());
  if (error != MPI_ERR_IN_STATUS) {
    require_mpi("MPI_Testsome", error);
  }
  for (std::size_t k = 0; k < static_cast<std::size_t>(done_count); ++k) {
    MPI_Status& status = done_statuses_[k];
    if (error == MPI_SUCCESS) {
      status.MPI_ERROR = MPI_SUCCESS;  // which MPI leaves undefined then
    }
    const std::size_t position = static_cast<std::size_t>(done_[k]);
    if (position == 0) {
      require_mpi("MPI_Irecv", status.MPI_ERROR);
      require_whole(status, incoming_);
      hear(status.MPI_SOURCE);
      listen();
    } else {
      complete(position, status);
    }
  }
  if (done_count > 0) {
    forget_completed();
  }
  push_notes();
  return done_count > 0;
}

void MpiThread::complete(std::size_t position, const MPI_Status& status) {
  const Piece& piece = pieces_[position];
  if (piece.orphaned) {
    return;
  }
  const MpiCommand& command = piece.command;
  int received = 0;
  MPI_Get_count(&status, MPI_BYTE, &received);
  if (status.MPI_ERROR == MPI_ERR_TRUNCATE) {
    fail(command, fmt::format("rank {} sent more than the {} bytes that rank {} expected",
                              command.peer, command.size(), shared_.rank));
  } else if (status.MPI_ERROR != MPI_SUCCESS) {
    fail(command, mpi_error_words("MPI", status.MPI_ERROR));
  } else if (!command.sends && static_cast<std::size_t>(received) != piece.bytes) {
    fail(command, fmt::format("rank {} sent {} bytes where rank {} expected {}", command.peer,
                              piece.offset + static_cast<std::size_t>(received), shared_.rank,
                              command.size()));
  } else if (--pieces_left_[Operations::place(command.ticket)] == 0) {
    shared_.operations.finish(command.ticket);
    if (!command.sends) {
      ring(command.peer);  // whose send of a large message is done only now
    }
  }
}

// No other piece may arrive in a buffer that its owner is free to give back after this.
void MpiThread::fail(const MpiCommand& command, const std::string& failure) {
  for (std::size_t k = 1; k < pieces_.size(); ++k) {
    if (pieces_[k].command.ticket == command.ticket) {
      pieces_[k].orphaned = true;
      if (requests_[k] != MPI_REQUEST_NULL && !command.sends) {
        MPI_Cancel(&requests_[k]);
      }
    }
  }
  const int source = command.sends ? shared_.rank : command.peer;
  const int destination = command.sends ? command.peer : shared_.rank;
  shared_.operations.fail(
      command.ticket,
      fmt::format("{} {}->{}: {}", to_string(command.message_class), source, destination, failure));
}

void MpiThread::forget_completed() {
  for (std::size_t k = requests_.size(); k-- > 1;) {
    if (requests_[k] == MPI_REQUEST_NULL) {
      requests_[k] = requests_.back();
      requests_.pop_back();
      pieces_[k] = pieces_.back();
      pieces_.pop_back();
    }
  }
}

void MpiThread::hear(int source) {
  bool answer = false;
  {
    const std::scoped_lock lock(shared_.mutex);
    switch (incoming_.kind) {
      case Note::Kind::question:
        answer = shared_.round.hear_question(source);
        break;
      case Note::Kind::answer:
        incoming_.status.answers = true;
        shared_.round.hear_answer(source, incoming_.status);
        break;
      case Note::Kind::ending:
        if (!shared_.ending) {
          shared_.ending = {
              .code = static_cast<ExitCode>(incoming_.code), .ours = false, .reason = ""};
          shared_.has_wants.store(true);
        }
        break;
    }
    shared_.answered.notify_all();
  }
  if (answer) {
    tell(source, {.kind = Note::Kind::answer, .code = 0, .status = shared_.seat->status.read()});
  }
}

void MpiThread::listen() {
  require_mpi("MPI_Irecv", MPI_Irecv(&incoming_, static_cast<int>(sizeof(incoming_)), MPI_BYTE,
                                     MPI_ANY_SOURCE, 0, control_, requests_.data()));
}

void MpiThread::tell(int rank, const Note& note) {
  OutgoingNote& outgoing = outgoing_.emplace_back(OutgoingNote{.note = note});
  require_mpi("MPI_Isend", MPI_Isend(&outgoing.note, static_cast<int>(sizeof(note)), MPI_BYTE, rank,
                                     0, control_, &outgoing.request));
  ring(rank);
}

void MpiThread::tell_others(const Note& note) {
  for (int rank = 0; rank < shared_.ranks; ++rank) {
    if (rank != shared_.rank) {
      tell(rank, note);
    }
  }
}

void MpiThread::push_notes() {
  while (!outgoing_.empty()) {
    int sent = 0;
    require_mpi("MPI_Test", MPI_Test(&outgoing_.front().request, &sent, MPI_STATUS_IGNORE));
    if (sent == 0) {
      return;
    }
    outgoing_.pop_front();
  }
}

void MpiThread::pause(bool worked) {
  std::size_t bytes = 0;
  bool remote = !outgoing_.empty();
  for (std::size_t k = 1; k < pieces_.size(); ++k) {
    bytes = std::max(bytes, pieces_[k].bytes);
    remote = remote || host_.seats()[static_cast<std::size_t>(pieces_[k].command.peer)] == nullptr;
  }
  const Clock::time_point now = Clock::now();
  if (worked) {
    pacing_.restart(now, bytes);
    return;
  }
  const std::chrono::microseconds time = pacing_.pause(now, remote);
  if (time > std::chrono::microseconds(0)) {
    shared_.seat->bell.sleep(rings_seen_, time);
  } else if (pacing_.yields()) {
    std::this_thread::yield();
  }
}

// Ends the job, and tells the other ranks first, so that they keep quiet. Where another rank has
// said that it does so, leaves it to it: its exit code is the one that counts, its report the only
// one.
void MpiThread::end_job(const MpiEnding& ending) {
  const int code = static_cast<int>(ending.code);
  if (!ending.ours) {
    std::this_thread::sleep_for(ending_limit);
    ::_exit(code);
  }
  print_reason(shared_, ending.reason);
  tell_others({.kind = Note::Kind::ending, .code = code, .status = {}});
  const Clock::time_point limit = Clock::now() + telling_limit;
  for (push_notes(); !outgoing_.empty() && Clock::now() < limit; push_notes()) {
    std::this_thread::yield();
  }
  kill_job(ending.code);
}

// Answers other ranks' questions until all of them have come to their end.
void MpiThread::close() {
  MPI_Request everyone = MPI_REQUEST_NULL;
  require_mpi("MPI_Ibarrier", MPI_Ibarrier(control_, &everyone));
  const Clock::time_point limit = Clock::now() + closing_limit;
  for (int closed = 0; closed == 0 || !outgoing_.empty();) {
    static_cast<void>(turn());
    require_mpi("MPI_Test", MPI_Test(&everyone, &closed, MPI_STATUS_IGNORE));
    if (Clock::now() > limit) {
      throw Error(ExitCode::timeout,
                  fmt::format("other ranks did not end within {} minutes", closing_limit.count()));
    }
  }
  require_mpi("MPI_Cancel", MPI_Cancel(requests_.data()));
  require_mpi("MPI_Wait", MPI_Wait(requests_.data(), MPI_STATUS_IGNORE));
  host_.close();
  require_mpi("MPI_Comm_free", MPI_Comm_free(&control_));
  require_mpi("MPI_Comm_free", MPI_Comm_free(&data_));
  if (owns_mpi_) {
    require_mpi("MPI_Finalize", MPI_Finalize());
  }
}

}  // namespace

void print_reason(MpiShared& shared, const std::string& reason) {
  if (shared.reason_printed.test_and_set()) {
    return;
  }
  const std::string line = "error: " + reason + "\n";  // as programs say it without mpirun
  // Nothing can be done where stderr is closed; the exit code remains.
  static_cast<void>(::write(STDERR_FILENO, line.data(), line.size()) == 0);
}

void run_mpi_thread(MpiShared& shared) {
  MpiThread thread(shared);
  try {
    thread.start();
    while (thread.turn()) {
    }
    thread.close();
  } catch (const Error& error) {
    if (shared.started) {
      print_reason(shared, fmt::format("rank {}: {}", shared.rank, error.what()));
      kill_job(error.code());
    }
    const std::scoped_lock lock(shared.mutex);
    shared.start_failure = {.code = error.code(), .ours = true, .reason = error.what()};
    shared.answered.notify_all();
  }
}

}  // namespace dualpipe
