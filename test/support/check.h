#pragma once

#include <cmath>
#include <cstdio>
#include <exception>
#include <functional>
#include <string>
#include <vector>

/// The smallest test frame that builds everywhere the engine builds, also where no package can be fetched:
/// TEST("name") { CHECK(condition); } and `int main(int argc, char** argv) { return pipo::test::run(argc, argv); }`.
namespace pipo::test {

struct Case {
  std::string name;
  std::function<void()> body;
};

inline std::vector<Case>& cases() {
  static std::vector<Case> all;
  return all;
}

inline int& failures() {
  static int count = 0;
  return count;
}

struct Registration {
  Registration(const char* name, std::function<void()> body) { cases().push_back({name, std::move(body)}); }
};

inline void fail(const char* file, int line, const std::string& what) {
  ++failures();
  std::fprintf(stderr, "%s:%d: %s\n", file, line, what.c_str());
}

/// Runs all cases, or those whose name contains argv[1]. Returns the process's exit status.
inline int run(int argc, char** argv) {
  const std::string filter = argc > 1 ? argv[1] : "";
  int ran = 0, failed_cases = 0;
  for (const Case& test : cases()) {
    if (test.name.find(filter) == std::string::npos) continue;
    const int before = failures();
    try {
      test.body();
    } catch (const std::exception& error) {
      fail(test.name.c_str(), 0, std::string("threw: ") + error.what());
    }
    ++ran;
    const bool ok = failures() == before;
    failed_cases += ok ? 0 : 1;
    std::printf("%s %s\n", ok ? "ok    " : "FAILED", test.name.c_str());
  }
  std::printf("%d passed, %d failed\n", ran - failed_cases, failed_cases);
  return failed_cases == 0 && ran > 0 ? 0 : 1;
}

}  // namespace pipo::test

#define PIPO_CONCAT_INNER(a, b) a##b
#define PIPO_CONCAT(a, b) PIPO_CONCAT_INNER(a, b)
#define TEST(name)                                                                                    \
  static void PIPO_CONCAT(test_body_, __LINE__)();                                                    \
  static const ::pipo::test::Registration PIPO_CONCAT(test_registration_, __LINE__)(                  \
      name, PIPO_CONCAT(test_body_, __LINE__));                                                       \
  static void PIPO_CONCAT(test_body_, __LINE__)()
#define CHECK(condition)                                                             \
  do {                                                                               \
    if (!(condition)) ::pipo::test::fail(__FILE__, __LINE__, "not true: " #condition); \
  } while (0)
#define CHECK_MESSAGE(condition, message)                                  \
  do {                                                                     \
    if (!(condition)) ::pipo::test::fail(__FILE__, __LINE__, (message));   \
  } while (0)
#define CHECK_THROWS(expression)                                                            \
  do {                                                                                      \
    bool threw = false;                                                                     \
    try {                                                                                   \
      (void)(expression);                                                                   \
    } catch (const std::exception&) {                                                       \
      threw = true;                                                                         \
    }                                                                                       \
    if (!threw) ::pipo::test::fail(__FILE__, __LINE__, "did not throw: " #expression);      \
  } while (0)
