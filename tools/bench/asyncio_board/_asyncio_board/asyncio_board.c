// A clock for `time`, and connections for a server, on QEMU's mps2-an385, which has no network.

#include <string.h>

#include "py/mphal.h"
#include "py/runtime.h"
#include "py/stream.h"

// APB timer 1 (Arm CMSDK, DDI 0479): control, value, reload; 25 MHz, down. Read once in 171 s.
#define TIMER ((volatile uint32_t *)0x40001000)
#define TICKS_A_US (25)

static uint32_t last, us, ms, us_of_ms;

mp_uint_t mp_hal_ticks_us(void) {
    if (!TIMER[0]) {
        TIMER[2] = TIMER[1] = last = 0xFFFFFFFF;
        TIMER[0] = 1;
    }
    uint32_t passed = (last - TIMER[1]) / TICKS_A_US;
    last -= passed * TICKS_A_US;
    return us += passed;
}

mp_uint_t mp_hal_ticks_ms(void) {
    uint32_t passed = (mp_hal_ticks_us() - us_of_ms) / 1000;
    us_of_ms += passed * 1000;
    return ms += passed;
}

mp_uint_t mp_hal_ticks_cpu(void) {
    return mp_hal_ticks_us();
}

void mp_hal_delay_us(mp_uint_t wait) {
    for (uint32_t began = mp_hal_ticks_us(); mp_hal_ticks_us() - began < wait;) {
    }
}

void mp_hal_delay_ms(mp_uint_t wait) {
    for (uint32_t began = mp_hal_ticks_ms(); mp_hal_ticks_ms() - began < wait;) {
        mp_event_handle_nowait();
    }
}

// Connection(request): what a server is sent; its answer is dropped. Connection(None): nothing comes.
typedef struct {
    mp_obj_base_t base;
    mp_obj_t request;
    size_t read;
} connection_t;

static mp_obj_t connection_make(const mp_obj_type_t *type, size_t n, size_t kw, const mp_obj_t *args) {
    mp_arg_check_num(n, kw, 1, 1, false);
    connection_t *self = mp_obj_malloc(connection_t, type);
    self->request = args[0];
    self->read = 0;
    return MP_OBJ_FROM_PTR(self);
}

static mp_uint_t connection_read(mp_obj_t self_in, void *to, mp_uint_t room, int *error) {
    connection_t *self = MP_OBJ_TO_PTR(self_in);
    mp_buffer_info_t request;
    mp_get_buffer_raise(self->request, &request, MP_BUFFER_READ);
    size_t count = MIN(room, request.len - self->read);
    memcpy(to, (char *)request.buf + self->read, count);
    self->read += count;
    return count;
}

static mp_uint_t connection_write(mp_obj_t self_in, const void *from, mp_uint_t count, int *error) {
    return count;
}

static mp_uint_t connection_ioctl(mp_obj_t self_in, mp_uint_t request, uintptr_t arg, int *error) {
    connection_t *self = MP_OBJ_TO_PTR(self_in);
    if (request != MP_STREAM_POLL) {
        return 0;
    }
    return arg & (MP_STREAM_POLL_WR | (self->request == mp_const_none ? 0 : MP_STREAM_POLL_RD));
}

static const mp_rom_map_elem_t connection_names[] = {
    { MP_ROM_QSTR(MP_QSTR_read), MP_ROM_PTR(&mp_stream_read_obj) },
    { MP_ROM_QSTR(MP_QSTR_readinto), MP_ROM_PTR(&mp_stream_readinto_obj) },
    { MP_ROM_QSTR(MP_QSTR_readline), MP_ROM_PTR(&mp_stream_unbuffered_readline_obj) },
    { MP_ROM_QSTR(MP_QSTR_write), MP_ROM_PTR(&mp_stream_write_obj) },
    { MP_ROM_QSTR(MP_QSTR_close), MP_ROM_PTR(&mp_stream_close_obj) },
};
static MP_DEFINE_CONST_DICT(connection_dict, connection_names);

static const mp_stream_p_t connection_stream = {
    .read = connection_read,
    .write = connection_write,
    .ioctl = connection_ioctl,
};

static MP_DEFINE_CONST_OBJ_TYPE(
    connection_type, MP_QSTR_Connection, MP_TYPE_FLAG_NONE,
    make_new, connection_make, protocol, &connection_stream, locals_dict, &connection_dict
    );

static const mp_rom_map_elem_t board_names[] = {
    { MP_ROM_QSTR(MP_QSTR___name__), MP_ROM_QSTR(MP_QSTR__asyncio_board) },
    { MP_ROM_QSTR(MP_QSTR_Connection), MP_ROM_PTR(&connection_type) },
};
static MP_DEFINE_CONST_DICT(board_dict, board_names);

const mp_obj_module_t asyncio_board_module = {
    .base = { &mp_type_module },
    .globals = (mp_obj_dict_t *)&board_dict,
};
MP_REGISTER_MODULE(MP_QSTR__asyncio_board, asyncio_board_module);
