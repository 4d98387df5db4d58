#include "allocator.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdio>

#include "pages.h"

namespace lenggen {
namespace {

// An id is generation * SLOT_LIMIT + slot: exact as a double, and never the same for two blocks.
constexpr uint64_t SLOT_LIMIT = uint64_t{1} << 24;

// A pooled block that has not been wanted while so many others were freed will not be: the passes of a stream whose memory
// grows ask for a larger one each time. Far more than a training step frees.
constexpr uint64_t IDLE_FREES = 1 << 14, LOOK_EVERY = 1 << 10;

std::string show(double bytes) {
  const char* units[] = {"bytes", "kB", "MB", "GB", "TB"};
  int unit = 0;
  while (bytes >= 1000 && unit < 4) {
    bytes /= 1000;
    unit++;
  }
  char text[32];
  std::snprintf(text, sizeof text, "%.3g %s", bytes, units[unit]);
  return text;
}

}  // namespace

Allocator::~Allocator() {
  for (const Block& block : blocks_) returnPages(block.data, block.capacity);
  for (const SizeClass& size : classes_) {
    for (const Pooled& block : size.blocks) returnPages(block.data, size.capacity);
  }
}

double Allocator::allocate(double bytes) {
  const size_t asked = checkedSize(bytes);
  const size_t capacity = capacityFor(asked);
  if (freeSlots_.empty() && blocks_.size() >= SLOT_LIMIT) throw Failure("E_MEMORY", "there are too many tensors");

  // Room in the tables first, so that nothing is lost when they can't grow.
  if (freeSlots_.empty()) {
    blocks_.emplace_back();
    freeSlots_.push_back(static_cast<uint32_t>(blocks_.size() - 1));
  }
  void* data = take(capacity, asked);
  if (data == nullptr) throw noRoom(bytes);
  const uint32_t slot = freeSlots_.back();
  freeSlots_.pop_back();
  Block& block = blocks_[slot];
  block.data = data;
  block.bytes = asked;
  block.capacity = capacity;
  block.generation++;
  used_ += capacity;
  peak_ = std::max(peak_, used_);
  return static_cast<double>(block.generation * SLOT_LIMIT + slot);
}

void Allocator::grow(double id, double bytes) {
  Block& block = blocks_[slotOf(id)];
  const size_t asked = checkedSize(bytes);
  if (asked <= block.bytes) return;
  const size_t capacity = capacityFor(asked);
  if (capacity > block.capacity) {
    const size_t more = capacity - block.capacity;
    if (used_ + more > limit_) throw noRoom(bytes);
    // What is queued knows where the block is now.
    queue_.drain();
    if (used_ + pooled_ + more > limit_) dropAll();
    void* data = growPages(block.data, block.capacity, capacity);
    if (data == nullptr && pooled_ > 0) {
      dropAll();
      data = growPages(block.data, block.capacity, capacity);
    }
    if (data == nullptr) throw noRoom(bytes);
    block.data = data;
    block.capacity = capacity;
    used_ += more;
    peak_ = std::max(peak_, used_);
  }
  block.bytes = asked;
}

size_t Allocator::checkedSize(double bytes) const {
  if (!(bytes >= 0) || bytes != std::floor(bytes)) throw Failure("E_ARGUMENT", "a buffer's size must be a whole number of bytes");
  if (bytes > static_cast<double>(limit_)) throw noRoom(bytes);
  return static_cast<size_t>(bytes);
}

Failure Allocator::noRoom(double bytes) const {
  return Failure("E_MEMORY", "there is no room for " + show(bytes) + ": tensors hold " + show(static_cast<double>(used_)) + " of " +
                                 show(static_cast<double>(limit_)) + "; make the batch, the length or the model smaller");
}

// A block from the pool or the system; null when there is no room.
void* Allocator::take(size_t capacity, size_t asked) {
  if (used_ + asked > limit_) return nullptr;
  std::vector<Pooled>& same = pool(capacity);
  if (!same.empty()) {
    void* data = same.back().data;
    same.pop_back();
    pooled_ -= capacity;
    return data;
  }
  if (used_ + pooled_ + capacity > limit_) dropAll();
  void* data = obtainPages(capacity);
  if (data == nullptr && pooled_ > 0) {
    dropAll();
    data = obtainPages(capacity);
  }
  return data;
}

void Allocator::free(double id) {
  Block& block = blocks_[slotOf(id)];
  pool(block.capacity).push_back({block.data, ++clock_});
  freeSlots_.push_back(static_cast<uint32_t>(&block - blocks_.data()));
  block.data = nullptr;
  used_ -= block.capacity;
  pooled_ += block.capacity;
  // Half of the limit may lie idle: a training step returns all of its memory before the next one begins.
  while (pooled_ > limit_ / 2) dropOldest();
  if (clock_ % LOOK_EVERY == 0) dropIdle();
}

Buffer Allocator::window(double id, double offset, double bytes) const {
  const Block& block = blocks_[slotOf(id)];
  if (!(offset >= 0 && bytes >= 0 && offset + bytes <= static_cast<double>(block.bytes)) || offset != std::floor(offset)
      || bytes != std::floor(bytes)) {
    throw Failure("E_ARGUMENT", "bytes " + std::to_string(offset) + " to " + std::to_string(offset + bytes)
        + " lie outside of a buffer of " +
                                    std::to_string(block.bytes));
  }
  return {static_cast<char*>(block.data) + static_cast<size_t>(offset), static_cast<size_t>(bytes)};
}

size_t Allocator::slotOf(double id) const {
  if (id >= 0 && id < 9007199254740992.0) {
    const uint64_t whole = static_cast<uint64_t>(id);
    const uint64_t slot = whole % SLOT_LIMIT;
    if (static_cast<double>(whole) == id && slot < blocks_.size() && blocks_[slot].data != nullptr
        && blocks_[slot].generation == whole / SLOT_LIMIT) {
      return slot;
    }
  }
  throw Failure("E_ARGUMENT", "no buffer has the id " + std::to_string(id));
}

std::vector<Allocator::Pooled>& Allocator::pool(size_t capacity) {
  const auto at = std::lower_bound(classes_.begin(), classes_.end(), capacity,
      [](const SizeClass& size, size_t wanted) { return size.capacity < wanted; });
  if (at != classes_.end() && at->capacity == capacity) return at->blocks;
  return classes_.insert(at, SizeClass{capacity, {}})->blocks;
}

void Allocator::dropOldest() {
  SizeClass* oldest = nullptr;
  for (SizeClass& size : classes_) {
    if (!size.blocks.empty() && (oldest == nullptr || size.blocks.front().since < oldest->blocks.front().since)) oldest = &size;
  }
  if (oldest == nullptr) return;
  queue_.release(oldest->blocks.front().data, oldest->capacity);
  oldest->blocks.erase(oldest->blocks.begin());
  pooled_ -= oldest->capacity;
}

void Allocator::dropIdle() {
  for (SizeClass& size : classes_) {
    size_t idle = 0;
    while (idle < size.blocks.size() && size.blocks[idle].since + IDLE_FREES < clock_) queue_.release(size.blocks[idle++].data,
        size.capacity);
    size.blocks.erase(size.blocks.begin(), size.blocks.begin() + static_cast<std::ptrdiff_t>(idle));
    pooled_ -= idle * size.capacity;
  }
}

// Waits for the queue, so that the memory is back with the system when this returns.
void Allocator::dropAll() {
  queue_.drain();
  for (SizeClass& size : classes_) {
    for (const Pooled& block : size.blocks) returnPages(block.data, size.capacity);
    size.blocks.clear();
  }
  pooled_ = 0;
}

}  // namespace lenggen
