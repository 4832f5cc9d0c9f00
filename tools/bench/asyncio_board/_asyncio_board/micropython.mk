# What most boards have and MicroPython's QEMU port leaves out: time, select, asyncio's part in C.
SRC_USERMOD_C += $(USERMOD_DIR)/asyncio_board.c
CFLAGS_USERMOD += -I$(USERMOD_DIR) -DMP_CONFIGFILE='<asyncio_board.h>'
