# _warden for the ports that are built with make: USER_C_MODULES=…/device/native
SRC_USERMOD_C += $(USERMOD_DIR)/_warden.c

# So that _warden sees each collection. These ports call the linker itself, the others the compiler.
ifneq ($(filter $(notdir $(CURDIR)),bare-arm esp8266 mimxrt powerpc qemu-arm renesas-ra samd),)
LDFLAGS_USERMOD += --wrap=gc_collect
else
LDFLAGS_USERMOD += -Wl,--wrap=gc_collect
endif
