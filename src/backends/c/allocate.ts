// Memory for the programs around compiled models: at multiples of 64, where long vectors lie in one line of a cache each.

/** C functions `allocate` and `release`. `fail`: a call that ends the program. */
export const printAllocate = (fail: string): string => `static void *allocate(size_t bytes) {
  char *whole = bytes < SIZE_MAX - 128 ? malloc(bytes + 64 + sizeof whole) : NULL, *p;
  if (!whole) ${fail};
  p = whole + sizeof whole;
  p += (64 - (uintptr_t)p % 64) % 64;
  memcpy(p - sizeof whole, &whole, sizeof whole);
  return p;
}

static void release(void *p) {
  char *whole;
  if (!p) return;
  memcpy(&whole, (char *)p - sizeof whole, sizeof whole);
  free(whole);
}`;
