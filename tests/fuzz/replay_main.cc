// Runs a fuzz target over every file of the folders that it is given, in the order of their names:
// the corpus as a test, for builds without libFuzzer.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "scheduler/file.h"

// NOLINTNEXTLINE(readability-identifier-naming): the name that libFuzzer calls
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

std::vector<std::string> files_of(std::span<char*> folders) {
  std::vector<std::string> paths;
  for (const char* folder : folders) {
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
      paths.push_back(entry.path().string());
    }
  }
  std::ranges::sort(paths);
  return paths;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const std::vector<std::string> paths =
        files_of(std::span(argv, static_cast<std::size_t>(argc)).subspan(1));
    for (const std::string& path : paths) {
      std::fprintf(stderr, "%s\n", path.c_str());  // the last one named is the one that failed
      const std::string content = dualpipe::read_file(path);
      const std::vector<std::uint8_t> bytes(content.begin(), content.end());
      LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
    }
    return paths.empty() ? 1 : 0;  // no files means a wrong folder
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
