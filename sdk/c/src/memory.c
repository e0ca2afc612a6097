// What a compiler expects of any environment, by the instructions that WebAssembly has for it.
#ifdef __wasm__

#include "internal.h"

void *memcpy(void *restrict to, const void *restrict from, size_t bytes) {
    __builtin_memcpy(to, from, bytes);
    return to;
}

void *memmove(void *to, const void *from, size_t bytes) {
    __builtin_memmove(to, from, bytes);
    return to;
}

void *memset(void *to, int value, size_t bytes) {
    __builtin_memset(to, value, bytes);
    return to;
}

int memcmp(const void *one, const void *two, size_t bytes) {
    const uint8_t *a = one, *b = two;
    for (size_t i = 0; i < bytes; i++) {
        if (a[i] != b[i]) return a[i] < b[i] ? -1 : 1;
    }
    return 0;
}

size_t strlen(const char *text) {
    size_t length = 0;
    while (text[length]) length++;
    return length;
}

#endif
