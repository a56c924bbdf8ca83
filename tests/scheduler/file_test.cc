#include "scheduler/file.h"

#include <filesystem>
#include <fstream>
#include <ios>
#include <string>
#include <string_view>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#include "costs/error.h"
#include "tests/support/refusal.h"

namespace dualpipe {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

namespace fs = std::filesystem;

class File : public testing::Test {
 protected:
  void SetUp() override {
    const testing::TestInfo* test = testing::UnitTest::GetInstance()->current_test_info();
    folder_ = fs::path(testing::TempDir()) /
              ("dualpipe_file_" + std::string(test->name()) + "_" + std::to_string(::getpid()));
    fs::create_directory(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  [[nodiscard]] std::string path(const std::string& name) const { return folder_ / name; }
  [[nodiscard]] std::vector<std::string> names() const {
    std::vector<std::string> names;
    for (const fs::directory_entry& entry : fs::directory_iterator(folder_)) {
      names.push_back(entry.path().filename());
    }
    return names;
  }

  fs::path folder_;
};

std::string refusal_of_reading(const std::string& path) {
  return refusal(ExitCode::input_output, [&] { return read_file(path); });
}

std::string refusal_of_writing(const std::string& path) {
  return refusal(ExitCode::input_output, [&] {
    write_file(path, "new");
    return 0;
  });
}

TEST_F(File, ReadsBackWhatWasWritten) {
  std::string content(200'000, 'x');
  content += std::string("\0\r\n", 3);
  write_file(path("a.txt"), content);
  EXPECT_EQ(read_file(path("a.txt")), content);
  write_file(path("a.txt"), "shorter");
  EXPECT_EQ(read_file(path("a.txt")), "shorter");
  write_file(path("a.txt"), "");
  EXPECT_EQ(read_file(path("a.txt")), "");
  EXPECT_THAT(names(), ElementsAre("a.txt"));
}

TEST_F(File, SaysWhichFileCannotBeReadAndWhy) {
  EXPECT_THAT(refusal_of_reading(path("none.csv")),
              AllOf(HasSubstr("cannot read '" + path("none.csv") + "'"),
                    HasSubstr("No such file or directory")));
  EXPECT_THAT(refusal_of_reading(folder_), HasSubstr("Is a directory"));
}

// Names that the system itself refuses to look at.
TEST_F(File, ThatCannotEvenBeLookedAtIsRefusedLikeAnyOther) {
  const std::string long_name(300, 'x');
  EXPECT_THAT(refusal_of_reading(long_name), HasSubstr("File name too long"));
  fs::create_symlink(path("round"), path("and"));
  fs::create_symlink(path("and"), path("round"));
  EXPECT_THAT(refusal_of_reading(path("round")), HasSubstr("Too many levels of symbolic links"));
}

TEST_F(File, SaysWhichFileCannotBeWrittenAndWhy) {
  const std::string nowhere = path("no/such/folder.svg");
  EXPECT_THAT(refusal_of_writing(nowhere), AllOf(HasSubstr("cannot write '" + nowhere + "'"),
                                                 HasSubstr("No such file or directory")));
  EXPECT_THAT(refusal_of_writing(folder_), HasSubstr("Is a directory"));
}

TEST_F(File, AFailureLeavesTheOldFileAndNothingElse) {
  fs::create_directory(path("a"));
  std::ofstream(path("a/kept")) << "old";
  EXPECT_THAT(refusal_of_writing(path("a")), HasSubstr("cannot write"));
  EXPECT_EQ(read_file(path("a/kept")), "old");
  EXPECT_THAT(names(), ElementsAre("a"));
}

TEST_F(File, WritesIntoAPipeInsteadOfReplacingIt) {
  const std::string pipe = path("pipe");
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  std::fstream both_ends(pipe, std::ios::in | std::ios::out);  // so that nobody waits for a reader
  write_file(pipe, "through\n");
  std::string line;
  std::getline(both_ends, line);
  EXPECT_EQ(line, "through");
  EXPECT_TRUE(fs::is_fifo(pipe));
}

unsigned mode_of(const std::string& path) {
  struct stat status{};
  EXPECT_EQ(::stat(path.c_str(), &status), 0) << path;
  return status.st_mode & 0777U;
}

TEST_F(File, IsForWhomItsCareSays) {
  const mode_t usual = ::umask(022);
  write_file(path("ordinary"), "x");
  write_file(path("personal"), "x", FileCare::personal);
  write_file(path("durable"), "x", FileCare::durable);
  write_file(path("was ordinary"), "x");
  write_file(path("was ordinary"), "x", FileCare::personal);
  ASSERT_EQ(::mkfifo(path("pipe").c_str(), 0644), 0);
  const std::fstream both_ends(path("pipe"), std::ios::in | std::ios::out);
  write_file(path("pipe"), "x", FileCare::personal);
  ::umask(usual);
  EXPECT_EQ(mode_of(path("ordinary")), 0644U);
  EXPECT_EQ(mode_of(path("personal")), 0600U);
  EXPECT_EQ(mode_of(path("durable")), 0600U);
  EXPECT_EQ(mode_of(path("was ordinary")), 0600U);
  EXPECT_EQ(mode_of(path("pipe")), 0644U) << "what is no regular file stays as it is";
}

TEST_F(File, DirectoriesAreMadeWithThoseAboveThemForTheirOwnerAlone) {
  make_personal_directory(path("a/b/c"));
  make_personal_directory(path("a/b/c"));
  for (const char* made : {"a", "a/b", "a/b/c"}) {
    EXPECT_EQ(mode_of(path(made)), 0700U) << made;
  }
  write_file(path("file"), "x");
  EXPECT_THAT(refusal(ExitCode::input_output,
                      [&] {
                        make_personal_directory(path("file/below"));
                        return 0;
                      }),
              AllOf(HasSubstr("cannot make '" + path("file/below")), HasSubstr("Not a directory")));
}

// What a link points to is what is meant.
TEST_F(File, WritesThroughALink) {
  write_file(path("real"), "old");
  fs::create_symlink(path("real"), path("link"));
  write_file(path("link"), "new");
  EXPECT_TRUE(fs::is_symlink(path("link")));
  EXPECT_EQ(read_file(path("real")), "new");
}

TEST_F(File, ShowsTheBeginningOfALongFileOnly) {
  const std::string content(3 * head_bytes, 'x');
  write_file(path("long.txt"), content);
  std::vector<std::string> heads;
  EXPECT_EQ(read_file(path("long.txt"), [&](std::string_view head) { heads.emplace_back(head); }),
            content);
  EXPECT_THAT(heads, ElementsAre(content.substr(0, head_bytes)));
  write_file(path("short.txt"), "short");
  EXPECT_EQ(read_file(path("short.txt"), [](std::string_view) { FAIL(); }), "short");
}

TEST_F(File, ReadsTextWithoutItsByteOrderMark) {
  const std::string mark = "\xef\xbb\xbf";
  write_file(path("marked.txt"), mark + "text" + mark);
  EXPECT_EQ(read_text(path("marked.txt")), "text" + mark);
  EXPECT_EQ(read_file(path("marked.txt")), mark + "text" + mark);
  write_file(path("mark.txt"), mark);
  EXPECT_EQ(read_text(path("mark.txt")), "");
  write_file(path("half.txt"), mark.substr(0, 2));
  EXPECT_EQ(read_text(path("half.txt")), mark.substr(0, 2));
  write_file(path("long.txt"), mark + std::string(2 * head_bytes, 'x'));
  const std::string text =
      read_text(path("long.txt"), [](std::string_view head) { EXPECT_EQ(head.front(), 'x'); });
  EXPECT_EQ(text, std::string(2 * head_bytes, 'x'));
}

// A file without end: only whoever stops at its beginning ever comes back.
TEST_F(File, ReadsNoFurtherThanTheBeginningThatIsRefused) {
  EXPECT_THAT(refusal(ExitCode::invalid_schedule,
                      [] {
                        return read_file("/dev/zero", [](std::string_view) {
                          throw Error(ExitCode::invalid_schedule, "refused");
                        });
                      }),
              HasSubstr("refused"));
}

}  // namespace
}  // namespace dualpipe
