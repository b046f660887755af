#pragma once

#include <string>
#include <vector>

#include "pipo/engine.h"

namespace pipo::bench {

struct Options {
  std::vector<std::string> sizes = {"tiny", "0.8b"};
  std::vector<std::string> dtypes = {"int8", "int4"};
  int group = 32;
  int threads = 0;
  std::string kernels;
  int steps = 24;
  std::vector<int> prompts = {256};  ///< tokens of the prefill segments
  int context = 64;                  ///< tokens before the decode segments
  int repeat = 7;
  double matrix_tflops = 0;  ///< of a matrix product that something else has timed on this device; 0: none
  CudaOptions cuda;
  std::string cache;  ///< folder of the models
};

/// Throws Error for what is not an option.
Options parse_options(int argc, char** argv);

WeightDtype dtype_of(const std::string& name);

}  // namespace pipo::bench
