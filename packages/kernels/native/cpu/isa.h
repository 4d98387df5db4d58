// The instruction sets that this addon was compiled for, and which of them this processor has.
#pragma once
#include <string>
#include <vector>

#include "kernel.h"

namespace lenggen {

// One compilation of all families.
struct Isa {
  const char* name;
  bool supported;
  const Family* families;  // ended by one whose kernels are null
  // Runs independent fused multiply-adds in registers; returns the number of floating-point operations.
  double (*multiplyAdd)(int64_t rounds);
  // The same for exponentials of numbers in the first cache; returns how many.
  double (*exponentials)(int64_t rounds);
};

// Narrowest first.
const std::vector<Isa>& isas();

// By name, or the widest that the processor has when the name is empty. Throws Failure.
const Isa& findIsa(const std::string& name);

}  // namespace lenggen
