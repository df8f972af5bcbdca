/* Loads the kernels in a program of another C library and runs one of each sort on every tier that the machine has.
 * Usage: musl_loader LIBRARY */
#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fisher_kernels.h"

#define COUNT 1000

static int failures;

static void expect(int condition, const char *isa, const char *what) {
  if (condition) return;
  ++failures;
  printf("%s: %s\n", isa, what);
}

int main(int argc, char **argv) {
  void *library = argc == 2 ? dlopen(argv[1], RTLD_NOW | RTLD_LOCAL) : NULL;
  if (library == NULL) {
    printf("%s\n", argc == 2 ? dlerror() : "usage: musl_loader LIBRARY");
    return 1;
  }
#define FIND(name) __typeof__(&name) find_##name = (__typeof__(&name))dlsym(library, #name)
  FIND(fm_abi_version);
  FIND(fm_last_error);
  FIND(fm_open);
  FIND(fm_isa_name);
  FIND(fm_isa_list);
  FIND(fm_weighted_average);
  FIND(fm_square_accumulate);
  FIND(fm_guard);
  FIND(fm_guard_release);
  expect(find_fm_abi_version() == FM_ABI_VERSION, "library", "another ABI version");

  char tiers[100];
  strncpy(tiers, find_fm_isa_list(), sizeof tiers - 1);
  for (char *tier = strtok(tiers, ","); tier != NULL; tier = strtok(NULL, ",")) {
    const fm_kernels *kernels = NULL;
    if (find_fm_open(tier, &kernels) != FM_OK || strcmp(find_fm_isa_name(kernels), tier) != 0) continue;
    printf("%s\n", tier);
    static float a[COUNT], b[COUNT], fisher[COUNT], out[COUNT];
    for (int k = 0; k < COUNT; ++k) {
      a[k] = (float)k;
      b[k] = (float)(-2 * k);
      fisher[k] = (float)(k % 3);
      out[k] = 1;
    }
    /* Weights of 1 + fisher and 1. */
    const fm_weighted_input inputs[] = {{a, fisher, 1, 1, FM_F32, FM_F32}, {b, NULL, 0, 1, FM_F32, FM_F32}};
    expect(find_fm_weighted_average(kernels, inputs, 2, NULL, 1, out, FM_F32, 0, COUNT) == FM_OK, tier, "an average");
    for (int k = 0; k < COUNT; ++k) {
      const double weight = 1 + k % 3;
      expect(out[k] == (float)((weight * k - 2.0 * k) / (weight + 1)), tier, "an element of the average");
    }
    for (int k = 0; k < COUNT; ++k) out[k] = 1;
    expect(find_fm_square_accumulate(kernels, a, 0.5, out, 0, COUNT) == FM_OK, tier, "squares");
    for (int k = 0; k < COUNT; ++k) expect(out[k] == (float)(1 + 0.5 * k * k), tier, "an element of the squares");
    /* The reason is kept for each thread. */
    expect(find_fm_weighted_average(kernels, NULL, 2, NULL, 1, out, FM_F32, 0, COUNT) == FM_INVALID_ARGUMENT &&
               strstr(find_fm_last_error(), "inputs") != NULL, tier, "a refusal with its reason");
  }
  /* A mapped file that is cut short: the handler of SIGBUS is of the kernels, the system calls of this C library. */
  const size_t size = 4 * (size_t)sysconf(_SC_PAGESIZE);
  FILE *file = tmpfile();
  if (file == NULL || ftruncate(fileno(file), (off_t)size) != 0) return 1;
  const char *mapped = mmap(NULL, size, PROT_READ, MAP_SHARED, fileno(file), 0);
  const int guard = find_fm_guard(mapped, (int64_t)size);
  if (ftruncate(fileno(file), 0) != 0) return 1;
  expect(((const volatile char *)mapped)[size - 1] == 0, "guard", "no zeros in place of what is gone");
  expect(find_fm_guard_release(guard) == 1, "guard", "the damage was not noticed");
  printf("%d failures\n", failures);
  return failures == 0 ? 0 : 1;
}
