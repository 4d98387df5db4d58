// An error with one of the stable codes of src/errors.ts, on its way to JavaScript.
#pragma once
#include <stdexcept>
#include <string>

namespace lenggen {

class Failure : public std::runtime_error {
 public:
  Failure(const char* code, const std::string& message) : std::runtime_error(message), code_(code) {}
  const char* code() const { return code_; }

 private:
  const char* code_;  // a literal
};

}  // namespace lenggen
