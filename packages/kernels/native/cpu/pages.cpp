#include "pages.h"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>

// The address sanitizer knows of the heap only: with it everything comes from there.
#if defined(__SANITIZE_ADDRESS__)
#define LENGGEN_HEAP_ONLY 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define LENGGEN_HEAP_ONLY 1
#endif
#endif
#if defined(__linux__) && !defined(LENGGEN_HEAP_ONLY)
#define LENGGEN_PAGES 1
#include <sys/mman.h>
#endif

namespace lenggen {
namespace {

// Blocks of at least half a huge page are made of huge pages, where the system has them: kernels walk matrices by columns
// too, and with small pages each step of that would be looked up anew. A training step of a small model is 5-10% faster.
#if defined(__linux__)
constexpr size_t HUGE_PAGE = size_t{2} << 20, HUGE_FROM = HUGE_PAGE / 2;
#else
constexpr size_t HUGE_PAGE = 64, HUGE_FROM = SIZE_MAX;
#endif

#if defined(LENGGEN_PAGES)
// Blocks from here on are pages of their own: in the heap, those that a growing tensor leaves behind would lie between others,
// and never go back to the system. capacityFor() gives multiples of 8 KiB there.
constexpr size_t MAPPED_FROM = size_t{64} << 10;

void* orNull(void* mapped) { return mapped == MAP_FAILED ? nullptr : mapped; }

// Addresses for `capacity` bytes that begin with a huge page; null when there are none.
void* reserve(size_t capacity, int protection) {
  void* found = orNull(mmap(nullptr, capacity + HUGE_PAGE, protection,
      MAP_PRIVATE | MAP_ANONYMOUS | (protection == PROT_NONE ? MAP_NORESERVE : 0), -1, 0));
  if (found == nullptr) return nullptr;
  char* const begin = static_cast<char*>(found);
  const size_t before = (HUGE_PAGE - reinterpret_cast<uintptr_t>(found) % HUGE_PAGE) % HUGE_PAGE;
  if (before > 0) munmap(begin, before);
  if (before < HUGE_PAGE) munmap(begin + before + capacity, HUGE_PAGE - before);
  return begin + before;
}
#endif

}  // namespace

size_t capacityFor(size_t bytes) {
  if (bytes <= 64) return 64;
  const int log = 63 - __builtin_clzll(bytes);
  const size_t step = std::max<size_t>(64, (size_t{1} << log) / 8), capacity = (bytes + step - 1) / step * step;
  return capacity < HUGE_FROM ? capacity : (capacity + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
}

void* obtainPages(size_t capacity) {
#if defined(LENGGEN_PAGES)
  if (capacity >= HUGE_FROM) {
    void* const data = reserve(capacity, PROT_READ | PROT_WRITE);
    if (data != nullptr) madvise(data, capacity, MADV_HUGEPAGE);
    return data;
  }
  if (capacity >= MAPPED_FROM) return orNull(mmap(nullptr, capacity, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
#endif
  return std::aligned_alloc(64, capacity);
}

void* growPages(void* data, size_t capacity, size_t wanted) {
#if defined(LENGGEN_PAGES)
  if (capacity >= HUGE_FROM) {
    // Where huge pages may begin: the system would choose any place.
    void* const place = reserve(wanted, PROT_NONE);
    if (place == nullptr) return nullptr;
    if (mremap(data, capacity, wanted, MREMAP_MAYMOVE | MREMAP_FIXED, place) != MAP_FAILED) return place;
    munmap(place, wanted);
    return nullptr;
  }
  if (capacity >= MAPPED_FROM && wanted < HUGE_FROM) return orNull(mremap(data, capacity, wanted, MREMAP_MAYMOVE));
#endif
  void* const larger = obtainPages(wanted);
  if (larger == nullptr) return nullptr;
  std::memcpy(larger, data, capacity);
  returnPages(data, capacity);
  return larger;
}

void returnPages(void* data, [[maybe_unused]] size_t capacity) {
#if defined(LENGGEN_PAGES)
  if (data != nullptr && capacity >= MAPPED_FROM) {
    munmap(data, capacity);
    return;
  }
#endif
  std::free(data);
}

}  // namespace lenggen
