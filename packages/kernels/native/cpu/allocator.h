// Device memory: 64-byte aligned blocks in size classes. A freed block goes to a pool and may be handed out again
// at once: whatever is queued for its new owner runs after all that was queued for the old one.
#pragma once
#include <cstdint>
#include <vector>

#include "kernel.h"
#include "queue.h"

namespace lenggen {

class Allocator {
 public:
  Allocator(Queue& queue, size_t limit) : queue_(queue), limit_(limit) {}
  ~Allocator();

  // Returns the new block's id. Throws Failure E_MEMORY.
  double allocate(double bytes);
  // Makes a block longer; its id stays, its contents too, behind which there is anything. Waits for the queue. Throws Failure
  // E_MEMORY, and then it is as it was.
  void grow(double id, double bytes);
  // Throws Failure E_ARGUMENT for an id that is not (or no more) in use, as do all that take one.
  void free(double id);
  // The window of a block. Throws unless it lies inside.
  Buffer window(double id, double offset, double bytes) const;

  size_t used() const { return used_; }
  size_t pooled() const { return pooled_; }
  size_t peak() const { return peak_; }
  void resetPeak() { peak_ = used_; }

 private:
  struct Block {
    void* data = nullptr;  // null: the slot is free
    size_t bytes = 0;      // as asked for
    size_t capacity = 0;
    uint64_t generation = 0;
  };
  struct Pooled {
    void* data;
    uint64_t since;
  };
  struct SizeClass {
    size_t capacity;
    std::vector<Pooled> blocks;  // oldest first
  };

  size_t slotOf(double id) const;
  // A size as a number of bytes that may be had at all.
  size_t checkedSize(double bytes) const;
  Failure noRoom(double bytes) const;
  std::vector<Pooled>& pool(size_t capacity);
  void* take(size_t capacity, size_t asked);
  void dropOldest();
  void dropIdle();
  void dropAll();

  Queue& queue_;
  const size_t limit_;
  size_t used_ = 0, pooled_ = 0, peak_ = 0;
  uint64_t clock_ = 0;
  std::vector<Block> blocks_;
  std::vector<uint32_t> freeSlots_;
  std::vector<SizeClass> classes_;  // by capacity
};

}  // namespace lenggen
