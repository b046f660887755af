#include "weights/config_document.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <map>
#include <optional>
#include <sstream>
#include <vector>

#include "pipo/model_schema.h"

namespace pipo {
namespace {

class DocumentWriter {
 public:
  void text(const char* name, const std::string& value) { line(name, value); }
  void integer(const char* name, std::int32_t value, std::int32_t) { line(name, std::to_string(value)); }
  void number(const char* name, double value) {
    char digits[32];
    std::snprintf(digits, sizeof digits, "%.17g", value);
    line(name, digits);
  }
  void flag(const char* name, bool value) { line(name, value ? "true" : "false"); }
  void flag_or_absent(const char* name, bool value) {
    if (value) flag(name, value);
  }
  template <class Enum>
  void choice(const char* name, Enum value, schema::Words<Enum> words) {
    line(name, schema::word_of(words, value));
  }
  template <class Enum>
  void choices(const char* name, const std::vector<Enum>& values, schema::Words<Enum> words) {
    std::string joined;
    for (const Enum value : values) joined += (joined.empty() ? "" : " ") + std::string(schema::word_of(words, value));
    line(name, joined);
  }
  template <class Object, class Visit>
  void optional(const char* name, const std::optional<Object>& object, Visit visit) {
    if (!object) return;
    const std::string outer = prefix_;
    prefix_ += std::string(name) + ".";
    visit(*this, *object);
    prefix_ = outer;
  }
  std::string take() { return std::move(document_); }

 private:
  void line(const char* name, const std::string& value) { document_ += prefix_ + name + " " + value + "\n"; }

  std::string prefix_;
  std::string document_;
};

class DocumentReader {
 public:
  explicit DocumentReader(const std::string& document) {
    std::istringstream lines(document);
    for (std::string line; std::getline(lines, line);) {
      if (line.empty()) continue;
      const std::size_t space = line.find(' ');
      const std::string key = line.substr(0, space);
      const std::string value = space == std::string::npos ? "" : line.substr(space + 1);
      if (!values_.emplace(key, value).second) fail(key, "appears twice");
    }
  }

  void text(const char* name, std::string& value) { value = take(name); }
  void integer(const char* name, std::int32_t& value, std::int32_t least) {
    const std::string digits = take(name);
    char* end = nullptr;
    errno = 0;
    const long long found = std::strtoll(digits.c_str(), &end, 10);
    const bool fits = errno == 0 && least <= found && found <= std::numeric_limits<std::int32_t>::max();
    if (digits.empty() || *end != '\0' || !fits) fail(prefix_ + name, "is out of range");
    value = static_cast<std::int32_t>(found);
  }
  void number(const char* name, double& value) {
    const std::string digits = take(name);
    char* end = nullptr;
    value = std::strtod(digits.c_str(), &end);
    if (digits.empty() || *end != '\0') fail(prefix_ + name, "is not a number");
  }
  void flag(const char* name, bool& value) {
    const std::string word = take(name);
    if (word != "true" && word != "false") fail(prefix_ + name, "is neither true nor false");
    value = word == "true";
  }
  void flag_or_absent(const char* name, bool& value) {
    if (values_.contains(prefix_ + name)) flag(name, value);
  }
  template <class Enum>
  void choice(const char* name, Enum& value, schema::Words<Enum> words) {
    value = meaning(name, take(name), words);
  }
  template <class Enum>
  void choices(const char* name, std::vector<Enum>& values, schema::Words<Enum> words) {
    std::istringstream found(take(name));
    for (std::string word; found >> word;) values.push_back(meaning(name, word, words));
  }
  template <class Object, class Visit>
  void optional(const char* name, std::optional<Object>& object, Visit visit) {
    const std::string outer = prefix_;
    prefix_ += std::string(name) + ".";
    const auto first = values_.lower_bound(prefix_);
    if (first != values_.end() && first->first.starts_with(prefix_)) visit(*this, object.emplace());
    prefix_ = outer;
  }

  void require_all_read() const {
    if (!values_.empty()) fail(values_.begin()->first, "is not a field of a model");
  }

 private:
  template <class Enum>
  Enum meaning(const char* name, const std::string& word, schema::Words<Enum> words) const {
    for (const auto& known : words) {
      if (word == known.word) return known.value;
    }
    fail(prefix_ + name, "is not a word that is known");
  }
  std::string take(const char* name) {
    const auto found = values_.find(prefix_ + name);
    if (found == values_.end()) fail(prefix_ + name, "is missing");
    std::string value = std::move(found->second);
    values_.erase(found);
    return value;
  }
  [[noreturn]] static void fail(const std::string& field, const std::string& what) {
    throw Error(ErrorCode::kBadFile, "its description is damaged: " + field + " " + what);
  }

  std::string prefix_;
  std::map<std::string, std::string> values_;
};

}  // namespace

std::string write_config_document(const ModelConfig& config) {
  DocumentWriter writer;
  schema::visit_config(writer, config);
  return writer.take();
}

ModelConfig read_config_document(const std::string& document) {
  DocumentReader reader(document);
  ModelConfig config;
  schema::visit_config(reader, config);
  reader.require_all_read();
  return config;
}

}  // namespace pipo
