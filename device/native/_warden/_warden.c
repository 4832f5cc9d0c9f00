// _warden.heap(): what the heap's allocation table says now, and what each collection left.
// MicroPython keeps two bits for each block of its heap, four blocks to a byte, lowest bits first:
// 0 free, 1 the head of an object, 2 its tail, 3 a marked head (py/gc.c, "ATB"; so from 1.20 to
// 1.28). gc_info() takes them one by one, this takes words. docs/native.md is the user's side.

#include <string.h>

#include "py/gc.h"
#include "py/mphal.h"
#include "py/runtime.h"

// What gc.c's GC_ENTER and GC_EXIT do, which are private to it.
#if !MICROPY_PY_THREAD || MICROPY_PY_THREAD_GIL
#define HEAP_ENTER()
#define HEAP_EXIT()
#elif MICROPY_PY_THREAD_RECURSIVE_MUTEX // from 1.25
#define HEAP_ENTER() mp_thread_recursive_mutex_lock(&MP_STATE_MEM(gc_mutex), 1)
#define HEAP_EXIT() mp_thread_recursive_mutex_unlock(&MP_STATE_MEM(gc_mutex))
#else
#define HEAP_ENTER() mp_thread_mutex_lock(&MP_STATE_MEM(gc_mutex), 1)
#define HEAP_EXIT() mp_thread_mutex_unlock(&MP_STATE_MEM(gc_mutex))
#endif

#if MICROPY_GC_SPLIT_HEAP
#define NEXT(area) ((area)->next)
#else
#define NEXT(area) (NULL)
#endif
#if defined(QEMU_SOC_MPS2) && MICROPY_VERSION < 0x011b00 // the timer of warden/hal_mps2.py
#define TICKS_US() ((838860799u - *(volatile uint32_t *)0x40000004) / 25)
#else
#define TICKS_US() mp_hal_ticks_us()
#endif

#define SMALL (0x3fffffff) // the greatest int that needs no heap on 32 bits
#define BLOCK (MICROPY_BYTES_PER_GC_BLOCK)
#define IN_BYTES(blocks) (MIN((size_t)(blocks), SMALL / BLOCK) * BLOCK)
#define BLOCKS_PER_BYTE (4)
#define WORD (sizeof(word_t))
#define REPEATED(bits) (~(word_t)0 / (bits)) // 3: 0b0101…, 5: 0b00110011…, 17: 0x0f0f…
#if !defined(__clang__)
#pragma GCC optimize("O2") // a third faster than -Os, for 150 bytes
#endif
typedef unsigned long word_t;
typedef struct { int32_t free, run, largest; } runs_t; // blocks; of the run no end was seen yet

// The array of ints that heap() fills; in bytes of the heap, where it does not say blocks.
typedef struct {
    int32_t total, free, largest; // the answer: free is in runs, the longest is so large;
    int32_t slices; // put together from so many looks: 1 is the heap of one moment;
    int32_t allocated; // and so much was allocated between the first and the last.
    int32_t collections, last_us, longest_us, all_us; // Of all so far; modulo 2**30
    int32_t live, left; // after the last: in use, and the largest free run
    int32_t parts; // The pass under way: slices that there were (0: none is),
    int32_t area, at; // the byte to be read next, in which area's table,
    int32_t blocks, amount; // all blocks, and those allocated, as it began,
    runs_t runs; // and what was found so far.
} heap_t;

static heap_t last; // what the last collection left; the heap's lock guards it

// Count a word of the table, or what there is of one: `blocks` of them, the rest 0.
static inline void count(runs_t *runs, word_t entries, unsigned int blocks) {
    word_t used = (entries | entries >> 1) & REPEATED(3); // a bit for each block, at 2 * block
    word_t free = ~used & (REPEATED(3) >> 2 * (WORD * BLOCKS_PER_BYTE - blocks));
    if (used == 0) { // most words are not mixed
        runs->free += blocks;
        runs->run += blocks;
        return;
    }
    runs->largest = MAX(runs->largest, runs->run + __builtin_ctzl(used) / 2);
    if (free == 0) { // nor this one
        runs->run = 0;
        return;
    }
    runs->run = __builtin_clzl(used) / 2 - (int)(WORD * BLOCKS_PER_BYTE - blocks);
    word_t sums = (free & REPEATED(5)) + (free >> 2 & REPEATED(5));
    sums = (sums + (sums >> 4)) & REPEATED(17);
    const int32_t sum = sums * REPEATED(255) >> 8 * (WORD - 1);
    runs->free += sum;
    if (sum > runs->largest) { // a run inside may be longer: each step takes a block off every one
        for (int32_t length = 1; free != 0; free &= free >> 2, length += 1) {
            runs->largest = MAX(runs->largest, length);
        }
    }
}

