#include "scheduler/file.h"

#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>

#include <fcntl.h>
#include <fmt/format.h>
#include <stdio.h>  // fdopen
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#include "costs/error.h"

namespace dualpipe {
namespace {

struct Closer {
  void operator()(std::FILE* file) const { static_cast<void>(std::fclose(file)); }
};
using File = std::unique_ptr<std::FILE, Closer>;

[[noreturn]] void fail(const char* verb, const std::string& path, int error) {
  throw Error(ExitCode::input_output,
              fmt::format("cannot {} '{}': {}", verb, path, std::strerror(error)));
}

using HeadCheck = std::function<void(std::string_view head)>;

std::string read_all(std::FILE* file, const std::string& path, const HeadCheck& check_head) {
  std::string content;
  for (std::size_t got = head_bytes; got > 0;) {
    const std::size_t size = content.size();
    content.resize(size + head_bytes);
    got = std::fread(content.data() + size, 1, head_bytes, file);
    content.resize(size + got);
    if (size == 0 && got == head_bytes) {
      check_head(content);
    }
  }
  if (std::ferror(file) != 0) {
    fail("read", path, errno);
  }
  return content;
}

void write_all(std::FILE* file, const std::string& path, std::string_view content) {
  // Of nothing there may be no address, which fwrite does not take.
  if ((!content.empty() &&
       std::fwrite(content.data(), 1, content.size(), file) != content.size()) ||
      std::fflush(file) != 0) {
    fail("write", path, errno);
  }
}

// Opens `place`; messages speak of `path`, which is what the user asked for.
void write_in(const std::string& place, const std::string& path, std::string_view content,
              FileCare care) {
  constexpr mode_t owners = S_IRUSR | S_IWUSR;
  constexpr mode_t everybodys = owners | S_IRGRP | S_IWGRP | S_IROTH | S_IWOTH;
  const int descriptor = ::open(place.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC,
                                care == FileCare::ordinary ? everybodys : owners);
  if (descriptor < 0) {
    fail("write", path, errno);
  }
  const File file(::fdopen(descriptor, "wb"));
  if (!file) {
    const int error = errno;
    ::close(descriptor);
    fail("write", path, error);
  }
  write_all(file.get(), path, content);
  if (care == FileCare::durable && ::fsync(descriptor) != 0) {
    fail("write", path, errno);
  }
}

// Until then a new name in a directory may be lost with the power.
void keep_name(const std::string& path) {
  const std::string parent = std::filesystem::path(path).parent_path().string();
  const int directory = ::open(parent.empty() ? "." : parent.c_str(), O_RDONLY | O_DIRECTORY);
  const bool kept = directory >= 0 && ::fsync(directory) == 0;
  const int error = errno;
  if (directory >= 0) {
    ::close(directory);
  }
  if (!kept) {
    fail("write", path, error);
  }
}

}  // namespace

std::string read_file(const std::string& path) {
  return read_file(path, [](std::string_view) {});
}

std::string read_file(const std::string& path, const HeadCheck& check_head) {
  if (path == "-") {
    return read_all(stdin, "stdin", check_head);
  }
  std::error_code ignored;  // What cannot be looked at is left to fopen to complain about.
  if (std::filesystem::is_directory(path, ignored)) {
    fail("read", path, EISDIR);
  }
  const File file(std::fopen(path.c_str(), "rb"));
  if (!file) {
    fail("read", path, errno);
  }
  return read_all(file.get(), path, check_head);
}

std::string read_text(const std::string& path, const HeadCheck& check_head) {
  constexpr std::string_view mark = "\xef\xbb\xbf";
  const auto skipped = [&](std::string_view text) {
    return text.starts_with(mark) ? mark.size() : 0;
  };
  std::string text = read_file(path, [&](std::string_view head) {
    if (check_head) {
      check_head(head.substr(skipped(head)));
    }
  });
  text.erase(0, skipped(text));
  return text;
}

void write_file(const std::string& path, std::string_view content, FileCare care) {
  if (path == "-") {
    write_all(stdout, "stdout", content);
    return;
  }
  std::error_code ignored;  // What cannot be looked at is left to fopen to complain about.
  const std::filesystem::file_status status = std::filesystem::status(path, ignored);
  if (std::filesystem::exists(status) && !std::filesystem::is_regular_file(status)) {
    write_in(path, path, content, care);  // A device or a pipe must not be replaced by a file.
    return;
  }
  // A link stays one: what it points to is replaced.
  const std::filesystem::path real = std::filesystem::canonical(path, ignored);
  const std::string place = real.empty() ? path : real.string();
  const std::string beside = fmt::format("{}.{}.part", place, ::getpid());
  try {
    write_in(beside, path, content, care);
    std::filesystem::rename(beside, place);
    if (care == FileCare::durable) {
      keep_name(place);
    }
  } catch (const std::filesystem::filesystem_error& error) {
    std::filesystem::remove(beside, ignored);
    fail("write", path, error.code().value());
  } catch (const Error&) {
    std::filesystem::remove(beside, ignored);
    throw;
  }
}

void make_personal_directory(const std::string& path) {
  const std::string parent = std::filesystem::path(path).parent_path().string();
  std::error_code ignored;  // What cannot be looked at is left to mkdir to complain about.
  if (!parent.empty() && !std::filesystem::is_directory(parent, ignored)) {
    make_personal_directory(parent);
  }
  if (::mkdir(path.c_str(), S_IRWXU) != 0 && errno != EEXIST) {
    fail("make", path, errno);
  }
  keep_name(path);
}

}  // namespace dualpipe
