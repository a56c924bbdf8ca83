// The inside of an overlapped pair: what its compute lane and its communication lane do, layer by
// layer, as figure 4 of the DeepSeek-V3 report draws it.

#pragma once

#include <string>
#include <string_view>

#include "costs/overlap.h"
#include "render/figure.h"

namespace dualpipe {

// The two lanes above each other over one time axis, forward pieces, input-gradient pieces,
// weight-gradient pieces and transfers each in a colour; labelled where there is room, titled
// otherwise. `caption` goes above. Of the options, style and width count. Throws Error (usage) as
// draw() does for those two.
[[nodiscard]] Drawing draw_chunk(const OverlappedChunks& chunk, std::string_view caption,
                                 const FigureOptions& options);

// The caption, how busy each lane is, and a line per piece in the order of time: lane, piece,
// layer, begin, end.
[[nodiscard]] std::string chunk_table(const OverlappedChunks& chunk, std::string_view caption);

}  // namespace dualpipe
