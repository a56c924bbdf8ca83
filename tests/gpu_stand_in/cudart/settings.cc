#include "tests/gpu_stand_in/cudart/settings.h"

#include <charconv>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <system_error>

#include <unistd.h>

namespace stand_in {
namespace {

template <typename Integer>
void read(const char* name, Integer& value) {
  const char* text = std::getenv(name);
  if (text == nullptr) {
    return;
  }
  const std::string_view view = text;
  const auto [end, error] = std::from_chars(view.data(), view.data() + view.size(), value);
  if (error != std::errc{} || end != view.data() + view.size() || value < Integer{}) {
    static_cast<void>(std::fprintf(
        stderr, "GPU stand-in: %s is '%s'; expected a whole number from 0\n", name, text));
    _exit(2);
  }
}

Settings read_all() {
  Settings settings;
  std::int64_t delay_max = 0;
  std::int64_t kernel_min = 0;
  std::uint64_t rank = 0;
  read("STAND_IN_DEVICES", settings.devices);
  read("STAND_IN_DRIVER_VERSION", settings.driver_version);
  read("STAND_IN_MEMORY_BYTES", settings.memory_bytes);
  read("STAND_IN_QUEUE", settings.queue_capacity);
  read("STAND_IN_DELAY_US", delay_max);
  read("STAND_IN_SEED", settings.seed);
  read("STAND_IN_FIRST_BUS", settings.first_bus);
  read("STAND_IN_KERNEL_US", kernel_min);
  read("STAND_IN_FAILING_KERNEL", settings.failing_kernel);
  read("OMPI_COMM_WORLD_RANK", rank);
  settings.kernel_min = std::chrono::microseconds(kernel_min);
  settings.delay_max = std::chrono::microseconds(delay_max);
  settings.seed = settings.seed * 4096 + rank;
  return settings;
}

}  // namespace

const Settings& settings() {
  static const Settings once = read_all();
  return once;
}

}  // namespace stand_in
