#include "engine_bench/report.h"

#include <cstdio>

#include "core/words.h"
#include "engine_bench/goals.h"

namespace pipo::bench {
namespace {

void print_device_times(const Segment& s) {
  if (s.idle_us.empty()) return;
  std::printf("  %-20s %9.3f ms/step on the device, idle between steps %.2f us, 95 %% below %.2f us\n", "",
              median(s.device_us) * 1e-3, median(s.idle_us), quantile(s.idle_us, 0.95));
}

void print_device_json(const Segment& s) {
  if (s.idle_us.empty()) return;
  std::printf(",\"device_ms_per_step\":%.4f,\"idle_us\":%.3f,\"idle_us_95\":%.3f", median(s.device_us) * 1e-3,
              median(s.idle_us), quantile(s.idle_us, 0.95));
}

}  // namespace

void print_table(const Report& r) {
  if (!r.left_out.empty()) {
    std::printf("%s %s is left out: %s\n", r.size.c_str(), r.dtype.c_str(), r.left_out.c_str());
    return;
  }
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
    print_device_times(s);
  }
  for (const Segment& s : r.prefill) {
    std::printf("  %-20s %9.1f positions/s, first token after %.1f ms\n", s.name.c_str(),
                1e3 / median(s.ms_per_step), median(s.first_token_ms));
  }
  if (r.on_device()) print_goals(r);
}

void print_json(const Report& r, bool first) {
  std::printf("%s{\"size\":\"%s\",\"dtype\":\"%s\"", first ? "" : ",", r.size.c_str(), r.dtype.c_str());
  if (!r.left_out.empty()) {
    std::printf(",\"left_out\":\"%s\"}", r.left_out.c_str());
    return;
  }
  std::printf(",\"group\":%d,\"backend\":\"%s\",\"device\":\"%s\",\"threads\":%d,\"%s_gb_s\":%.2f", r.info.group_size,
              r.info.backend.c_str(), r.info.device.c_str(), r.info.threads, r.pass_name, r.pass / 1e9);
  for (const Segment& s : r.decode) {
    std::printf(",\"%s\":{\"ms_per_step\":%.4f,\"tokens_per_step\":%.3f,\"tokens_per_s\":%.2f,\"share_of_%s\":%.3f",
                s.name.c_str(), median(s.ms_per_step), s.tokens_per_step,
                s.tokens_per_step * 1e3 / median(s.ms_per_step), r.pass_name, median(s.share_of_pass));
    print_device_json(s);
    std::printf("}");
  }
  for (const Segment& s : r.prefill) {
    std::printf(",\"%s\":{\"positions_per_s\":%.1f,\"first_token_ms\":%.3f}", s.name.c_str(),
                1e3 / median(s.ms_per_step), median(s.first_token_ms));
  }
  if (r.on_device()) print_goals_json(r);
  std::printf("}");
}

}  // namespace pipo::bench
