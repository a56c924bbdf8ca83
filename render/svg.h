// Timelines as SVG, for papers and web pages: vector, valid XML, the same bytes for the same
// timeline on any machine.

#pragma once

#include <span>
#include <string>

#include "render/figure.h"
#include "trace/timeline.h"

namespace dualpipe {

using SvgOptions = FigureOptions;  // SVG has none of its own

// One timeline. Throws what draw() throws.
[[nodiscard]] std::string to_svg(const Timeline& timeline, const SvgOptions& options = {});

// Timelines above each other on one time axis. Requires: at least one panel.
[[nodiscard]] std::string to_svg(std::span<const Panel> panels, const SvgOptions& options = {});

// Any figure that is finished.
[[nodiscard]] std::string to_svg(const Drawing& drawing);

}  // namespace dualpipe
