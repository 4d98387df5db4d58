// The table of all kernel families, once per instruction set.
#include "families.h"

namespace lenggen::LENGGEN_ISA {

#define LENGGEN_ENTRY(name) {name##Kernels},
extern const Family families[] = {LENGGEN_FAMILIES(LENGGEN_ENTRY) {nullptr}};
#undef LENGGEN_ENTRY

}  // namespace lenggen::LENGGEN_ISA
