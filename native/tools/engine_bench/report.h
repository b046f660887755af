#pragma once

#include <string>
#include <vector>

#include "engine_bench/segments.h"

namespace pipo::bench {

/// All that was found out about one model.
struct Report {
  std::string size, dtype;
  EngineInfo info;
  ModelConfig config;
  std::string left_out;  ///< why nothing was timed, in words; then nothing below is set
  int context = 0;       ///< tokens before the decode segments
  const char* pass_name = "";
  double pass = 0;    ///< bytes per second
  double matrix = 0;  ///< operations per second out of registers; 0 on the CPU
  double other_matrix = 0;  ///< of a matrix product that something else has timed; 0: none
  std::vector<Segment> decode = {}, prefill = {};

  bool on_device() const { return !info.device.empty(); }
};

void print_table(const Report& r);
/// One object of a list.
void print_json(const Report& r, bool first);

}  // namespace pipo::bench
