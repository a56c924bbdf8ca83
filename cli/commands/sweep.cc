// dualpipe-sim sweep: step time, bubbles and memory over the cartesian product of config values, as
// CSV. Rows are written in order and whole, so that whatever ends it leaves a file to go on from.

#include "cli/sweep.h"

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/types.h>
#include <unistd.h>

#include "cli/commands.h"
#include "cli/progress.h"
#include "cli/work_queue.h"
#include "costs/error.h"
#include "scheduler/file.h"

namespace dualpipe {
namespace {

// The CSV being written: a file, or stdout. What is given to it is in the kernel's hands when
// write() returns, so that killing this process loses nothing of it.
class Output {
 public:
  // Keeps the first `kept` bytes of an existing file.
  Output(const std::string& path, std::size_t kept) : path_(path) {
    if (path == "-") {
      descriptor_ = STDOUT_FILENO;
      return;
    }
    constexpr mode_t for_all = 0666;  // less what the umask says
    // The only way to open a file of which a part is to be kept.
    // NOLINTNEXTLINE(cppcoreguidelines-pro-type-vararg)
    descriptor_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, for_all);
    if (descriptor_ < 0 || (is_regular() && ::ftruncate(descriptor_, to_offset(kept)) != 0) ||
        (is_regular() && ::lseek(descriptor_, 0, SEEK_END) < 0)) {
      refuse();
    }
  }
  ~Output() {
    if (path_ != "-" && descriptor_ >= 0) {
      ::close(descriptor_);
    }
  }
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;

  void write(std::string_view text) const {
    while (!text.empty()) {
      const ssize_t written = ::write(descriptor_, text.data(), text.size());
      if (written < 0 && errno != EINTR) {
        refuse();
      }
      text.remove_prefix(static_cast<std::size_t>(std::max<ssize_t>(written, 0)));
    }
  }

 private:
  static off_t to_offset(std::size_t bytes) { return static_cast<off_t>(bytes); }

  [[nodiscard]] bool is_regular() const {
    std::error_code ignored;  // what cannot be looked at is not cut off
    return std::filesystem::is_regular_file(path_, ignored);
  }

  [[noreturn]] void refuse() const {
    throw Error(ExitCode::input_output,
                fmt::format("cannot write '{}': {}; check the folder, its rights and the disk",
                            path_, std::generic_category().message(errno)));
  }

  std::string path_;
  int descriptor_ = -1;
};

// What an earlier run has left.
struct Beginning {
  std::size_t rows = 0;
  std::size_t bytes = 0;
};

Beginning beginning_of(const Sweep& sweep, const SweepOptions& options) {
  Beginning beginning;
  if (!options.resume) {
    return beginning;
  }
  if (options.output == "-") {
    throw Error(ExitCode::usage,
                "--resume: expected a file to go on with, found stdout; name it "
                "with -o FILE");
  }
  if (std::filesystem::exists(options.output)) {
    beginning.rows = count_rows(sweep, read_file(options.output), options.output, beginning.bytes);
  }
  return beginning;
}

int jobs_of(const SweepOptions& options) {
  return options.jobs > 0 ? options.jobs
                          : std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

}  // namespace

ExitCode run_sweep(const SweepOptions& options) {
  const Sweep sweep = make_sweep(options.subject, options.schedules, options.varied);
  SweepWork work{.first = 0,
                 .end = sweep.points,
                 .row = [&](std::size_t point) { return sweep.row(point); },
                 .write = {}};
  if (options.farm && options.farm->serve) {
    options.farm->serve(work);
    return ExitCode::ok;
  }
  const Beginning beginning = beginning_of(sweep, options);
  work.first = beginning.rows;
  bool is_interrupted = false;
  const Output output(options.output, beginning.bytes);
  if (beginning.bytes == 0) {
    output.write(sweep.header());
  }
  {
    Progress progress(work.first, work.end);
    work.write = [&](const std::string& rows, std::size_t written) {
      output.write(rows);
      progress.show(written);
      is_interrupted = options.is_interrupted();
      return !is_interrupted;
    };
    if (options.farm) {
      options.farm->lead(work);
    } else {
      run_on_threads(work, jobs_of(options));
    }
  }
  return is_interrupted ? ExitCode::interrupted : ExitCode::ok;
}

}  // namespace dualpipe
