// Streams of a device that is emulated: see emulated_device.cc.
#pragma once

#include <functional>

namespace fmc {

// Puts work at the end of a stream.
void emulated_enqueue(void *stream, std::function<void()> work);

}  // namespace fmc
