/// How fast the engine decodes and prefills random models of real shapes, beside a plain read of as many bytes.
///
///   pipo_engine_bench [--size tiny,0.8b,4b] [--dtype int8,mix,int4] [--group 32] [--threads N] [--kernels NAME]
///                     [--steps 24] [--prompt 256,2048] [--context 64] [--repeat 7] [--cache FOLDER]
///                     [--cuda-library FILE] [--cuda-driver FILE] [--stepping graph|launches|eager]
///
/// Segments alternate (memory pass, plain, pair ...), because a machine's speed moves; figures are medians over the
/// repetitions. The memory pass is a read on the CPU and a copy on a device, each of as many bytes as a step reads.
/// Acceptance is forced by the threshold: a random model's own means nothing. The last line is one JSON object.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "core/words.h"
#include "kernels/backend.h"
#include "kernels/cuda_library.h"
#include "pipo/engine.h"
#include "pipo/error.h"
#include "pipo/random_model.h"
#include "pipo/session.h"
#include "platform/clock.h"

namespace {

using namespace pipo;

struct Options {
  std::vector<std::string> sizes = {"tiny", "0.8b"};
  std::vector<std::string> dtypes = {"int8", "int4"};
  int group = 32;
  int threads = 0;
  std::string kernels;
  int steps = 24;
  std::vector<std::string> prompts = {"256"};  ///< tokens of the prefill segments
  int context = 64;  ///< tokens before the decode segments
  int repeat = 7;
  CudaOptions cuda;
  std::string cache = (std::filesystem::temp_directory_path() / "pipo-bench").string();
};

std::vector<std::string> split(const std::string& list) {
  std::vector<std::string> words;
  std::istringstream in(list);
  for (std::string word; std::getline(in, word, ',');) words.push_back(word);
  return words;
}

DeviceStepping stepping_of(const std::string& name) {
  const std::map<std::string, DeviceStepping> names = {{"graph", DeviceStepping::kGraph},
                                                       {"launches", DeviceStepping::kLaunches},
                                                       {"eager", DeviceStepping::kEager}};
  return names.at(name);
}

Options parse(int argc, char** argv) {
  Options o;
  const std::map<std::string, std::function<void(const std::string&)>> flags = {
      {"--size", [&](const std::string& v) { o.sizes = split(v); }},
      {"--dtype", [&](const std::string& v) { o.dtypes = split(v); }},
      {"--group", [&](const std::string& v) { o.group = std::stoi(v); }},
      {"--threads", [&](const std::string& v) { o.threads = std::stoi(v); }},
      {"--kernels", [&](const std::string& v) { o.kernels = v; }},
      {"--steps", [&](const std::string& v) { o.steps = std::stoi(v); }},
      {"--prompt", [&](const std::string& v) { o.prompts = split(v); }},
      {"--context", [&](const std::string& v) { o.context = std::stoi(v); }},
      {"--repeat", [&](const std::string& v) { o.repeat = std::stoi(v); }},
      {"--cuda-library", [&](const std::string& v) { o.cuda.library = v; }},
      {"--cuda-driver", [&](const std::string& v) { o.cuda.driver = v; }},
      {"--stepping", [&](const std::string& v) { o.cuda.stepping = stepping_of(v); }},
      {"--cache", [&](const std::string& v) { o.cache = v; }},
  };
  for (int i = 1; i < argc; i += 2) {
    const auto flag = flags.find(argv[i]);
    if (flag == flags.end() || i + 1 == argc)
      throw Error(ErrorCode::kBadRequest, std::string("unknown or incomplete option ") + argv[i]);
    flag->second(argv[i + 1]);
  }
  return o;
}

WeightDtype dtype_of(const std::string& name) {
  const std::map<std::string, WeightDtype> names = {{"f32", WeightDtype::kF32},
                                                    {"bf16", WeightDtype::kBf16},
                                                    {"int8", WeightDtype::kInt8},
                                                    {"int4", WeightDtype::kInt4},
                                                    {"mix", WeightDtype::kMix}};
  return names.at(name);
}

double median(std::vector<double> v) {
  std::sort(v.begin(), v.end());
  return v.empty() ? 0.0 : v[v.size() / 2];
}

/// One thing that is timed: a request, and the bytes that one of its steps reads.
struct Segment {
  std::string name;
  GenerateRequest request;
  std::int64_t bytes_per_step = 0;
  std::vector<double> ms_per_step = {};    ///< decode; per position for prefill
  std::vector<double> share_of_pass = {};  ///< of the memory pass next to it
  std::vector<double> first_token_ms = {};
  double tokens_per_step = 1.0;
};

std::vector<std::int32_t> prompt_of(int count, int seed) {
  std::vector<std::int32_t> ids;
  for (int i = 0; i < count; ++i) ids.push_back(2 + (i * 7919 + seed * 104729) % 8000);
  return ids;
}

std::vector<Segment> decode_segments(const Options& o, const EngineInfo& info) {
  const std::int64_t plain = info.backbone_bytes_per_step + info.head_bytes;
  const auto make = [&](const char* name, DecodeMode mode, float threshold, std::int64_t bytes) {
    Segment s{name, {}, bytes};
    s.request.mode = mode;
    s.request.threshold = threshold;
    s.request.prompt_ids = prompt_of(o.context, 1);
    s.request.max_new_tokens = 1 << 20;
    return s;
  };
  constexpr float kNoGate = -1.0f, kRejectAll = 0.9999999f, kNoDraft = 1.0f;
  return {make("plain", DecodeMode::kPlain, kNoGate, plain),
          make("pair, all accepted", DecodeMode::kPair, 0.0f, plain + info.draft_bytes_per_step + info.head_bytes),
          make("pair, all rejected", DecodeMode::kPair, kRejectAll, plain + info.draft_bytes_per_step),
          make("pair, no drafts", DecodeMode::kPair, kNoDraft, plain)};
}

void run_decode(Session& session, Segment& segment, int steps, double bytes_per_second) {
  int done = 0;
  double begin_ms = 0, end_ms = 0;
  session.reset();
  const GenerateResult result = session.generate(segment.request, [&](const Step& step) {
    if (++done == 2) begin_ms = step.done_at_ms;  // the first steps warm up
    end_ms = step.done_at_ms;
    return done < steps + 2;
  });
  const double ms = (end_ms - begin_ms) / steps;
  segment.ms_per_step.push_back(ms);
  segment.share_of_pass.push_back(static_cast<double>(segment.bytes_per_step) / (ms * 1e-3) / bytes_per_second);
  segment.tokens_per_step = static_cast<double>(result.stats.tokens) / result.stats.steps;
}

void run_prefill(Session& session, Segment& segment) {
  session.reset();
  const GenerateResult result = session.generate(segment.request);
  segment.ms_per_step.push_back(result.stats.prefill_ms / result.stats.extend_positions);
  segment.first_token_ms.push_back(result.stats.ttft_ms);
}

/// Prompts of each length in both modes, up to the first token.
std::vector<Segment> prefill_segments(const Options& o) {
  std::vector<Segment> segments;
  for (const std::string& length : o.prompts) {
    for (const DecodeMode mode : {DecodeMode::kPlain, DecodeMode::kPair}) {
      Segment s{std::string(mode == DecodeMode::kPlain ? "prefill plain " : "prefill pair ") + length, {}};
      s.request.mode = mode;
      s.request.prompt_ids = prompt_of(std::stoi(length), 3);
      s.request.max_new_tokens = 1;
      segments.push_back(s);
    }
  }
  return segments;
}

/// Positions of a session for all segments of a bench.
int positions_for(const Options& o) {
  int most = o.context + o.steps + 8;
  for (const std::string& length : o.prompts) most = std::max(most, std::stoi(length) + 8);
  return most;
}

/// What the steps are compared with: how fast as many bytes pass through the memory that holds the weights.
class MemoryPass {
 public:
  MemoryPass(const Options& o, const EngineInfo& info)
      : bytes_(std::min<std::int64_t>(info.backbone_bytes_per_step + info.head_bytes, 1 << 30)),
        threads_(info.threads) {
    if (!info.device.empty()) cuda_ = kernels::open_cuda_library({o.cuda.library, o.cuda.driver}, nullptr);
  }
  double bytes_per_second() const {
    if (!cuda_) return kernels::measure_read_bandwidth(bytes_, threads_, 3);
    double found = 0;
    PipoCudaError error{};
    const PipoCudaStatus status = cuda_->api().measure_copy(bytes_, &found, &error);
    if (status != kPipoCudaOk) throw Error(ErrorCode::kInternal, error.words);
    return found;
  }
  const char* name() const { return cuda_ ? "copy" : "read"; }

