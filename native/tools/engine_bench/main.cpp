/// How fast the engine decodes and prefills random models of real shapes, beside a plain read of as many bytes.
///
///   pipo_engine_bench [--size tiny,0.8b,4b] [--dtype int8,mix,int4] [--group 32] [--threads N] [--kernels NAME]
///                     [--steps 24] [--prompt 256,2048] [--context 64] [--repeat 7] [--cache FOLDER]
///                     [--cuda-library FILE] [--cuda-driver FILE] [--stepping graph|launches|eager]
///                     [--matrix-tflops RATE]
///
/// Segments alternate (memory pass, plain, pair ...), because a machine's speed moves; figures are medians over the
/// repetitions. The memory pass is a read on the CPU and a copy on a device, each of as many bytes as a step reads.
/// Acceptance is forced by the threshold: a random model's own means nothing. On a device a table of goals follows, as
/// shares of what the device was measured to do in between; a matrix product that another library has timed on it
/// (--matrix-tflops) counts where it is the faster. The last line is one JSON object.
#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "engine_bench/device_rates.h"
#include "engine_bench/options.h"
#include "engine_bench/report.h"
#include "engine_bench/segments.h"
#include "pipo/error.h"
#include "pipo/random_model.h"

namespace {

using namespace pipo;
using namespace pipo::bench;

/// Before minutes go into files of many gigabytes.
void require_device(const Options& o) {
  std::string reason;
  if (o.kernels != "cuda" || kernels::open_cuda_library({o.cuda.library, o.cuda.driver}, &reason)) return;
  throw Error(ErrorCode::kUnsupported, "CUDA cannot be used: " + reason);
}

std::string model_file(const Options& o, const std::string& size, const std::string& dtype) {
  std::filesystem::create_directories(o.cache);
  const std::string path = o.cache + "/random-" + size + "-" + dtype + "-g" + std::to_string(o.group) + ".pipo";
  LoadOptions options;
  options.kernels = "cpu";
  try {
    if (std::filesystem::exists(path)) Engine::load_packed(path, options);
  } catch (const Error&) {
    std::filesystem::remove(path);
  }
  if (!std::filesystem::exists(path)) {
    std::fprintf(stderr, "writing %s\n", path.c_str());
    write_random_packed_file(path, "random " + size, released_config(size), dtype_of(dtype), o.group, o.threads);
  }
  return path;
}

Report run_bench(const Options& o, const std::string& size, const std::string& dtype) {
  LoadOptions options;
  options.threads = o.threads;
  options.kernels = o.kernels;
  options.cuda = o.cuda;
  const auto engine = Engine::load_packed(model_file(o, size, dtype), options);
  const DeviceRates rates(o, engine->info());
  Report r{size, dtype, engine->info(), engine->config(), {}, o.context, rates.pass_name()};
  r.decode = decode_segments(o, engine->info());
  r.prefill = prefill_segments(o);
  r.other_matrix = o.matrix_tflops * 1e12;
  const auto session = engine->create_session(std::min(positions_for(o), engine->config().max_positions));
  std::vector<double> passes;
  for (int i = 0; i < o.repeat; ++i) {
    for (Segment& s : r.decode) {
      passes.push_back(rates.memory_pass());
      run_decode(*session, s, o.steps, passes.back());
    }
    if (rates.on_device()) r.matrix = std::max(r.matrix, rates.matrix());
    for (Segment& s : r.prefill) run_prefill(*session, s, rates.on_device());
  }
  r.pass = median(passes);
  return r;
}

/// A model that is too large for this machine or device is left out; the others are timed.
Report bench_of(const Options& o, const std::string& size, const std::string& dtype) {
  try {
    return run_bench(o, size, dtype);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kNotEnoughMemory) throw;
    return {size, dtype, {}, {}, error.what()};
  }
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const Options options = parse_options(argc, argv);
    require_device(options);
    std::vector<Report> reports;
    for (const std::string& size : options.sizes) {
      for (const std::string& dtype : options.dtypes) {
        reports.push_back(bench_of(options, size, dtype));
        print_table(reports.back());
        std::fflush(stdout);
      }
    }
    std::printf("{\"results\":[");
    for (std::size_t i = 0; i < reports.size(); ++i) {
      print_json(reports[i], i == 0);
    }
    std::printf("]}\n");
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "pipo_engine_bench: %s\n", error.what());
    return 1;
  }
}
