// The families, one per file of this directory; generate.cc lists them.

#pragma once

#include "scheduler/generate.h"

namespace dualpipe {

extern const Family dualpipe_family;
extern const Family dualpipev_family;
extern const Family gpipe_family;
extern const Family interleaved_family;
extern const Family one_f_one_b_family;

}  // namespace dualpipe
