// _probe: what MicroPython's own gc_info() says, for the tests of _warden; in no firmware but theirs.

#include <string.h>

#include "py/gc.h"
#include "py/mphal.h"
#include "py/runtime.h"

#define MAX_AREAS (4)

#if MICROPY_PY_THREAD && !MICROPY_PY_THREAD_GIL
#if MICROPY_PY_THREAD_RECURSIVE_MUTEX // from 1.25
#define LOCK(mutex) mp_thread_recursive_mutex_lock(mutex, 1)
#define UNLOCK(mutex) mp_thread_recursive_mutex_unlock(mutex)
#else
#define LOCK(mutex) mp_thread_mutex_lock(mutex, 1)
#define UNLOCK(mutex) mp_thread_mutex_unlock(mutex)
#endif
#endif

static int32_t *ints(mp_obj_t array, size_t *count) {
    mp_buffer_info_t info;
    mp_get_buffer_raise(array, &info, MP_BUFFER_RW);
    *count = info.len / sizeof(int32_t);
    return info.buf;
}

static void put_info(int32_t *place) {
    gc_info_t info;
    gc_info(&info);
    place[0] = info.total;
    place[1] = info.free;
    place[2] = info.max_free * MICROPY_BYTES_PER_GC_BLOCK;
}

// info(place): total, free and largest free run, in bytes.
static mp_obj_t probe_info(mp_obj_t place) {
    size_t count;
    put_info(ints(place, &count));
    return mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_1(probe_info_obj, probe_info);

// on_table(table, bounds, place, heap, state, room, slices): call heap(state, room) until it is true,
// at most `slices` times, while the heap's areas are pieces of `table` (bounds: where each begins in
// it, and its length); and put into `place` what info() says of those. Return how often it was called.
static mp_obj_t probe_on_table(size_t n_args, const mp_obj_t *args) {
    (void)n_args;
    mp_buffer_info_t table;
    mp_get_buffer_raise(args[0], &table, MP_BUFFER_READ);
    size_t count, unused;
    const int32_t *bounds = ints(args[1], &count);
    int32_t *place = ints(args[2], &unused);
    mp_int_t slices = mp_obj_get_int(args[6]);
    count /= 2;
    if (count == 0 || count > (MICROPY_GC_SPLIT_HEAP ? MAX_AREAS : 1)) {
        mp_raise_ValueError(MP_ERROR_TEXT("areas"));
    }
    mp_state_mem_area_t areas[MAX_AREAS];
    memset(areas, 0, sizeof(areas));
    for (size_t i = 0; i < count; i++) {
        mp_state_mem_area_t *area = &areas[i];
        area->gc_alloc_table_start = (byte *)table.buf + bounds[2 * i];
        area->gc_alloc_table_byte_len = bounds[2 * i + 1];
        size_t blocks = area->gc_alloc_table_byte_len * 4;
        area->gc_pool_end = area->gc_pool_start + blocks * MICROPY_BYTES_PER_GC_BLOCK;
        #if MICROPY_VERSION >= 0x011500
        for (size_t block = 0; block < blocks; block++) {
            if (area->gc_alloc_table_start[block / 4] >> 2 * (block % 4) & 3) {
                area->gc_last_used_block = block;
            }
        }
        #endif
        #if MICROPY_GC_SPLIT_HEAP
        area->next = i + 1 < count ? &areas[i + 1] : NULL;
        #endif
    }
    gc_lock();
    mp_state_mem_area_t real = MP_STATE_MEM(area);
    MP_STATE_MEM(area) = areas[0];
    put_info(place);
    mp_int_t calls = 0;
    bool whole = false;
    while (!whole && calls < slices) {
        whole = mp_call_function_2(args[3], args[4], args[5]) == mp_const_true;
        calls += 1;
    }
    MP_STATE_MEM(area) = real;
    gc_unlock();
    return MP_OBJ_NEW_SMALL_INT(calls);
}
static MP_DEFINE_CONST_FUN_OBJ_VAR_BETWEEN(probe_on_table_obj, 7, 7, probe_on_table);

#if MICROPY_PY_THREAD && !MICROPY_PY_THREAD_GIL
// hold(started, ms): keep the heap's lock for so long; started[0] becomes 1 as soon as it is held.
static mp_obj_t probe_hold(mp_obj_t started, mp_obj_t ms) {
    size_t count;
    volatile int32_t *flag = ints(started, &count);
    mp_int_t time = mp_obj_get_int(ms);
    LOCK(&MP_STATE_MEM(gc_mutex));
    flag[0] = 1;
    mp_uint_t began = mp_hal_ticks_ms();
    while ((mp_int_t)(mp_hal_ticks_ms() - began) < time) {
    }
    UNLOCK(&MP_STATE_MEM(gc_mutex));
    return mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_2(probe_hold_obj, probe_hold);
#endif

static const mp_rom_map_elem_t globals_table[] = {
    { MP_ROM_QSTR(MP_QSTR___name__), MP_ROM_QSTR(MP_QSTR__probe) },
    { MP_ROM_QSTR(MP_QSTR_info), MP_ROM_PTR(&probe_info_obj) },
    { MP_ROM_QSTR(MP_QSTR_on_table), MP_ROM_PTR(&probe_on_table_obj) },
    #if MICROPY_PY_THREAD && !MICROPY_PY_THREAD_GIL
    { MP_ROM_QSTR(MP_QSTR_hold), MP_ROM_PTR(&probe_hold_obj) },
    #endif
};
static MP_DEFINE_CONST_DICT(globals, globals_table);

const mp_obj_module_t probe_module = {
    .base = { &mp_type_module },
    .globals = (mp_obj_dict_t *)&globals,
};
MP_REGISTER_MODULE(MP_QSTR__probe, probe_module);
