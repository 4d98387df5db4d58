#include "isa.h"

#include "failure.h"

namespace lenggen {

#define LENGGEN_DECLARE_ISA(name)       \
  namespace name {                      \
  extern const Family families[];       \
  double multiplyAdd(int64_t rounds);   \
  }

#if defined(__x86_64__)
LENGGEN_DECLARE_ISA(baseline)
LENGGEN_DECLARE_ISA(avx2)
LENGGEN_DECLARE_ISA(avx512)
#elif defined(__aarch64__)
LENGGEN_DECLARE_ISA(neon)
#endif

const std::vector<Isa>& isas() {
  // Never destroyed: queue threads may outlive static destructors when the process exits.
  static const std::vector<Isa>& all = *[] {
#if defined(__x86_64__)
    // These ask the operating system too: it must save the wide registers.
    __builtin_cpu_init();
    const bool hasAvx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
    const bool hasAvx512 = hasAvx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    return new std::vector<Isa>{
        {"baseline", true, baseline::families, baseline::multiplyAdd},
        {"avx2", hasAvx2, avx2::families, avx2::multiplyAdd},
        {"avx512", hasAvx512, avx512::families, avx512::multiplyAdd},
    };
#elif defined(__aarch64__)
    return new std::vector<Isa>{{"neon", true, neon::families, neon::multiplyAdd}};
#endif
  }();
  return all;
}

const Isa& findIsa(const std::string& name) {
  const Isa* widest = nullptr;
  std::string names;
  for (const Isa& isa : isas()) {
    if (!isa.supported) continue;
    if (name == isa.name) return isa;
    names += (names.empty() ? "" : ", ") + std::string(isa.name);
    widest = &isa;
  }
  if (name.empty()) return *widest;
  for (const Isa& isa : isas()) {
    if (name == isa.name) throw Failure("E_DEVICE_UNAVAILABLE", "this processor does not have the instruction set " + name + "; it has " + names);
  }
  throw Failure("E_ARGUMENT", "no instruction set is named \"" + name + "\"; this processor has " + names);
}

}  // namespace lenggen
