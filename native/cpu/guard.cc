// Guards of mapped files: the handler of SIGBUS. All it uses is safe in a signal handler: atomics without locks, and
// mmap, which is a bare system call.
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>

#include "fisher_kernels.h"

namespace {

struct Guard {
  std::atomic<bool> taken;
  std::atomic<uintptr_t> begin;
  std::atomic<uintptr_t> end;  // 0: not in force
  std::atomic<bool> damaged;
};

Guard guards[FM_MAX_GUARDS];
struct sigaction handler_before;
std::atomic<int> installed{0};  // 0: no, 1: being installed, 2: yes
uintptr_t page_size;

// Zeros in place of all of a range from the page of `address` on: what follows the end of a truncated file cannot be
// read either, and one mapping costs less than one for each page.
bool replace(uintptr_t address) {
  const uintptr_t page = address - address % page_size;
  for (Guard &guard : guards) {
    const uintptr_t end = guard.end.load(std::memory_order_acquire);
    if (end == 0 || address >= end || address < guard.begin.load(std::memory_order_acquire)) continue;
    guard.damaged.store(true, std::memory_order_release);
    const uintptr_t last = (end + page_size - 1) / page_size * page_size;
    return mmap(reinterpret_cast<void *>(page), last - page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
                0) != MAP_FAILED;
  }
  return false;
}

void on_bus_error(int signal, siginfo_t *info, void *context) {
  const int saved_errno = errno;
  const bool replaced = replace(reinterpret_cast<uintptr_t>(info->si_addr));
  errno = saved_errno;
  if (replaced) return;  // the instruction runs again
  if (handler_before.sa_flags & SA_SIGINFO) {
    handler_before.sa_sigaction(signal, info, context);
  } else if (handler_before.sa_handler == SIG_DFL) {
    ::signal(signal, SIG_DFL);  // the instruction runs again and ends the process as it would have
  } else if (handler_before.sa_handler != SIG_IGN) {
    handler_before.sa_handler(signal);
  }
}

bool install() {
  int expected = 0;
  if (installed.compare_exchange_strong(expected, 1)) {
    page_size = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
    struct sigaction action = {};
    action.sa_sigaction = on_bus_error;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART;
    sigemptyset(&action.sa_mask);
    const bool done = sigaction(SIGBUS, &action, &handler_before) == 0;
    installed.store(done ? 2 : 0);
  }
  while (installed.load() == 1) {
  }
  return installed.load() == 2;
}

}  // namespace

int32_t fm_guard(const void *begin, int64_t size) {
  if (begin == nullptr || size <= 0 || !install()) return -1;
  for (int32_t i = 0; i < FM_MAX_GUARDS; ++i) {
    bool free = false;
    if (!guards[i].taken.compare_exchange_strong(free, true)) continue;
    guards[i].damaged.store(false);
    guards[i].begin.store(reinterpret_cast<uintptr_t>(begin));
    guards[i].end.store(reinterpret_cast<uintptr_t>(begin) + static_cast<uintptr_t>(size), std::memory_order_release);
    return i;
  }
  return -1;
}

int32_t fm_guard_release(int32_t guard) {
  if (guard < 0 || guard >= FM_MAX_GUARDS || !guards[guard].taken.load()) return 0;
  guards[guard].end.store(0, std::memory_order_release);
  const bool damaged = guards[guard].damaged.load();
  guards[guard].taken.store(false);
  return damaged ? 1 : 0;
}
