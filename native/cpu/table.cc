// Compiled once per tier: its dispatch table.
#include "tier.h"

namespace fm::FM_TIER {

#define FM_TEXT_(x) #x
#define FM_TEXT(x) FM_TEXT_(x)

const fm_kernels table = {
    FM_TEXT(FM_TIER),
#define FM_TABLE_ENTRY(name, parameters, arguments) &name,
    FM_KERNEL_LIST(FM_TABLE_ENTRY)
#undef FM_TABLE_ENTRY
};

}  // namespace fm::FM_TIER
