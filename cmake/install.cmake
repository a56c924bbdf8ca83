include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(config_dir ${CMAKE_INSTALL_LIBDIR}/cmake/dualpipe)
get_property(layers GLOBAL PROPERTY DUALPIPE_LAYERS)
# The programs' own; components of their own.
list(REMOVE_ITEM layers dualpipe_cli dualpipe_mpi dualpipe_cuda dualpipe_nccl)
install(TARGETS ${layers} EXPORT dualpipeTargets
        FILE_SET HEADERS DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/dualpipe)
install(EXPORT dualpipeTargets NAMESPACE dualpipe:: DESTINATION ${config_dir})
# dualpipe_component(<name> <file>): a library that needs more than the others do.
function(dualpipe_component name file)
  install(TARGETS dualpipe_${name} EXPORT ${file}
          FILE_SET HEADERS DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/dualpipe)
  install(EXPORT ${file} NAMESPACE dualpipe:: DESTINATION ${config_dir})
endfunction()
if(DUALPIPE_HAS_MPI)
  dualpipe_component(mpi dualpipeMpiTargets)
endif()
if(DUALPIPE_HAS_CUDA)
  dualpipe_component(cuda dualpipeCudaTargets)
endif()
if(DUALPIPE_HAS_NCCL)
  dualpipe_component(nccl dualpipeNcclTargets)
  install(FILES cmake/FindNCCL.cmake DESTINATION ${config_dir})
endif()
install(TARGETS dualpipe-sim dualpipe-run)
# For builds without CMake: the runtime over threads, in C or C++.
file(RELATIVE_PATH DUALPIPE_PREFIX_OF_PC /prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig /prefix)
configure_file(cmake/dualpipe-runtime.pc.in dualpipe-runtime.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/dualpipe-runtime.pc
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
configure_package_config_file(cmake/dualpipeConfig.cmake.in dualpipeConfig.cmake
                              INSTALL_DESTINATION ${config_dir})
write_basic_package_version_file(dualpipeConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/dualpipeConfig.cmake
              ${PROJECT_BINARY_DIR}/dualpipeConfigVersion.cmake
        DESTINATION ${config_dir})