// Go on in one area until it ends (return true) or `room`, in bytes of its table, is used up.
static bool read_area(heap_t *heap, const mp_state_mem_area_t *area, size_t *room) {
    size_t length = area->gc_alloc_table_byte_len, end = length;
    #if MICROPY_VERSION >= 0x011500 // behind the last used block the collector looks no more either
    end = MIN(end, area->gc_last_used_block / BLOCKS_PER_BYTE + 1);
    #endif
    runs_t runs = heap->runs;
    size_t at = MIN((size_t)heap->at, length);
    const size_t stop = at + MIN(end - MIN(at, end), *room);
    *room -= stop - at;
    while (at < stop) {
        const byte *entry = area->gc_alloc_table_start + at;
        if (MP_ENDIANNESS_LITTLE && (uintptr_t)entry % WORD == 0 && stop - at >= WORD) {
            count(&runs, *(const word_t *)entry, WORD * BLOCKS_PER_BYTE);
            at += WORD;
        } else {
            count(&runs, *entry, BLOCKS_PER_BYTE);
            at += 1;
        }
    }
    const bool whole = at >= end;
    if (whole) {
        runs.free += (length - at) * BLOCKS_PER_BYTE;
        runs.largest = MAX(runs.largest, runs.run + (int32_t)(length - at) * BLOCKS_PER_BYTE);
        runs.run = at = 0; // the next area is elsewhere
        heap->area += 1;
    }
    heap->at = at;
    heap->runs = runs;
    return whole;
}

// Go on with a pass, or begin one; return whether it is whole now.
static bool read_heap(heap_t *heap, size_t room) {
    const mp_state_mem_area_t *area;
    size_t blocks = 0, amount = 0, index = 0;
    for (area = &MP_STATE_MEM(area); area != NULL; area = NEXT(area)) {
        blocks += area->gc_alloc_table_byte_len * BLOCKS_PER_BYTE;
    }
    #if MICROPY_GC_ALLOC_THRESHOLD
    amount = MP_STATE_MEM(gc_alloc_amount);
    #endif
    if (heap->parts == 0 || heap->blocks != (int32_t)blocks) { // none is under way; the heap grew
        memset(&heap->parts, 0, sizeof(*heap) - offsetof(heap_t, parts));
        heap->blocks = blocks;
        heap->amount = amount;
    }
    heap->parts += 1;
    for (area = &MP_STATE_MEM(area); area != NULL; area = NEXT(area)) {
        if (index++ == (size_t)heap->area && !read_area(heap, area, &room)) {
            return false;
        }
    }
    heap->total = IN_BYTES(blocks);
    heap->free = IN_BYTES(heap->runs.free);
    heap->largest = IN_BYTES(heap->runs.largest);
    #if MICROPY_GC_SPLIT_HEAP_AUTO // it can grow: as gc.mem_free() and gc_try_add_heap() have it
    size_t more = gc_get_max_new_split();
    heap->total += more;
    heap->free += more;
    heap->largest = MAX(heap->largest, (int32_t)MIN(more - MIN(more, 2048), more / 525 * 512));
    #endif
    heap->slices = heap->parts;
    heap->allocated = IN_BYTES(amount - heap->amount);
    heap->parts = 0;
    return true;
}

// The linker puts this in the place of gc_collect().
void __real_gc_collect(void), __wrap_gc_collect(void);
void __wrap_gc_collect(void) {
    uint32_t began = TICKS_US();
    __real_gc_collect();
    HEAP_ENTER();
    last.parts = 0;
    read_heap(&last, SIZE_MAX);
    last.live = last.total - last.free;
    last.left = last.largest;
    last.last_us = (TICKS_US() - began) & 0x1ffffff; // what that timer wraps at
    last.longest_us = MAX(last.longest_us, last.last_us);
    last.all_us = (last.all_us + last.last_us) & SMALL;
    last.collections = (last.collections + 1) & SMALL;
    HEAP_EXIT();
}

// heap(state, room): go on with the pass in `state`, or begin one; return whether it is whole now.
// It reads at most `room` bytes of the allocation table; 0: all that there is.
static mp_obj_t warden_heap(mp_obj_t state, mp_obj_t room_in) {
    mp_buffer_info_t info;
    mp_get_buffer_raise(state, &info, MP_BUFFER_RW);
    heap_t *heap = info.buf;
    if (info.len < sizeof(*heap) || (uintptr_t)heap % sizeof(int32_t) != 0) {
        mp_raise_ValueError(MP_ERROR_TEXT("state"));
    }
    mp_int_t room = mp_obj_get_int(room_in);
    HEAP_ENTER();
    bool whole = heap->collections != last.collections && heap->parts != 0; // and of one moment
    if (heap->collections != last.collections) {
        memcpy(heap, &last, offsetof(heap_t, area)); // that is newer; none is under way
    }
    whole = whole || read_heap(heap, room > 0 ? (size_t)room : SIZE_MAX);
    HEAP_EXIT();
    return mp_obj_new_bool(whole);
}
static MP_DEFINE_CONST_FUN_OBJ_2(warden_heap_obj, warden_heap);
static const mp_rom_map_elem_t names[] = {
    { MP_ROM_QSTR(MP_QSTR___name__), MP_ROM_QSTR(MP_QSTR__warden) },
    { MP_ROM_QSTR(MP_QSTR_heap), MP_ROM_PTR(&warden_heap_obj) },
};
static MP_DEFINE_CONST_DICT(globals, names);
const mp_obj_module_t warden_native = { { &mp_type_module }, (mp_obj_dict_t *)&globals };
MP_REGISTER_MODULE(MP_QSTR__warden, warden_native);
