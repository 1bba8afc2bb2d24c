# A room is a folder that becomes one static library; every .c file in it belongs to it.
#
#   as_room(coordinator/log PURE LINK common)       library target assent_coordinator_log
#   as_program(assentd coordinator/shell LINK ...)  the same for a folder that becomes an executable
#
# PURE rooms do no I/O: tests/pure-check.sh compares what their archives import with an allow-list.

set(AS_WARNINGS -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wstrict-prototypes
    -Wmissing-prototypes -Wvla -Werror)
set_property(GLOBAL PROPERTY AS_PURE_ROOMS "")

function(as_target_name room ret_name)
  string(REPLACE "/" "_" name "${room}")
  set(${ret_name} "assent_${name}" PARENT_SCOPE)
endfunction()

# Flags that every target of ours has.
function(as_flags target)
  target_compile_options(${target} PRIVATE ${AS_WARNINGS} -fno-omit-frame-pointer)
  target_compile_definitions(${target} PRIVATE _GNU_SOURCE AS_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  target_include_directories(${target} PUBLIC ${PROJECT_SOURCE_DIR}/include ${PROJECT_SOURCE_DIR})
  if(AS_CRASH_POINTS)
    target_compile_definitions(${target} PUBLIC AS_CRASH_POINTS)
  endif()
  if(AS_SANITIZE)
    target_compile_options(${target} PUBLIC -fsanitize=${AS_SANITIZE} -fno-sanitize-recover=all)
    target_link_options(${target} PUBLIC -fsanitize=${AS_SANITIZE})
  endif()
  if(AS_FUZZ)
    target_compile_options(${target} PUBLIC -fsanitize=fuzzer-no-link)
    target_link_options(${target} PUBLIC -fsanitize=fuzzer-no-link)
  endif()
endfunction()

# Programs are optimised as a whole: a fifth more decisions a second (docs/performance.md). The rooms hold both forms,
# so that tests link quickly and tests/pure-check.sh sees what they import; only GCC of Debian 12 can do that.
set(AS_WHOLE_PROGRAM "")
if(AS_LTO AND CMAKE_C_COMPILER_ID STREQUAL "GNU")
  set(AS_WHOLE_PROGRAM -O3 -flto=auto -ffat-lto-objects)
endif()

function(as_whole program)
  target_compile_options(${program} PRIVATE ${AS_WHOLE_PROGRAM})
  target_link_options(${program} PRIVATE ${AS_WHOLE_PROGRAM})
endfunction()

# Room names in a LINK list become their targets; anything else is left as it is.
function(as_link target)
  foreach(item ${ARGN})
    if(IS_DIRECTORY "${PROJECT_SOURCE_DIR}/${item}")
      as_target_name(${item} name)
      if(TARGET ${name})
        target_link_libraries(${target} PUBLIC ${name})
      endif()
    else()
      target_link_libraries(${target} PUBLIC ${item})
    endif()
  endforeach()
endfunction()

function(as_room room)
  cmake_parse_arguments(ARG "PURE" "" "LINK" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/${room}/*.c)
  if(NOT sources)
    return()
  endif()
  as_target_name(${room} target)
  add_library(${target} STATIC ${sources})
  as_flags(${target})
  target_compile_options(${target} PRIVATE ${AS_WHOLE_PROGRAM})
  as_link(${target} ${ARG_LINK})
  if(ARG_PURE)
    set_property(GLOBAL APPEND PROPERTY AS_PURE_ROOMS ${target})
  endif()
endfunction()

function(as_program program room)
  cmake_parse_arguments(ARG "" "" "LINK" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/${room}/*.c)
  if(NOT sources)
    return()
  endif()
  add_executable(${program} ${sources})
  as_flags(${program})
  as_whole(${program})
  as_link(${program} ${ARG_LINK})
  target_compile_definitions(${program} PRIVATE AS_VERSION="${PROJECT_VERSION}")
  set_target_properties(${program} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/bin)
endfunction()
