#include "runtime/checkpoint.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "costs/error.h"
#include "runtime/checksum.h"
#include "runtime/held_stage.h"
#include "runtime/run_identity.h"
#include "runtime/stage.h"
#include "runtime/trainer_call.h"
#include "scheduler/file.h"

namespace dualpipe {
namespace {

namespace fs = std::filesystem;

constexpr int manifest_version = 1;
constexpr std::string_view step_prefix = "step-";
constexpr const char* manifest_name = "manifest.json";

std::string part_name(int rank) {
  return fmt::format("rank-{:05}.state", rank);
}

std::string_view as_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// Reads members of the manifest; its messages name the key.
class Reader {
 public:
  Reader(const nlohmann::json& object, const std::string& origin)
      : object_(object), origin_(origin) {}

  [[nodiscard]] std::uint64_t number(const char* key) const {
    const nlohmann::json& value = member(key, "a whole number");
    if (!value.is_number_unsigned()) {
      refuse(key, "a whole number", value.dump());
    }
    return value.get<std::uint64_t>();
  }
  // Hashes are hexadecimal text: JSON readers elsewhere lose digits of large numbers.
  [[nodiscard]] std::uint64_t hash(const char* key) const {
    const nlohmann::json& value = member(key, "16 hexadecimal digits");
    const std::string text = value.is_string() ? value.get<std::string>() : value.dump();
    if (text.size() != 16 || text.find_first_not_of("0123456789abcdef") != std::string::npos) {
      refuse(key, "16 hexadecimal digits", text);
    }
    return std::stoull(text, nullptr, 16);
  }
  [[nodiscard]] const nlohmann::json& list(const char* key, nlohmann::json::value_t type) const {
    const nlohmann::json& value = member(key, "a list");
    if (value.type() != type) {
      refuse(key, type == nlohmann::json::value_t::array ? "a list" : "an object", value.dump());
    }
    return value;
  }
  [[noreturn]] void refuse(const char* key, std::string_view expected,
                           std::string_view found) const {
    throw Error(
        ExitCode::input_output,
        fmt::format("{}: '{}': expected {}; found {}; this checkpoint cannot be used: remove "
                    "its directory to go on from the one before",
                    origin_, key, expected, found.substr(0, 80)));
  }

 private:
  [[nodiscard]] const nlohmann::json& member(const char* key, std::string_view expected) const {
    if (!object_.is_object() || !object_.contains(key)) {
      refuse(key, expected, "nothing");
    }
    return object_[key];
  }

