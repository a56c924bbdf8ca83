// The families, one per file of this directory; generate.cc lists them.

#pragma once

#include "scheduler/generate.h"

namespace dualpipe {

extern const Family bitpipe_family;
extern const Family chimera_doubling_family;
extern const Family chimera_family;
extern const Family dualpipe_family;
extern const Family dualpipev_family;
extern const Family gems_family;
extern const Family gis_family;
extern const Family gis_h_family;
extern const Family gpipe_family;
extern const Family hanayo_family;
extern const Family interleaved_family;
extern const Family interleaved_zb_family;
extern const Family looped_bfs_family;
extern const Family one_f_one_b_family;
extern const Family one_f_one_b_v_family;
extern const Family v_half_family;
extern const Family v_min_family;
extern const Family zb_1p_family;
extern const Family zb_2p_family;
extern const Family zb_h1_family;
extern const Family zb_h2_family;
extern const Family zb_v_family;

}  // namespace dualpipe