 private:
  std::int64_t bytes_;
  int threads_;
  std::shared_ptr<kernels::CudaLibrary> cuda_;
};

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

struct Report {
  std::string size, dtype;
  EngineInfo info;
  const char* pass_name = "";
  double pass = 0;  ///< bytes per second
  std::vector<Segment> decode, prefill;
};

void print_json(const Report& r, bool first) {
  std::printf(
      "%s{\"size\":\"%s\",\"dtype\":\"%s\",\"group\":%d,\"backend\":\"%s\",\"device\":\"%s\",\"threads\":%d,"
      "\"%s_gb_s\":%.2f",
      first ? "" : ",", r.size.c_str(), r.dtype.c_str(), r.info.group_size, r.info.backend.c_str(),
      r.info.device.c_str(), r.info.threads, r.pass_name, r.pass / 1e9);
  for (const Segment& s : r.decode) {
    std::printf(",\"%s\":{\"ms_per_step\":%.4f,\"tokens_per_step\":%.3f,\"tokens_per_s\":%.2f,\"share_of_%s\":%.3f}",
                s.name.c_str(), median(s.ms_per_step), s.tokens_per_step,
                s.tokens_per_step * 1e3 / median(s.ms_per_step), r.pass_name, median(s.share_of_pass));
  }
  for (const Segment& s : r.prefill) {
    std::printf(",\"%s\":{\"positions_per_s\":%.1f,\"first_token_ms\":%.3f}", s.name.c_str(),
                1e3 / median(s.ms_per_step), median(s.first_token_ms));
  }
  std::printf("}");
}

Report bench(const Options& o, const std::string& size, const std::string& dtype) {
  LoadOptions options;
  options.threads = o.threads;
  options.kernels = o.kernels;
  options.cuda = o.cuda;
  const auto engine = Engine::load_packed(model_file(o, size, dtype), options);
  const MemoryPass pass(o, engine->info());
  Report r{size, dtype, engine->info(), pass.name(), 0, decode_segments(o, engine->info()), prefill_segments(o)};
  const auto session = engine->create_session(std::min(positions_for(o), engine->config().max_positions));
  std::vector<double> passes;
  for (int i = 0; i < o.repeat; ++i) {
    for (Segment& s : r.decode) {
      passes.push_back(pass.bytes_per_second());
      run_decode(*session, s, o.steps, passes.back());
    }
    for (Segment& s : r.prefill) run_prefill(*session, s);
  }
  r.pass = median(passes);
  return r;
}

void print_table(const Report& r) {
  const std::string where =
      r.info.device.empty() ? r.info.backend + ", " + std::to_string(r.info.threads) + " threads" : r.info.device;
  std::printf("%s %s, group %d, %s: weights %s, loaded in %.0f ms, memory %s %.1f GB/s\n", r.size.c_str(),
              r.dtype.c_str(), r.info.group_size, where.c_str(), bytes_in_words(r.info.weight_bytes).c_str(),
              r.info.load_ms, r.pass_name, r.pass / 1e9);
  if (!r.info.backend_note.empty()) std::printf("  %s\n", r.info.backend_note.c_str());
  for (const Segment& s : r.decode) {
    std::printf("  %-20s %9.3f ms/step %6.2f tokens/step %9.1f tokens/s %9s/step  %.2f of the %s\n",
                s.name.c_str(), median(s.ms_per_step), s.tokens_per_step,
                s.tokens_per_step * 1e3 / median(s.ms_per_step), bytes_in_words(s.bytes_per_step).c_str(),
                median(s.share_of_pass), r.pass_name);
  }
  for (const Segment& s : r.prefill) {
    std::printf("  %-20s %9.1f positions/s, first token after %.1f ms\n", s.name.c_str(),
                1e3 / median(s.ms_per_step), median(s.first_token_ms));
  }
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const Options options = parse(argc, argv);
    std::vector<Report> reports;
    for (const std::string& size : options.sizes) {
      for (const std::string& dtype : options.dtypes) {
        reports.push_back(bench(options, size, dtype));
        print_table(reports.back());
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
