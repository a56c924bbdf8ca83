# dualpipe_mpi_test(<name> RANKS <count> COMMAND <program> [<argument>...]
#                   [FAILS_WITH <exit code> [SAYS <regex>]])
# A test that needs mpirun. With FAILS_WITH the job is to end with this exit code, and exactly one
# line of stderr is to match the regex.
function(dualpipe_mpi_test name)
  cmake_parse_arguments(PARSE_ARGV 1 job "" "RANKS;FAILS_WITH;SAYS" "COMMAND")
  set(here ${CMAKE_CURRENT_FUNCTION_LIST_DIR})
  # More ranks than cores are fine.
  set(command ${MPIEXEC_EXECUTABLE} --oversubscribe ${MPIEXEC_NUMPROC_FLAG} ${job_RANKS}
              ${job_COMMAND})
  if(DEFINED job_FAILS_WITH)
    add_test(NAME ${name} COMMAND ${here}/expect_job.sh ${job_FAILS_WITH} "${job_SAYS}" ${command})
  else()
    add_test(NAME ${name} COMMAND ${command})
  endif()
  dualpipe_mpi_environment(${name})
endfunction()

# dualpipe_mpi_environment(<test>): what a test that starts mpirun, itself or in a script, needs.
function(dualpipe_mpi_environment name)
  # Containers run as root, and lack the rights that Open MPI's single-copy mechanism needs. Its
  # leaks and races are not ours; to tell them apart takes whole stacks.
  set(environment
    OMPI_ALLOW_RUN_AS_ROOT=1
    OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
    OMPI_MCA_btl_vader_single_copy_mechanism=none
    LSAN_OPTIONS=suppressions=${CMAKE_CURRENT_FUNCTION_LIST_DIR}/lsan.supp:print_suppressions=0
    ASAN_OPTIONS=fast_unwind_on_malloc=0
    TSAN_OPTIONS=suppressions=${CMAKE_CURRENT_FUNCTION_LIST_DIR}/tsan.supp
  )
  set_tests_properties(${name} PROPERTIES
    ENVIRONMENT "${environment}" LABELS mpi TIMEOUT 60 PROCESSORS 2)
endfunction()
