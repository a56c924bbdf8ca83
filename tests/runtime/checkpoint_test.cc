#include "runtime/checkpoint.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "costs/error.h"
#include "runtime/held_stage.h"
#include "runtime/rank_plan.h"
#include "runtime/run_identity.h"
#include "scheduler/compile.h"
#include "scheduler/file.h"
#include "scheduler/generate.h"
#include "scheduler/program.h"
#include "tests/support/refusal.h"
#include "tests/support/schedules.h"
#include "tests/support/toy_stage.h"

namespace dualpipe {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

std::vector<std::byte> bytes_of(std::string_view text) {
  const std::span<const std::byte> bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

class Checkpoint : public testing::Test {
 protected:
  Checkpoint() { fs::remove_all(path); }
  ~Checkpoint() override { fs::remove_all(path); }

  // A complete one of two ranks, with these states.
  CheckpointManifest write(std::uint64_t steps, std::string_view first, std::string_view second) {
    CheckpointManifest manifest{.steps = steps, .identity = {}, .parts = {}};
    manifest.identity.add("model", std::string_view("gpt"));
    manifest.parts.push_back(directory.write_part(steps, 0, bytes_of(first)));
    manifest.parts.push_back(directory.write_part(steps, 1, bytes_of(second)));
    directory.write_manifest(manifest);
    return manifest;
  }
  [[nodiscard]] std::string file(std::string_view name) const { return (path / name).string(); }

  fs::path path =
      fs::path(testing::TempDir()) /
      ("checkpoint-" + std::string(testing::UnitTest::GetInstance()->current_test_info()->name()));
  CheckpointDirectory directory{path.string()};
};

TEST_F(Checkpoint, ReadsWhatItWrote) {
  write(10, "one", std::string_view("t\0o", 3));
  const std::optional<CheckpointManifest> newest = directory.newest();
  ASSERT_TRUE(newest);
  EXPECT_EQ(newest->steps, 10U);
  EXPECT_EQ(newest->identity.concerns().front().name, "model");
  EXPECT_EQ(directory.read_part(*newest, 0), bytes_of("one"));
  EXPECT_EQ(directory.read_part(*newest, 1), bytes_of(std::string_view("t\0o", 3)));
}

TEST_F(Checkpoint, WithoutAManifestDoesNotExist) {
  EXPECT_FALSE(directory.newest());
  static_cast<void>(directory.write_part(5, 0, bytes_of("cut short")));
  EXPECT_FALSE(directory.newest());
  write(3, "a", "b");
  EXPECT_EQ(directory.newest()->steps, 3U);
}

TEST_F(Checkpoint, TheNewestTwoStay) {
  for (const std::uint64_t steps : {5U, 10U, 15U, 20U}) {
    write(steps, "a", "b");
  }
  std::vector<std::string> left;
  for (const fs::directory_entry& entry : fs::directory_iterator(path)) {
    left.push_back(entry.path().filename().string());
  }
  std::ranges::sort(left);
  EXPECT_THAT(left, ElementsAre("step-00000015", "step-00000020"));
}

TEST_F(Checkpoint, FilesAreTheirOwnersAlone) {
  write(1, "a", "b");
  for (const char* name : {"step-00000001/rank-00000.state", "step-00000001/manifest.json"}) {
    struct stat status{};
    ASSERT_EQ(stat(file(name).c_str(), &status), 0) << name;
    EXPECT_EQ(status.st_mode & 0777U, 0600U) << name;
  }
}

TEST_F(Checkpoint, SoAreItsDirectories) {
  const fs::path below = path / "runs" / "first";
  static_cast<void>(CheckpointDirectory(below.string()).write_part(1, 0, bytes_of("a")));
  for (const fs::path& made : {path, path / "runs", below, below / "step-00000001"}) {
    EXPECT_EQ(fs::status(made).permissions(), fs::perms::owner_all) << made;
  }
}

// On a host that has no manifests: parts alone.
TEST_F(Checkpoint, ARankRemovesItsOwnOldPartsAndNobodyElses) {
  for (const std::uint64_t steps : {5U, 10U, 15U}) {
    static_cast<void>(directory.write_part(steps, 1, bytes_of("a")));
  }
  static_cast<void>(directory.write_part(10, 3, bytes_of("b")));
  directory.remove_parts_before(15, 1);
  EXPECT_FALSE(fs::exists(path / "step-00000005"));
  EXPECT_FALSE(fs::exists(path / "step-00000010/rank-00001.state"));
  EXPECT_TRUE(fs::exists(path / "step-00000010/rank-00003.state"));
  EXPECT_TRUE(fs::exists(path / "step-00000015/rank-00001.state"));
}

TEST_F(Checkpoint, AManifestThatCannotBeLookedAtIsAnError) {
  write(1, "a", "b");
  fs::create_directory(path / "step-00000002");
  fs::create_symlink("manifest.json", path / "step-00000002/manifest.json");
  EXPECT_THAT(refusal(ExitCode::input_output, [&] { return directory.newest_steps().has_value(); }),
              AllOf(HasSubstr("step-00000002/manifest.json"),
                    HasSubstr("Too many levels of symbolic links")));
}

TEST_F(Checkpoint, AnAlteredPartIsRefused) {
  const CheckpointManifest manifest = write(1, "weights", "b");
  const std::string part = file("step-00000001/rank-00000.state");
  for (const char* altered : {"Weights", "weight", ""}) {
    write_file(part, altered);
    EXPECT_THAT(
        refusal(ExitCode::input_output, [&] { return directory.read_part(manifest, 0).size(); }),
        AllOf(HasSubstr(part), HasSubstr("expected 7 bytes"), HasSubstr("damaged")));
  }
  fs::remove(part);
  EXPECT_THAT(
      refusal(ExitCode::input_output, [&] { return directory.read_part(manifest, 0).size(); }),
      HasSubstr(part));
}

TEST_F(Checkpoint, AManifestOfAnotherPlaceIsRefused) {
  write(1, "a", "b");
  fs::rename(path / "step-00000001", path / "step-00000002");
  EXPECT_THAT(refusal(ExitCode::input_output, [&] { return directory.newest().has_value(); }),
              AllOf(HasSubstr("'steps': expected 2"), HasSubstr("found 1")));
}

TEST(CheckpointManifest, SaysWhichKeyIsWrong) {
  const std::string good =
      to_json({.steps = 7, .identity = {}, .parts = {{.bytes = 3, .checksum = 0xabc}}});
  EXPECT_EQ(parse_manifest(good, "m").parts.front().checksum, 0xabcU);
  const auto with = [&](std::string_view from, std::string_view to) {
    std::string text = good;
    text.replace(text.find(from), from.size(), to);
    return text;
  };
  struct Case {
    std::string text;
    std::string complaint;
  };
  for (const Case& one :
       {Case{"{", "expected a JSON document"}, Case{"[]", "'schema_version'"},
        Case{with("\"schema_version\": 1", "\"schema_version\": 2"), "expected 1; found 2"},
        Case{with("\"steps\": 7", "\"steps\": -7"), "'steps': expected a whole number; found -7"},
        Case{with("0000000000000abc", "abc"), "'checksum': expected 16 hexadecimal digits"},
        Case{with("\"parts\"", "\"party\""), "'parts': expected a list; found nothing"},
        Case{with("\"bytes\": 3", "\"bytes\": 3.5"), "'bytes': expected a whole number"}}) {
    EXPECT_THAT(refusal(ExitCode::input_output,
                        [&] { return parse_manifest(one.text, "manifest.json").steps; }),
                AllOf(HasSubstr("manifest.json: "), HasSubstr(one.complaint)))
        << one.text;
  }
}

// Two stages of a rank whose parameters have moved by some optimizer steps.
std::vector<HeldStage> stages_after(int steps) {
  const Program program =
      compile_or_throw(generate(find_family("dualpipe"), {.ranks = 2, .microbatches = 4}), eager);
  std::vector<HeldStage> stages = make_held_stages(
      plan_rank(program, 0), toy_factory({.stages = 2, .microbatches = 4, .before = {}}));
  for (const HeldStage& held : stages) {
    for (int step = 0; step < steps; ++step) {
      held.object->apply_gradient(
          std::vector<float>(ToyStage::width, static_cast<float>(step + held.stage + 1)));
    }
  }
  return stages;
}

TEST(CheckpointStages, ComeBackToTheBit) {
  const std::vector<HeldStage> stages = stages_after(3);
  const std::vector<std::byte> state = save_stages(stages);
  const std::vector<HeldStage> fresh = stages_after(0);
  EXPECT_NE(save_stages(fresh), state);
  restore_stages(state, fresh);
  EXPECT_EQ(save_stages(fresh), state);
  EXPECT_EQ(find_stage_state(state, 1), fresh[1].object->save());
  EXPECT_EQ(find_stage_state(state, 2), std::nullopt);
}

TEST(CheckpointStages, ThatFailToComeBackAreNamed) {
  const std::vector<HeldStage> stages = stages_after(0);
  std::vector<std::byte> state = save_stages(stages);
  state.erase(state.end() - sizeof(float), state.end());  // of the last stage, and of its header:
  const std::size_t header = state.size() - (ToyStage::width - 1) * sizeof(float) - 8;
  state[header] = std::byte{(ToyStage::width - 1) * sizeof(float)};
  EXPECT_THAT(refusal(ExitCode::callback,
                      [&] {
                        restore_stages(state, stages);
                        return 0;
                      }),
              AllOf(HasSubstr("restore() of stage 1 failed"), HasSubstr("as it was saved")));
}

TEST(CheckpointStages, OfAnotherRankOrCutShortAreRefused) {
  std::vector<HeldStage> stages = stages_after(1);
  const std::vector<std::byte> state = save_stages(stages);
  for (const std::size_t length : {std::size_t{5}, std::size_t{20}, state.size() - 1}) {
    EXPECT_THAT(refusal(ExitCode::input_output,
                        [&] {
                          restore_stages(std::span(state).first(length), stages);
                          return 0;
                        }),
                HasSubstr("checkpoint"));
  }
  stages.pop_back();
  EXPECT_THAT(refusal(ExitCode::input_output,
                      [&] {
                        restore_stages(state, stages);
                        return 0;
                      }),
              HasSubstr("the schedule that it was written with"));
}

}  // namespace
}  // namespace dualpipe
