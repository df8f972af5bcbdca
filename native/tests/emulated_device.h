// Streams of a device that is emulated, and what tests may do with it: see emulated_device.cc.
#pragma once

#include <stdint.h>

#include <functional>

namespace fmc {

// Puts work at the end of a stream.
void emulated_enqueue(void *stream, std::function<void()> work);

// What is put on one stream from now on waits for what is on another now.
void emulated_order(void *before, void *after);

}  // namespace fmc

extern "C" {

#pragma GCC visibility push(default)

// All as at the beginning; what is allocated stays.
void fmc_emulated_reset(void);

// Memory of the device, and of that the most that one allocation may have.
void fmc_emulated_set_memory(int64_t bytes, int64_t largest);

// So many calls of fmc_stream_synchronize fail from now on, and the work that they were to wait for is lost.
void fmc_emulated_fail_synchronizations(int64_t count);

// Streams that nobody waits for are no longer late, but run before the one that is waited for.
void fmc_emulated_run_others_first(void);

// Bytes copied to the device since the last reset.
int64_t fmc_emulated_bytes_sent(void);

#pragma GCC visibility pop

}  // extern "C"
