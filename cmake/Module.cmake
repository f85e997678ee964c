# SPDX-License-Identifier: Apache-2.0
# module(): one folder of src/ as a static library with its unit tests and fuzz
# targets, declared in one place.
#
#   module(store SOURCES journal.c HEADERS journal.h TESTS journal_test
#          FUZZ journal_fuzz NEEDS base os LIBS PkgConfig::ZSTD)
#
# NEEDS are other modules; linking with those alone is the second check of
# src/LAYERS (the first is tests/layers).  TESTS are x.c files with a cmocka
# main; FUZZ are x.c files with LLVMFuzzerTestOneInput.  Where libFuzzer is
# off, each fuzz target becomes a plain test that replays tests/corpus/<x>/.

find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
find_program(CCACHE ccache)
if(CCACHE)
  set(CMAKE_C_COMPILER_LAUNCHER ${CCACHE})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE})
endif()

# pkg(ZSTD libzstd) -> imported target PkgConfig::ZSTD
macro(pkg NAME)
  pkg_check_modules(${NAME} REQUIRED IMPORTED_TARGET GLOBAL ${ARGN})
endmacro()

add_library(sawlog_flags INTERFACE)
target_include_directories(sawlog_flags INTERFACE ${CMAKE_SOURCE_DIR}/src ${CMAKE_BINARY_DIR}/src)
target_compile_definitions(sawlog_flags INTERFACE _GNU_SOURCE SAWLOG_VERSION="${PROJECT_VERSION}")
target_compile_options(sawlog_flags INTERFACE
  -Wall -Wextra -Wshadow -Wpointer-arith -Wwrite-strings -Wno-unused-parameter
  $<$<COMPILE_LANGUAGE:C>:-Wstrict-prototypes$<SEMICOLON>-Wmissing-prototypes$<SEMICOLON>-Wvla>
  $<$<COMPILE_LANG_AND_ID:C,Clang>:-Wthread-safety>
  -fno-strict-aliasing -fno-omit-frame-pointer -fstack-protector-strong -fPIE)
target_link_options(sawlog_flags INTERFACE -pie -Wl,-z,relro,-z,now)
if(SAWLOG_WERROR)
  target_compile_options(sawlog_flags INTERFACE -Werror)
endif()
if(SAWLOG_SANITIZE)
  target_compile_options(sawlog_flags INTERFACE -fsanitize=${SAWLOG_SANITIZE} -fno-sanitize-recover=all)
  target_link_options(sawlog_flags INTERFACE -fsanitize=${SAWLOG_SANITIZE})
elseif(CMAKE_BUILD_TYPE STREQUAL "Release" OR CMAKE_BUILD_TYPE STREQUAL "RelWithDebInfo")
  target_compile_options(sawlog_flags INTERFACE -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2)
endif()
if(SAWLOG_FUZZ)
  target_compile_options(sawlog_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()

function(module NAME)
  cmake_parse_arguments(M "" "" "SOURCES;HEADERS;TESTS;FUZZ;NEEDS;LIBS" ${ARGN})
  if(NOT M_SOURCES)
    set(M_SOURCES ${CMAKE_SOURCE_DIR}/cmake/empty.c)
  endif()
  add_library(${NAME} STATIC ${M_SOURCES})
  target_sources(${NAME} PUBLIC FILE_SET HEADERS BASE_DIRS ${CMAKE_SOURCE_DIR}/src FILES ${M_HEADERS})
  set_target_properties(${NAME} PROPERTIES VERIFY_INTERFACE_HEADER_SETS ON)
  target_link_libraries(${NAME} PUBLIC sawlog_flags ${M_NEEDS} ${M_LIBS} Threads::Threads)
  foreach(test ${M_TESTS})
    add_executable(${test} ${test}.c)
    target_link_libraries(${test} PRIVATE ${NAME} cmocka)
    add_test(NAME ${NAME}/${test} COMMAND ${test})
    set_tests_properties(${NAME}/${test} PROPERTIES LABELS unit TIMEOUT 120)
  endforeach()
  foreach(fuzz ${M_FUZZ})
    if(SAWLOG_FUZZ)
      add_executable(${fuzz} ${fuzz}.c)
      target_link_options(${fuzz} PRIVATE -fsanitize=fuzzer)
    else()
      add_executable(${fuzz} ${fuzz}.c ${CMAKE_SOURCE_DIR}/tests/fuzz_replay.c)
      add_test(NAME ${NAME}/${fuzz} COMMAND ${fuzz} ${CMAKE_SOURCE_DIR}/tests/corpus/${fuzz})
      set_tests_properties(${NAME}/${fuzz} PROPERTIES LABELS fuzz TIMEOUT 120)
    endif()
    target_link_libraries(${fuzz} PRIVATE ${NAME})
    set_property(GLOBAL APPEND PROPERTY SAWLOG_FUZZERS ${fuzz})
  endforeach()
endfunction()
