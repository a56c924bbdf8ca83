// What NCCL's last failure in this process was, in words. Any thread.

#pragma once

#include <string>

namespace stand_in {

void set_last_error(const std::string& why);
[[nodiscard]] std::string last_error();

}  // namespace stand_in
