# dualpipe_layer(<name> SOURCES ... HEADERS ... LINK ... [PRIVATE_LINK ...])
# One static library per layer: target dualpipe_<name>, exported as dualpipe::<name>.
function(dualpipe_layer name)
  cmake_parse_arguments(PARSE_ARGV 1 layer "" "" "SOURCES;HEADERS;LINK;PRIVATE_LINK")
  set(target dualpipe_${name})
  add_library(${target} STATIC ${layer_SOURCES})
  add_library(dualpipe::${name} ALIAS ${target})
  target_sources(${target} PUBLIC FILE_SET HEADERS
                 BASE_DIRS ${PROJECT_SOURCE_DIR} FILES ${layer_HEADERS})
  target_compile_features(${target} PUBLIC cxx_std_20)
  target_link_libraries(${target} PUBLIC ${layer_LINK} PRIVATE ${layer_PRIVATE_LINK})
  set_target_properties(${target} PROPERTIES
    EXPORT_NAME ${name} VERIFY_INTERFACE_HEADER_SETS ON POSITION_INDEPENDENT_CODE ON)
  set_property(GLOBAL APPEND PROPERTY DUALPIPE_LAYERS ${target})
endfunction()

# dualpipe_layer_tests(<name> SOURCES ... LINK ... [SLOW <test>...])
# One test program per layer: dualpipe_<name>_tests, discovered by ctest, labelled with the layer.
# SLOW names, in GoogleTest's patterns, those labelled <layer>-slow, which ctest -L finds by either.
function(dualpipe_layer_tests name)
  cmake_parse_arguments(PARSE_ARGV 1 tests "" "" "SOURCES;LINK;SLOW")
  set(target dualpipe_${name}_tests)
  add_executable(${target} ${tests_SOURCES})
  target_link_libraries(${target} PRIVATE ${tests_LINK} GTest::gmock_main)
  target_compile_definitions(${target} PRIVATE TESTS_DIR="${PROJECT_SOURCE_DIR}/tests"
                                               SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  list(JOIN tests_SLOW ":" slow)
  gtest_discover_tests(${target} DISCOVERY_TIMEOUT 60 TEST_FILTER "-${slow}"
                       PROPERTIES LABELS ${name})
  if(slow)
    gtest_discover_tests(${target} DISCOVERY_TIMEOUT 60 TEST_FILTER "${slow}"
                         PROPERTIES LABELS ${name}-slow)
  endif()
endfunction()
