# _warden for the ports that are built with CMake: USER_C_MODULES=…/device/native/micropython.cmake
add_library(usermod_warden INTERFACE)
target_sources(usermod_warden INTERFACE ${CMAKE_CURRENT_LIST_DIR}/_warden/_warden.c)

# So that _warden sees each collection. As a library, which reaches the firmware's link from below
# its static libraries too; a link option would not with every CMake.
target_link_libraries(usermod_warden INTERFACE -Wl,--wrap=gc_collect)
target_link_libraries(usermod INTERFACE usermod_warden)
