#include "status.h"

#include <stdarg.h>
#include <stdio.h>

namespace fmc {

namespace {
thread_local char last_error[512] = "";
}

int32_t fail(int32_t status, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(last_error, sizeof last_error, format, arguments);
  va_end(arguments);
  return status;
}

int32_t check_not_null(const char *name, const void *p) {
  FMC_REQUIRE(p != nullptr, "%s is null", name);
  return FM_OK;
}

int32_t check_type(const char *name, int32_t type) {
  FMC_REQUIRE(type >= FM_F32 && type <= FM_F64, "%s: unknown element type %d", name, type);
  return FM_OK;
}

int32_t check_count(const char *name, int64_t count) {
  FMC_REQUIRE(count >= 0, "%s is negative", name);
  return FM_OK;
}

int32_t check_aligned(const char *name, const void *p, int64_t bytes) {
  FMC_CHECK(check_not_null(name, p));
  FMC_REQUIRE(reinterpret_cast<uintptr_t>(p) % static_cast<uintptr_t>(bytes) == 0, "%s is not aligned to its elements",
              name);
  return FM_OK;
}

int32_t check_workspace(const void *workspace, int64_t bytes) {
  FMC_REQUIRE(workspace != nullptr || bytes == 0, "workspace is null");
  FMC_REQUIRE(reinterpret_cast<uintptr_t>(workspace) % 256 == 0, "workspace is not aligned to 256 bytes");
  return FM_OK;
}

int32_t check_cotangents(const fm_cotangents *g) {
  FMC_CHECK(check_not_null("g", g));
  FMC_CHECK(check_aligned("g.data", g->data, 4));
  FMC_REQUIRE(g->probes >= 0 && g->examples >= 0 && g->tokens >= 0 && g->width >= 0, "g: a dimension is negative");
  return FM_OK;
}

int32_t check_activations(const char *name, const fm_activations *a) {
  FMC_CHECK(check_not_null(name, a));
  FMC_REQUIRE(a->data != nullptr, "%s.data is null", name);
  FMC_REQUIRE(reinterpret_cast<uintptr_t>(a->data) % 4 == 0, "%s.data is not aligned to its elements", name);
  FMC_REQUIRE(a->width >= 0, "%s: its width is negative", name);
  return FM_OK;
}

}  // namespace fmc

extern "C" {
int32_t fmc_abi_version(void) { return FMC_ABI_VERSION; }
const char *fmc_last_error(void) { return fmc::last_error; }
}