  const nlohmann::json& object_;
  const std::string& origin_;
};

}  // namespace

// --- the manifest ---

std::string to_json(const CheckpointManifest& manifest) {
  nlohmann::ordered_json document;
  document["schema_version"] = manifest_version;
  document["steps"] = manifest.steps;
  document["identity"] = nlohmann::ordered_json::object();
  for (const RunIdentity::Concern& concern : manifest.identity.concerns()) {
    document["identity"][concern.name] = fmt::format("{:016x}", concern.hash);
  }
  document["parts"] = nlohmann::ordered_json::array();
  for (const CheckpointPart& part : manifest.parts) {
    document["parts"].push_back(
        {{"bytes", part.bytes}, {"checksum", fmt::format("{:016x}", part.checksum)}});
  }
  return document.dump(1) + "\n";
}

CheckpointManifest parse_manifest(const std::string& text, const std::string& origin) {
  const nlohmann::json document = nlohmann::json::parse(text, nullptr, false);
  const Reader reader(document, origin);
  if (document.is_discarded()) {
    reader.refuse("manifest", "a JSON document", text);
  }
  if (reader.number("schema_version") != manifest_version) {
    reader.refuse("schema_version", std::to_string(manifest_version),
                  std::to_string(reader.number("schema_version")));
  }
  CheckpointManifest manifest{.steps = reader.number("steps"), .identity = {}, .parts = {}};
  const nlohmann::json& identity = reader.list("identity", nlohmann::json::value_t::object);
  for (const auto& [name, hash] : identity.items()) {
    manifest.identity.add({.name = name, .hash = Reader(identity, origin).hash(name.c_str())});
  }
  for (const nlohmann::json& part : reader.list("parts", nlohmann::json::value_t::array)) {
    const Reader member(part, origin);
    manifest.parts.push_back(
        {.bytes = member.number("bytes"), .checksum = member.hash("checksum")});
  }
  return manifest;
}

// --- the directory ---

std::string CheckpointDirectory::place(std::uint64_t steps) const {
  return (fs::path(path_) / fmt::format("{}{:08}", step_prefix, steps)).string();
}

std::vector<std::uint64_t> CheckpointDirectory::begun() const {
  std::vector<std::uint64_t> steps;
  std::error_code error;
  for (fs::directory_iterator entry(path_, error), end; !error && entry != end;
       entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (name.starts_with(step_prefix)) {
      const std::string digits = name.substr(step_prefix.size());
      if (!digits.empty() && digits.size() <= 18 &&
          digits.find_first_not_of("0123456789") == std::string::npos) {
        steps.push_back(std::stoull(digits));
      }
    }
  }
  if (error && error != std::errc::no_such_file_or_directory) {
    throw Error(ExitCode::input_output,
                fmt::format("cannot read '{}': {}", path_, error.message()));
  }
  std::ranges::sort(steps);
  return steps;
}

std::vector<std::uint64_t> CheckpointDirectory::complete() const {
  std::vector<std::uint64_t> steps = begun();
  std::erase_if(steps, [&](std::uint64_t one) {
    const std::string manifest = (fs::path(place(one)) / manifest_name).string();
    std::error_code error;
    const bool exists = fs::exists(manifest, error);
    if (error) {
      throw Error(ExitCode::input_output,
                  fmt::format("cannot read '{}': {}", manifest, error.message()));
    }
    return !exists;
  });
  return steps;
}

CheckpointPart CheckpointDirectory::write_part(std::uint64_t steps, int rank,
                                               std::span<const std::byte> state) const {
  const std::string directory = place(steps);
  make_personal_directory(directory);
  write_file((fs::path(directory) / part_name(rank)).string(), as_text(state), FileCare::durable);
  return {.bytes = state.size(), .checksum = checksum_of(state)};
}

void CheckpointDirectory::write_manifest(const CheckpointManifest& manifest) const {
  const fs::path file = fs::path(place(manifest.steps)) / manifest_name;
  write_file(file.string(), to_json(manifest), FileCare::durable);
  const std::vector<std::uint64_t> steps = complete();
  for (std::size_t one = 0; one + kept < steps.size(); ++one) {
    // The manifest first: what is half removed must not look complete.
    std::error_code ignored;  // A leftover costs room and nothing else.
    fs::remove(fs::path(place(steps[one])) / manifest_name, ignored);
    fs::remove_all(place(steps[one]), ignored);
  }
}

void CheckpointDirectory::remove_parts_before(std::uint64_t steps, int rank) const {
  for (const std::uint64_t one : begun()) {
    if (one < steps) {
      std::error_code ignored;  // As above; and another rank may have removed it.
      fs::remove(fs::path(place(one)) / part_name(rank), ignored);
      fs::remove(place(one), ignored);
    }
  }
}

std::optional<std::uint64_t> CheckpointDirectory::newest_steps() const {
  const std::vector<std::uint64_t> steps = complete();
  return steps.empty() ? std::nullopt : std::optional(steps.back());
}

std::optional<CheckpointManifest> CheckpointDirectory::newest() const {
  const std::optional<std::uint64_t> steps = newest_steps();
  if (!steps) {
    return std::nullopt;
  }
  const std::string file = (fs::path(place(*steps)) / manifest_name).string();
  CheckpointManifest manifest = parse_manifest(read_file(file), file);
  if (manifest.steps != *steps) {
    throw Error(ExitCode::input_output,
                fmt::format("{}: 'steps': expected {}, as its directory says; found {}", file,
                            *steps, manifest.steps));
  }
  return manifest;
}

std::vector<std::byte> CheckpointDirectory::read_part(const CheckpointManifest& manifest,
                                                      int rank) const {
  const std::string file = (fs::path(place(manifest.steps)) / part_name(rank)).string();
  const std::string content = read_file(file);
  const std::span<const std::byte> bytes = std::as_bytes(std::span(content));
  const CheckpointPart& expected = manifest.parts.at(static_cast<std::size_t>(rank));
  const CheckpointPart found{.bytes = bytes.size(), .checksum = checksum_of(bytes)};
  if (found != expected) {
    throw Error(
        ExitCode::input_output,
        fmt::format("{}: expected {} bytes with checksum {:016x}; found {} with {:016x}; the "
                    "checkpoint is damaged: remove its directory to go on from the one "
                    "before",
                    file, expected.bytes, expected.checksum, found.bytes, found.checksum));
  }
  return {bytes.begin(), bytes.end()};
}

// --- stages ---

namespace {

// Before each stage's bytes.
struct StageHeader {
  std::int32_t stage = 0;
  std::int32_t direction = 0;
  std::uint64_t bytes = 0;
};

using Visit = std::function<void(const StageHeader&, std::span<const std::byte>)>;

void for_each_stage(std::span<const std::byte> state, const Visit& visit) {
  while (!state.empty()) {
    StageHeader header;
    if (state.size() < sizeof(header)) {
      throw Error(ExitCode::input_output, "the checkpoint ends inside a stage's header");
    }
    std::memcpy(&header, state.data(), sizeof(header));
    state = state.subspan(sizeof(header));
    if (header.bytes > state.size()) {
      throw Error(ExitCode::input_output,
                  fmt::format("the checkpoint's stage {} has {} bytes where {} are left",
                              header.stage, header.bytes, state.size()));
    }
    visit(header, state.first(header.bytes));
    state = state.subspan(header.bytes);
  }
}

}  // namespace

std::vector<std::byte> save_stages(std::span<const HeldStage> stages) {
  std::vector<std::byte> state;
  for (const HeldStage& held : stages) {
    const std::vector<std::byte> bytes =
        call_between_steps([&] { return fmt::format("save() of stage {}", held.stage); },
                           [&] { return held.object->save(); });
    const StageHeader header{
        .stage = held.stage, .direction = held.direction, .bytes = bytes.size()};
    const std::span<const std::byte> head = std::as_bytes(std::span(&header, 1));
    state.insert(state.end(), head.begin(), head.end());
    state.insert(state.end(), bytes.begin(), bytes.end());
  }
  return state;
}

void restore_stages(std::span<const std::byte> state, std::span<const HeldStage> stages) {
  std::size_t next = 0;
  for_each_stage(state, [&](const StageHeader& header, std::span<const std::byte> bytes) {
    if (next >= stages.size() || header.stage != stages[next].stage ||
        header.direction != stages[next].direction) {
      throw Error(ExitCode::input_output,
                  fmt::format("the checkpoint has stage {} of direction {} where this rank has "
                              "another; use the schedule that it was written with",
                              header.stage, header.direction));
    }
    Stage& stage = *stages[next++].object;
    call_between_steps([&] { return fmt::format("restore() of stage {}", header.stage); },
                       [&] { stage.restore(bytes); });
  });
  if (next != stages.size()) {
    throw Error(ExitCode::input_output,
                fmt::format("the checkpoint has {} stages where this rank has {}; use the schedule "
                            "that it was written with",
                            next, stages.size()));
  }
}

std::optional<std::vector<std::byte>> find_stage_state(std::span<const std::byte> state,
                                                       int stage) {
  std::optional<std::vector<std::byte>> found;
  for_each_stage(state, [&](const StageHeader& header, std::span<const std::byte> bytes) {
    if (header.stage == stage) {
      found.emplace(bytes.begin(), bytes.end());
    }
  });
  return found;
}

}  // namespace dualpipe
