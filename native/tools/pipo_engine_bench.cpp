/// How fast the engine decodes and prefills random models of real shapes, beside a plain read of as many bytes.
///
///   pipo_engine_bench [--size tiny,0.8b,4b] [--dtype int8,mix,int4] [--group 32] [--threads N] [--kernels NAME]
///                     [--steps 24] [--prompt 256] [--context 64] [--repeat 7] [--cache FOLDER]
///
/// Segments alternate (read pass, plain, pair ...), because a machine's speed moves; figures are medians over the
/// repetitions. Acceptance is forced by the threshold: a random model's own means nothing. The last line is one JSON
/// object.
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
  int prompt = 256;  ///< tokens of the prefill segments
  int context = 64;  ///< tokens before the decode segments
  int repeat = 7;
  std::string cache = (std::filesystem::temp_directory_path() / "pipo-bench").string();
};

std::vector<std::string> split(const std::string& list) {
  std::vector<std::string> words;
  std::istringstream in(list);
  for (std::string word; std::getline(in, word, ',');) words.push_back(word);
  return words;
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
      {"--prompt", [&](const std::string& v) { o.prompt = std::stoi(v); }},
      {"--context", [&](const std::string& v) { o.context = std::stoi(v); }},
      {"--repeat", [&](const std::string& v) { o.repeat = std::stoi(v); }},
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
  std::vector<double> share_of_read = {};  ///< of the read pass next to it
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
  segment.share_of_read.push_back(static_cast<double>(segment.bytes_per_step) / (ms * 1e-3) / bytes_per_second);
  segment.tokens_per_step = static_cast<double>(result.stats.tokens) / result.stats.steps;
}

void run_prefill(Session& session, Segment& segment) {
  session.reset();
  const GenerateResult result = session.generate(segment.request);
  segment.ms_per_step.push_back(result.stats.prefill_ms / result.stats.extend_positions);
}

std::string model_file(const Options& o, const std::string& size, const std::string& dtype) {
  std::filesystem::create_directories(o.cache);
  const std::string path = o.cache + "/random-" + size + "-" + dtype + "-g" + std::to_string(o.group) + ".pipo";
  LoadOptions options;
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

void print_json(const std::string& size, const std::string& dtype, const EngineInfo& info, double read,
                const std::vector<Segment>& decode, const std::vector<Segment>& prefill, bool first) {
  std::printf("%s{\"size\":\"%s\",\"dtype\":\"%s\",\"group\":%d,\"backend\":\"%s\",\"threads\":%d,\"read_gb_s\":%.2f",
              first ? "" : ",", size.c_str(), dtype.c_str(), info.group_size, info.backend.c_str(), info.threads,
              read / 1e9);
  for (const Segment& s : decode) {
    std::printf(",\"%s\":{\"ms_per_step\":%.4f,\"tokens_per_step\":%.3f,\"tokens_per_s\":%.2f,\"share_of_read\":%.3f}",
                s.name.c_str(), median(s.ms_per_step), s.tokens_per_step,
                s.tokens_per_step * 1e3 / median(s.ms_per_step), median(s.share_of_read));
  }
  for (const Segment& s : prefill) {
    std::printf(",\"%s\":{\"positions_per_s\":%.1f}", s.name.c_str(), 1e3 / median(s.ms_per_step));
  }
  std::printf("}");
}

struct Report {
  std::string size, dtype;
  EngineInfo info;
  double read = 0;
  std::vector<Segment> decode, prefill;
};

Report bench(const Options& o, const std::string& size, const std::string& dtype) {
  LoadOptions options;
  options.threads = o.threads;
  options.kernels = o.kernels;
  const auto engine = Engine::load_packed(model_file(o, size, dtype), options);
  Report r{size, dtype, engine->info(), 0, {}, {}};
  r.decode = decode_segments(o, r.info);
  for (const DecodeMode mode : {DecodeMode::kPlain, DecodeMode::kPair}) {
    Segment s{mode == DecodeMode::kPlain ? "prefill plain" : "prefill pair", {}};
    s.request.mode = mode;
    s.request.prompt_ids = prompt_of(o.prompt, 3);
    r.prefill.push_back(s);
  }
  const auto session = engine->create_session(std::min(2048, engine->config().max_positions));
  const std::int64_t read_bytes = std::min<std::int64_t>(r.info.backbone_bytes_per_step + r.info.head_bytes, 1 << 30);
  std::vector<double> reads;
  for (int i = 0; i < o.repeat; ++i) {
    for (Segment& s : r.decode) {
      reads.push_back(kernels::measure_read_bandwidth(read_bytes, r.info.threads, 3));
      run_decode(*session, s, o.steps, reads.back());
    }
    for (Segment& s : r.prefill) run_prefill(*session, s);
  }
  r.read = median(reads);
  return r;
}

void print_table(const Report& r) {
  std::printf("%s %s, group %d, %s, %d threads: weights %s, loaded in %.0f ms, read pass %.1f GB/s\n", r.size.c_str(),
              r.dtype.c_str(), r.info.group_size, r.info.backend.c_str(), r.info.threads,
              bytes_in_words(r.info.weight_bytes).c_str(), r.info.load_ms, r.read / 1e9);
  for (const Segment& s : r.decode) {
    std::printf("  %-20s %9.3f ms/step %6.2f tokens/step %9.1f tokens/s %9s/step  %.2f of the read pass\n",
                s.name.c_str(), median(s.ms_per_step), s.tokens_per_step,
                s.tokens_per_step * 1e3 / median(s.ms_per_step), bytes_in_words(s.bytes_per_step).c_str(),
                median(s.share_of_read));
  }
  for (const Segment& s : r.prefill) {
    std::printf("  %-20s %9.1f positions/s\n", s.name.c_str(), 1e3 / median(s.ms_per_step));
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
      const Report& r = reports[i];
      print_json(r.size, r.dtype, r.info, r.read, r.decode, r.prefill, i == 0);
    }
    std::printf("]}\n");
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "pipo_engine_bench: %s\n", error.what());
    return 1;
  }
}
