# What every target is compiled with.
set(CMAKE_C_STANDARD 11)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS ON)
set(CMAKE_C_VISIBILITY_PRESET hidden)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

add_library(rm_options INTERFACE)
target_include_directories(rm_options INTERFACE ${CMAKE_SOURCE_DIR})
# -ffp-contract=off: a fused multiply-add only where the source says so; results are part of a
# contract that must not depend on what a compiler finds profitable.
target_compile_options(rm_options INTERFACE
  -Wall -Wextra -Wshadow -Wconversion -ffp-contract=off -fno-math-errno)
if(RM_WERROR)
  target_compile_options(rm_options INTERFACE -Werror)
endif()
if(RM_SANITIZE)
  target_compile_options(rm_options INTERFACE
    -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -g
    -UNDEBUG) # asserts too: no other build has them
  target_link_options(rm_options INTERFACE -fsanitize=address,undefined)
endif()

# rm_folder(name SOURCES... ): one object library a top-level folder.
function(rm_folder name)
  add_library(rm_${name} OBJECT ${ARGN})
  target_link_libraries(rm_${name} PUBLIC rm_options)
endfunction()

# Libraries. Each is a Debian package named in packages.txt.
set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(PCRE2 REQUIRED IMPORTED_TARGET libpcre2-8)
set(RM_ENGINE_LIBRARIES Threads::Threads PkgConfig::PCRE2 PkgConfig::CJSON PkgConfig::UTF8PROC ${CMAKE_DL_LIBS} m) # m: fma, exact by definition
pkg_check_modules(CJSON REQUIRED IMPORTED_TARGET libcjson)
pkg_check_modules(UTF8PROC REQUIRED IMPORTED_TARGET libutf8proc)
if(NOT RM_ENGINE_ONLY)
  pkg_check_modules(CURL REQUIRED IMPORTED_TARGET libcurl)
  pkg_check_modules(SQLITE REQUIRED IMPORTED_TARGET sqlite3)
  pkg_check_modules(PLPLOT REQUIRED IMPORTED_TARGET plplot)
  pkg_check_modules(CAIRO REQUIRED IMPORTED_TARGET cairo cairo-pdf cairo-svg)
  find_package(GSL REQUIRED)
endif()
