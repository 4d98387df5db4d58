// Memory from the system. Blocks of some size are whole pages of their own, so that they can be made longer without being
// copied and go back to the system as soon as they are freed.
#pragma once
#include <cstddef>

namespace lenggen {

// The size that a block for `bytes` bytes has: rounded up to eighths of a power of two, so that at most an eighth is lost and
// sizes that are near share a class. Large blocks are whole huge pages.
size_t capacityFor(size_t bytes);

// A block of `capacity` bytes, a size that capacityFor() gives, aligned to 64; null when there is no room. Contents are anything.
void* obtainPages(size_t capacity);

// Makes a block larger. Returns where it is now, its contents kept; or null when there is no room, and it is where it was.
void* growPages(void* data, size_t capacity, size_t wanted);

void returnPages(void* data, size_t capacity);

}  // namespace lenggen
