// Checks a launch by the declaration of its kernel.
#include "signature.h"

namespace lenggen {
namespace {

constexpr double MOST = 1099511627776.0;  // 2^40

std::string shown(double value) {
  std::string text = std::to_string(value);
  if (text.find('.') != std::string::npos) {
    while (text.back() == '0') text.pop_back();
    if (text.back() == '.') text.pop_back();
  }
  return text;
}

bool isWhole(double value, double least, double most) { return value >= least && value <= most && value == std::floor(value); }

void requireNumber(const char* name, NumberKind kind, int choices, double value) {
  const auto refuse = [&](const char* what) { throw std::invalid_argument(std::string(name) + " must be " + what + ", not " + shown(value));
      };
  switch (kind) {
    case NumberKind::size:
    case NumberKind::sizes:
    case NumberKind::nest:
      if (!isWhole(value, 0, MOST)) refuse("a size");
      break;
    case NumberKind::integer:
      if (!isWhole(value, -MOST, MOST)) refuse("a whole number");
      break;
    case NumberKind::flag:
      if (!isWhole(value, 0, 1)) refuse("0 or 1");
      break;
    case NumberKind::choice:
      if (!isWhole(value, 0, choices - 1)) refuse("one of its names");
      break;
    case NumberKind::key:
      if (!isWhole(value, -2147483648.0, 4294967295.0)) refuse("a word of 32 bits");
      break;
    case NumberKind::real:
    case NumberKind::number:
    case NumberKind::reals:
      break;
  }
}

// `item`: which of numbers that are a list.
int64_t valueOf(const Signature& signature, const Launch& launch, const Term& term, int64_t item) {
  if (term.number < 0) return term.constant;
  const bool list = signature.endsInList() && term.number == signature.numberCount - 1;
  return static_cast<int64_t>(launch.numbers[list ? term.number + item : term.number]);
}

int64_t sizeOf(const Signature& signature, const Launch& launch, const Size& size, int64_t item) {
  const int64_t left = valueOf(signature, launch, size.left, item);
  if (size.sign == 0) return left;
  const int64_t right = valueOf(signature, launch, size.right, item);
  if (size.sign == '-') return left - right;
  if (size.sign == '+') return left + right;
  require(right > 0, "a size is divided by 0");
  return (left + right - 1) / right;
}

void requireTensor(const Signature& signature, const Launch& launch, const TensorRow& row, const Buffer& buffer, int64_t item) {
  if (buffer.data == nullptr && buffer.bytes == 0 && row.optional) return;
  const auto refuse = [&](const std::string& what) { throw std::invalid_argument(std::string(row.name) + " " + row.text + " " + what); };
  if (buffer.data == nullptr) refuse("is missing");
  const bool half = buffer.type == BufferType::f16;
  const bool fits = row.type == TensorType::any || (row.type == TensorType::weight && half)
      || (buffer.type == BufferType::i32) == (row.type == TensorType::i32);
  if (!fits || (half && row.type == TensorType::real)) refuse("has another type");
  if (row.rank < 0) return;
  int64_t elements = 1;
  for (int i = 0; i < row.rank; i++) elements = product({elements, sizeOf(signature, launch, row.sizes[i], item)});
  if (elements > elementsOf(buffer)) refuse("has " + std::to_string(elementsOf(buffer)) + " elements, but " + std::to_string(elements)
      + " are needed");
}

}  // namespace

void requireSignature(const Signature& signature, const Launch& launch) {
  const int plain = signature.plainNumbers(), spread = launch.bufferCount - signature.single;
  const bool enough = signature.endsInList() ? launch.numberCount >= plain : launch.numberCount == plain;
  if (!enough || spread < 0 || (signature.lists == 0 ? spread != 0 : spread % signature.lists != 0)) {
    throw std::invalid_argument("takes " + std::to_string(signature.single) + (signature.lists ? " or more" : "") + " buffers and "
        + std::to_string(plain) +
                                (signature.endsInList() ? " or more" : "") + " numbers, not "
                                    + std::to_string(launch.bufferCount) + " and " +
                                std::to_string(launch.numberCount));
  }
  for (int i = 0; i < launch.numberCount; i++) {
    const NumberRow& row = signature.numbers[i < plain ? i : plain];
    requireNumber(row.name, row.kind, row.choices, launch.numbers[i]);
  }
  const int64_t items = signature.lists ? spread / signature.lists : 0;
  for (int i = 0; i < signature.single; i++) requireTensor(signature, launch, signature.tensors[i], launch.buffers[i], 0);
  for (int list = 0; list < signature.lists; list++) {
    const TensorRow& row = signature.tensors[signature.single + list];
    for (int k = 0; k < row.rank; k++) {
      for (const Term& term : {row.sizes[k].left, row.sizes[k].right}) {
        const bool each = term.number >= 0 && signature.endsInList() && term.number == plain;
        if (each && launch.numberCount - plain != items) throw std::invalid_argument(std::string(row.name)
            + ": there must be one for each of " + signature.numbers[plain].name);
      }
    }
    for (int64_t i = 0; i < items; i++) requireTensor(signature, launch, row, launch.buffers[signature.single + list * items + i], i);
  }
}

}  // namespace lenggen
