/* Puts what is allocated in whole pages, as the unix port's heap is, between pages that may not be
 * touched: a read of one byte outside ends the process with SIGSEGV. For LD_PRELOAD. */
#include <stddef.h>
#include <sys/mman.h>

void *__libc_malloc(size_t size);
void __libc_free(void *at);

enum { PAGE = 4096, SMALLEST = 16 * PAGE, MOST = 4 };

static char *guarded[MOST];
static int count;

void *malloc(size_t size) {
    if (size < SMALLEST || size % PAGE || count == MOST) {
        return __libc_malloc(size);
    }
    char *start = mmap(NULL, size + 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (start == MAP_FAILED || mprotect(start + PAGE, size, PROT_READ | PROT_WRITE)) {
        return NULL;
    }
    return guarded[count++] = start + PAGE;
}

void free(void *at) {
    for (int place = 0; place < count; place++) {
        if (at == guarded[place]) {
            return;
        }
    }
    __libc_free(at);
}
