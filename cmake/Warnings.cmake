# Warnings of every target of ours; errors in the presets for developers, not where a user's newer compiler builds the release.
option(FM_WERROR "Turn compiler warnings into errors" OFF)

add_library(fm_warnings INTERFACE)
target_compile_options(fm_warnings INTERFACE -Wall -Wextra -Wshadow -Wconversion -Wno-sign-conversion
                                             -Wcast-align -Wundef -Wno-psabi)
if(FM_WERROR)
  target_compile_options(fm_warnings INTERFACE -Werror)
endif()
