// A libcuda.so.1 for machines without a GPU: two devices, of which the second has more free memory. It exports what
// JCuda calls to list devices, and nothing else. FAKE_CUDA_DRIVER is the version that it gives (default 13000),
// FAKE_CUDA_DEVICES how many devices there are (default 2), FAKE_CUDA_INIT what cuInit returns (default 0).
#include <cstddef>
#include <cstdlib>
#include <cstring>

namespace {

constexpr int kSuccess = 0;
constexpr int kInvalidValue = 1;
constexpr int kNoDevice = 100;
constexpr int kInvalidDevice = 101;
constexpr int kComputeCapabilityMajor = 75;
constexpr int kComputeCapabilityMinor = 76;

struct Device {
  const char* name;
  std::size_t total;
  std::size_t free;
  int major;
  int minor;
};

Device fakes[] = {{"Fake A", 16ul << 30, 2ul << 30, 8, 6}, {"Fake B", 80ul << 30, 64ul << 30, 9, 0}};

thread_local Device* current = nullptr;

int setting(const char* name, int otherwise) {
  const char* text = std::getenv(name);
  return text ? std::atoi(text) : otherwise;
}

int devices() { return setting("FAKE_CUDA_DEVICES", 2); }

}  // namespace

extern "C" {

int cuInit(unsigned) {
  return setting("FAKE_CUDA_INIT", devices() == 0 ? kNoDevice : kSuccess);
}

int cuDriverGetVersion(int* version) {
  *version = setting("FAKE_CUDA_DRIVER", 13000);
  return kSuccess;
}

int cuDeviceGetCount(int* count) {
  *count = devices();
  return kSuccess;
}

int cuDeviceGet(int* device, int ordinal) {
  if (ordinal < 0 || ordinal >= devices()) return kInvalidDevice;
  *device = ordinal;
  return kSuccess;
}

int cuDeviceGetName(char* name, int length, int device) {
  std::strncpy(name, fakes[device].name, static_cast<std::size_t>(length));
  return kSuccess;
}

int cuDeviceTotalMem_v2(std::size_t* bytes, int device) {
  *bytes = fakes[device].total;
  return kSuccess;
}

int cuDeviceGetAttribute(int* value, int attribute, int device) {
  if (attribute == kComputeCapabilityMajor) {
    *value = fakes[device].major;
  } else if (attribute == kComputeCapabilityMinor) {
    *value = fakes[device].minor;
  } else {
    return kInvalidValue;
  }
  return kSuccess;
}

int cuDevicePrimaryCtxRetain(void** context, int device) {
  *context = &fakes[device];
  return kSuccess;
}

int cuDevicePrimaryCtxRelease_v2(int) { return kSuccess; }

int cuCtxPushCurrent_v2(void* context) {
  current = static_cast<Device*>(context);
  return kSuccess;
}

int cuCtxPopCurrent_v2(void** context) {
  *context = current;
  current = nullptr;
  return kSuccess;
}

int cuMemGetInfo_v2(std::size_t* free_bytes, std::size_t* total) {
  if (!current) return kInvalidDevice;
  *free_bytes = current->free;
  *total = current->total;
  return kSuccess;
}

}  // extern "C"
