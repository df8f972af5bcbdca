// A device of compute capability 9.0 in the process's own memory, for tests of what calls the kernels. It is as late as a
// device may be: copies and kernels of a stream run when somebody waits for them, so that reading results, or writing
// operands, too early shows. Memory starts as NaN and ends where it was asked to end. Tests may set how much there is, let
// it fail, and count what is sent (emulated_device.h).
#include "emulated_device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <deque>
#include <map>
#include <mutex>
#include <set>

#include "status.h"

namespace {

struct stream {
  std::deque<std::function<void()>> work;
  int64_t put = 0;
  int64_t begun = 0;
};

std::recursive_mutex lock;
stream default_stream;
std::set<stream *> streams;

constexpr int64_t kMemory = int64_t{8} << 30;

int64_t memory_bytes = kMemory;
int64_t largest_allocation = kMemory;
int64_t failing_synchronizations = 0;
int64_t bytes_sent = 0;
bool others_first = false;
std::map<const char *, int64_t> device_memory;  // bytes by address

int64_t free_bytes() {
  int64_t left = memory_bytes;
  for (const auto &allocated : device_memory) left -= allocated.second;
  return left;
}

bool is_on_device(const void *pointer) {
  const char *p = static_cast<const char *>(pointer);
  auto next = device_memory.upper_bound(p);
  return next != device_memory.begin() && p - std::prev(next)->first < std::prev(next)->second;
}

stream &stream_of(void *s) { return s == nullptr ? default_stream : *static_cast<stream *>(s); }

// Runs the first so many of all that were ever put on a stream.
void run(stream &s, int64_t count) {
  while (s.begun < count && !s.work.empty()) {
    const std::function<void()> next = std::move(s.work.front());
    s.work.pop_front();
    ++s.begun;
    next();
  }
}

void finish(stream &s) { run(s, s.put); }

void drop(stream &s) {
  s.work.clear();
  s.begun = s.put;
}

void finish_all() {
  finish(default_stream);
  for (stream *s : streams) finish(*s);
}

int32_t allocate(int64_t bytes, void **pointer) {
  FMC_CHECK(fmc::check_not_null("pointer", pointer));
  FMC_CHECK(fmc::check_count("bytes", bytes));
  if (posix_memalign(pointer, 256, static_cast<size_t>(bytes) + 1) != 0) abort();
  memset(*pointer, 0xFF, static_cast<size_t>(bytes));
  return FM_OK;
}

int32_t release(void *pointer) {
  const std::lock_guard<std::recursive_mutex> held(lock);
  finish_all();
  device_memory.erase(static_cast<const char *>(pointer));
  free(pointer);
  return FM_OK;
}

}  // namespace

void fmc::emulated_enqueue(void *s, std::function<void()> work) {
  const std::lock_guard<std::recursive_mutex> held(lock);
  stream_of(s).work.push_back(std::move(work));
  ++stream_of(s).put;
}

void fmc::emulated_order(void *before, void *after) {
  const std::lock_guard<std::recursive_mutex> held(lock);
  stream *first = &stream_of(before);
  const int64_t count = first->put;
  emulated_enqueue(after, [first, count] { run(*first, count); });
}

int32_t fmc::count_multiprocessors(int *count) {
  *count = 4;
  return FM_OK;
}

extern "C" {

int32_t fmc_device_count(int32_t *count) {
  *count = 1;
  return FM_OK;
}

int32_t fmc_device_info(int32_t device, fmc_device *info) {
  FMC_REQUIRE(device == 0, "device %d does not lie in [0, 1)", device);
  *info = {};
  snprintf(info->name, sizeof info->name, "emulated device");
  const std::lock_guard<std::recursive_mutex> held(lock);
  info->memory_bytes = memory_bytes;
  info->free_bytes = free_bytes();
  info->multiprocessors = 4;
  info->major = 9;
  return FM_OK;
}

int32_t fmc_set_device(int32_t device) {
  FMC_REQUIRE(device == 0, "device %d does not lie in [0, 1)", device);
  return FM_OK;
}

int32_t fmc_malloc(int64_t bytes, void **pointer) {
  const std::lock_guard<std::recursive_mutex> held(lock);
  if (bytes > free_bytes() || bytes > largest_allocation) {
    return fmc::fail(FMC_OUT_OF_MEMORY, "the device has no %lld bytes left", static_cast<long long>(bytes));
  }
  FMC_CHECK(allocate(bytes, pointer));
  device_memory[static_cast<const char *>(*pointer)] = bytes;
  return FM_OK;
}

int32_t fmc_free(void *pointer) { return release(pointer); }
int32_t fmc_host_alloc(int64_t bytes, void **pointer) { return allocate(bytes, pointer); }
int32_t fmc_host_free(void *pointer) { return release(pointer); }

int32_t fmc_copy_async(void *to, const void *from, int64_t bytes, void *s) {
  FMC_CHECK(fmc::check_count("bytes", bytes));
  const std::lock_guard<std::recursive_mutex> held(lock);
  if (is_on_device(to) && !is_on_device(from)) bytes_sent += bytes;
  fmc::emulated_enqueue(s, [=] { memmove(to, from, static_cast<size_t>(bytes)); });
  return FM_OK;
}

int32_t fmc_clear_async(void *to, int64_t bytes, void *s) {
  FMC_CHECK(fmc::check_count("bytes", bytes));
  fmc::emulated_enqueue(s, [=] { memset(to, 0, static_cast<size_t>(bytes)); });
  return FM_OK;
}

int32_t fmc_stream_create(void **created) {
  const std::lock_guard<std::recursive_mutex> held(lock);
  stream *s = new stream;
  streams.insert(s);
  *created = s;
  return FM_OK;
}

int32_t fmc_stream_destroy(void *s) {
  const std::lock_guard<std::recursive_mutex> held(lock);
  finish_all();  // none waits for it from now on
  streams.erase(static_cast<stream *>(s));
  delete static_cast<stream *>(s);
  return FM_OK;
}

int32_t fmc_stream_synchronize(void *s) {
  const std::lock_guard<std::recursive_mutex> held(lock);
  if (failing_synchronizations > 0) {
    --failing_synchronizations;
    drop(stream_of(s));
    return fmc::fail(FMC_DEVICE_ERROR, "work on the device failed");
  }
  for (stream *other : streams) {
    if (others_first && other != s) finish(*other);
  }
  finish(stream_of(s));
  return FM_OK;
}

void fmc_emulated_reset(void) {
  const std::lock_guard<std::recursive_mutex> held(lock);
  memory_bytes = largest_allocation = kMemory;
  failing_synchronizations = bytes_sent = 0;
  others_first = false;
}

void fmc_emulated_set_memory(int64_t bytes, int64_t largest) {
  const std::lock_guard<std::recursive_mutex> held(lock);
  memory_bytes = bytes;
  largest_allocation = largest;
}

void fmc_emulated_fail_synchronizations(int64_t count) {
  const std::lock_guard<std::recursive_mutex> held(lock);
  failing_synchronizations = count;
}

void fmc_emulated_run_others_first(void) {
  const std::lock_guard<std::recursive_mutex> held(lock);
  others_first = true;
}

int64_t fmc_emulated_bytes_sent(void) {
  const std::lock_guard<std::recursive_mutex> held(lock);
  return bytes_sent;
}

}  // extern "C"
