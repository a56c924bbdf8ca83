#include "render/drawing.h"

#include <string_view>

namespace dualpipe {
namespace {

// In hundredths of an em. A byte that continues a UTF-8 character (10xxxxxx) adds nothing.
Length width_of(char byte) {
  constexpr std::string_view narrow = "fijlrtI .,:;'!|()[]-";
  constexpr std::string_view wide = "mwMW%";
  if ((static_cast<unsigned char>(byte) & 0xc0U) == 0x80U) {
    return 0;
  }
  if (narrow.find(byte) != std::string_view::npos) {
    return 37;
  }
  return wide.find(byte) != std::string_view::npos ? 93 : 61;
}

}  // namespace

Length text_width(std::string_view text, Length size) {
  Length hundredths = 0;
  for (const char byte : text) {
    hundredths += width_of(byte);
  }
  return hundredths * size / 100;
}

Length centred_baseline(Length middle, Length size) {
  return middle + size * 36 / 100;
}

}  // namespace dualpipe
