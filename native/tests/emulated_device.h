// Streams of a device that is emulated: see emulated_device.cc.
#pragma once

#include <functional>

namespace fmc {

// Puts work at the end of a stream.
void emulated_enqueue(void *stream, std::function<void()> work);

// What is put on one stream from now on waits for what is on another now.
void emulated_order(void *before, void *after);

}  // namespace fmc
