#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "pipo/error.h"

/// Files as the engine needs them. One implementation per platform; POSIX is the only one so far.
namespace pipo {

/// A file read at positions, from any thread. A file that shrinks while open gives an error, never a signal.
class ReadFile {
 public:
  /// Throws pipo::Error kIo, naming the file.
  explicit ReadFile(const std::string& path);
  ~ReadFile();
  ReadFile(const ReadFile&) = delete;
  ReadFile& operator=(const ReadFile&) = delete;

  const std::string& path() const { return path_; }
  std::uint64_t size() const { return size_; }
  /// Fills `out` from `offset`; throws kBadFile when the file ends before, kIo when it cannot be read.
  void read(std::uint64_t offset, std::span<std::byte> out) const;

 private:
  std::string path_;
  std::uint64_t size_ = 0;
  int descriptor_ = -1;  // opened last: it fills size_
};

/// A whole file mapped read-only.
class MappedFile {
 public:
  MappedFile() = default;
  /// Throws pipo::Error kIo, naming the file.
  explicit MappedFile(const std::string& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;

  const std::byte* data() const { return data_; }
  std::uint64_t size() const { return size_; }

 private:
  const std::byte* data_ = nullptr;
  std::uint64_t size_ = 0;
};

/// A file could not be written: no space, no permission.
class WriteError : public Error {
 public:
  explicit WriteError(const std::string& message) : Error(ErrorCode::kIo, message) {}
};

/// Writes a file that appears under its name only when complete: a temporary sibling, synced and renamed.
/// Siblings that crashed writers left behind are removed; those of living writers are not.
class AtomicFile {
 public:
  /// Throws WriteError, as all that follow, naming the file and the reason.
  explicit AtomicFile(const std::string& path);
  /// Removes the temporary file unless committed.
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  /// From any thread.
  void write(std::uint64_t offset, std::span<const std::byte> bytes);
  void resize(std::uint64_t bytes);
  void commit();
  const std::string& temporary_path() const { return temporary_; }

 private:
  bool open_temporary();

  std::string path_;
  std::string temporary_;
  int descriptor_ = -1;
};

bool file_exists(const std::string& path);

}  // namespace pipo
