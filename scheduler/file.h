// Reading and writing whole files, with errors that say which file and why.

#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

namespace dualpipe {

// "-" is stdin. Throws Error (input_output).
[[nodiscard]] std::string read_file(const std::string& path);

// As above; but shows the beginning of a long file to `check_head`, which throws if there is no
// point in reading the rest.
inline constexpr std::size_t head_bytes = 1 << 16;
[[nodiscard]] std::string read_file(const std::string& path,
                                    const std::function<void(std::string_view head)>& check_head);

// As above, of text that people edit: without the byte order mark (EF BB BF) that some editors put
// before UTF-8, also in the beginning that `check_head` is shown.
[[nodiscard]] std::string read_text(
    const std::string& path, const std::function<void(std::string_view head)>& check_head = {});

// "-" is stdout. A regular file is written beside its place and then moved there, so that nobody
// ever sees half of it and a failure leaves the old one. Throws Error (input_output).
// durable: it is on the disk when this returns, and readable by its owner alone.
enum class FileCare { ordinary, durable };
void write_file(const std::string& path, std::string_view content,
                FileCare care = FileCare::ordinary);

}  // namespace dualpipe
