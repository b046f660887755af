#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

#include "platform/files.h"

namespace pipo {
namespace {

[[noreturn]] void fail(const std::string& doing, const std::string& path, int error) {
  throw Error(ErrorCode::kIo, "cannot " + doing + " " + path + ": " + std::strerror(error));
}

[[noreturn]] void fail_write(const std::string& path, int error) {
  throw WriteError("cannot write " + path + ": " + std::strerror(error));
}

int open_for_reading(const std::string& path, std::uint64_t* size) {
  // A pipe is not waited for: it is no file, and is refused below.
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0) fail("open", path, errno);
  struct stat status{};
  const int error = ::fstat(descriptor, &status) != 0 ? errno : 0;
  if (error != 0 || !S_ISREG(status.st_mode)) {
    ::close(descriptor);
    if (error != 0 || S_ISDIR(status.st_mode)) fail("read", path, error != 0 ? error : EISDIR);
    throw Error(ErrorCode::kIo, path + " is a pipe or a device, not a file; give the file itself");
  }
  *size = static_cast<std::uint64_t>(status.st_size);
  return descriptor;
}

/// Whether a name goes on behind `prefix` as ours do: two numbers with a dash between them.
bool is_ours(const std::string& name, const std::string& prefix) {
  if (!name.starts_with(prefix)) return false;
  const std::string rest = name.substr(prefix.size());
  const std::size_t dash = rest.find('-');
  const auto is_number = [](const std::string& text) {
    return !text.empty() && text.find_first_not_of("0123456789") == std::string::npos;
  };
  return dash != std::string::npos && is_number(rest.substr(0, dash)) && is_number(rest.substr(dash + 1));
}

/// A sibling whose writer lives is locked; one that can be locked was left behind.
void remove_abandoned(const std::string& prefix) {
  namespace fs = std::filesystem;
  const fs::path base(prefix);
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(base.parent_path().empty() ? "." : base.parent_path(), ignored)) {
    if (!is_ours(entry.path().filename().string(), base.filename().string())) continue;
    const int descriptor = ::open(entry.path().c_str(), O_RDWR | O_CLOEXEC);
    if (descriptor < 0) continue;
    if (::flock(descriptor, LOCK_EX | LOCK_NB) == 0) ::unlink(entry.path().c_str());
    ::close(descriptor);
  }
}

}  // namespace

ReadFile::ReadFile(const std::string& path) : path_(path), descriptor_(open_for_reading(path, &size_)) {}

ReadFile::~ReadFile() { ::close(descriptor_); }

void ReadFile::read(std::uint64_t offset, std::span<std::byte> out) const {
  while (!out.empty()) {
    const ssize_t got = ::pread(descriptor_, out.data(), out.size(), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail("read", path_, errno);
    if (got == 0) throw Error(ErrorCode::kBadFile, path_ + " ends too early; download or copy it again");
    out = out.subspan(static_cast<std::size_t>(got));
    offset += static_cast<std::uint64_t>(got);
  }
}

MappedFile::MappedFile(const std::string& path) {
  const int descriptor = open_for_reading(path, &size_);
  if (size_ == 0) {
    ::close(descriptor);
    return;
  }
  void* data = ::mmap(nullptr, size_, PROT_READ, MAP_SHARED, descriptor, 0);
  const int error = errno;
  ::close(descriptor);
  if (data == MAP_FAILED) fail("map", path, error);
#ifdef MADV_HUGEPAGE
  ::madvise(data, size_, MADV_HUGEPAGE);
#endif
  data_ = static_cast<const std::byte*>(data);
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

AtomicFile::AtomicFile(const std::string& path) : path_(path) {
  std::error_code ignored;
  const auto parent = std::filesystem::path(path).parent_path();
  if (!parent.empty()) std::filesystem::create_directories(parent, ignored);
  remove_abandoned(path + ".tmp-");
  while (!open_temporary()) {
  }
}

/// False when another writer took the new file for an abandoned one before it was locked, and removed it.
bool AtomicFile::open_temporary() {
  static std::atomic<int> counter{0};
  temporary_ = path_ + ".tmp-" + std::to_string(::getpid()) + "-" + std::to_string(counter++);
  descriptor_ = ::open(temporary_.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (descriptor_ < 0) fail_write(temporary_, errno);
  while (::flock(descriptor_, LOCK_EX) != 0 && errno == EINTR) {
  }
  struct stat status{};
  if (::fstat(descriptor_, &status) != 0 || status.st_nlink > 0) return true;
  ::close(std::exchange(descriptor_, -1));
  return false;
}

AtomicFile::~AtomicFile() {
  if (descriptor_ < 0) return;
  ::unlink(temporary_.c_str());
  ::close(descriptor_);
}

void AtomicFile::write(std::uint64_t offset, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t put = ::pwrite(descriptor_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) fail_write(path_, put == 0 ? ENOSPC : errno);
    bytes = bytes.subspan(static_cast<std::size_t>(put));
    offset += static_cast<std::uint64_t>(put);
  }
}

void AtomicFile::resize(std::uint64_t bytes) {
  if (::ftruncate(descriptor_, static_cast<off_t>(bytes)) != 0) fail_write(path_, errno);
}

void AtomicFile::commit() {
  if (::fsync(descriptor_) != 0) fail_write(path_, errno);
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) fail_write(path_, errno);
  ::close(std::exchange(descriptor_, -1));
  const auto parent = std::filesystem::path(path_).parent_path();
  const int directory = ::open(parent.empty() ? "." : parent.c_str(), O_RDONLY | O_CLOEXEC);
  if (directory >= 0) {
    ::fsync(directory);
    ::close(directory);
  }
}

bool file_exists(const std::string& path) { return ::access(path.c_str(), F_OK) == 0; }

}  // namespace pipo
