#include "isa.h"

#include "failure.h"
#include "supports.h"

// A build for one machine alone names the only instruction set that it was compiled for.
#ifndef LENGGEN_ISAS
#define LENGGEN_ISAS LENGGEN_ALL_ISAS
#endif

namespace lenggen {

#define LENGGEN_DECLARE_ISA(name)       \
  namespace name {                      \
  extern const Family families[];       \
  double multiplyAdd(int64_t rounds);   \
  double exponentials(int64_t rounds);  \
  }
LENGGEN_ISAS(LENGGEN_DECLARE_ISA)
#undef LENGGEN_DECLARE_ISA

const std::vector<Isa>& isas() {
  // Never destroyed: queue threads may outlive static destructors when the process exits.
#define LENGGEN_ENTRY(name) {#name, supports::name(), name::families, name::multiplyAdd, name::exponentials},
  static const std::vector<Isa>& all = *new std::vector<Isa>{LENGGEN_ISAS(LENGGEN_ENTRY)};
#undef LENGGEN_ENTRY
  return all;
}

namespace {

const char* const REBUILD = "; packages/kernels/scripts/build-native.mjs compiles it for all";

// Of an instruction set that is not in this addon: whether there is one of that name at all.
bool isKnown(const std::string& name) {
#define LENGGEN_NAME(known) #known,
  for (const char* known : {LENGGEN_ALL_ISAS(LENGGEN_NAME)}) {
    if (name == known) return true;
  }
#undef LENGGEN_NAME
  return false;
}

std::string listed(bool supportedOnly) {
  std::string names;
  for (const Isa& isa : isas()) {
    if (isa.supported || !supportedOnly) names += (names.empty() ? "" : ", ") + std::string(isa.name);
  }
  return names;
}

}  // namespace

const Isa& findIsa(const std::string& name) {
  const Isa* widest = nullptr;
  for (const Isa& isa : isas()) {
    if (isa.supported && name == isa.name) return isa;
    if (isa.supported) widest = &isa;
  }
  if (!widest) {
    throw Failure("E_DEVICE_UNAVAILABLE", "this addon was compiled for " + listed(false)
        + " alone, which this processor does not have" + REBUILD);
  }
  if (name.empty()) return *widest;
  for (const Isa& isa : isas()) {
    if (name == isa.name) {
      throw Failure("E_DEVICE_UNAVAILABLE", "this processor does not have the instruction set " + name + "; it has " + listed(true));
    }
  }
  if (isKnown(name)) {
    throw Failure("E_DEVICE_UNAVAILABLE", "this addon was compiled for " + listed(false) + " alone, not for the instruction set "
        + name + REBUILD);
  }
  throw Failure("E_ARGUMENT", "no instruction set is named \"" + name + "\"; this processor has " + listed(true));
}

}  // namespace lenggen
