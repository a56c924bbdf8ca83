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
// ordinary: readable by whom the umask lets. personal: by its owner alone, where it is a regular
// file. durable: as personal, and on the disk when this returns.
enum class FileCare { ordinary, personal, durable };
void write_file(const std::string& path, std::string_view content,
                FileCare care = FileCare::ordinary);

// Makes the directory, and those above it that are missing, for their owner alone. Those that were
// missing, and this one even where it is there already, cannot be lost with the power any more.
// Throws Error (input_output).
void make_personal_directory(const std::string& path);

}  // namespace dualpipe
