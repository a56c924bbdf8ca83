include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(config_dir ${CMAKE_INSTALL_LIBDIR}/cmake/dualpipe)
get_property(layers GLOBAL PROPERTY DUALPIPE_LAYERS)
list(REMOVE_ITEM layers dualpipe_cli dualpipe_mpi)  # the programs' own; a component of its own
install(TARGETS ${layers} EXPORT dualpipeTargets
        FILE_SET HEADERS DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/dualpipe)
install(EXPORT dualpipeTargets NAMESPACE dualpipe:: DESTINATION ${config_dir})
if(DUALPIPE_HAS_MPI)
  install(TARGETS dualpipe_mpi EXPORT dualpipeMpiTargets
          FILE_SET HEADERS DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/dualpipe)
  install(EXPORT dualpipeMpiTargets NAMESPACE dualpipe:: DESTINATION ${config_dir})
endif()
install(TARGETS dualpipe-sim dualpipe-run)
configure_package_config_file(cmake/dualpipeConfig.cmake.in dualpipeConfig.cmake
                              INSTALL_DESTINATION ${config_dir})
write_basic_package_version_file(dualpipeConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/dualpipeConfig.cmake
              ${PROJECT_BINARY_DIR}/dualpipeConfigVersion.cmake
        DESTINATION ${config_dir})
