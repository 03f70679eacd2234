# cmake --install BUILD --prefix FOLDER: a tree that works without the source, wherever it is moved to. The libraries
# stay where they are.

install(TARGETS gendistill RUNTIME)
install(TARGETS libgendistill EXPORT gendistill ARCHIVE)
install(DIRECTORY include/gendistill TYPE INCLUDE)

# ---- What users read and submit: as in the source, so that jobs, tools and configs find one another

set(data ${CMAKE_INSTALL_DATADIR}/gendistill)
install(DIRECTORY configs jobs DESTINATION ${data} USE_SOURCE_PERMISSIONS
  FILES_MATCHING PATTERN *.yaml PATTERN *.sh PATTERN *.sbatch PATTERN studies EXCLUDE)
install(PROGRAMS tools/scaling DESTINATION ${data}/tools) # for jobs/scaling.sbatch
install(FILES README.md CHANGELOG.md CITATION.cff LICENSE TYPE DOC)
foreach(page configs jobs src/app src/diffusion src/eval src/strategy)
  install(FILES ${page}/README.md DESTINATION ${CMAKE_INSTALL_DOCDIR}/${page})
endforeach()
install(FILES cmake/completion.bash DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions RENAME gendistill)

add_custom_command(OUTPUT gendistill.1 COMMAND gendistill --man >gendistill.1 DEPENDS gendistill)
add_custom_target(manual ALL DEPENDS gendistill.1)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/gendistill.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)

# ---- For programs that use the library: find_package(gendistill) and pkg-config

include(CMakePackageConfigHelpers)
set(package ${CMAKE_INSTALL_LIBDIR}/cmake/gendistill)
set_target_properties(libgendistill PROPERTIES EXPORT_NAME gendistill)
install(EXPORT gendistill NAMESPACE gendistill:: FILE gendistillTargets.cmake DESTINATION ${package})
configure_package_config_file(cmake/gendistillConfig.cmake.in gendistillConfig.cmake INSTALL_DESTINATION ${package})
write_basic_package_version_file(gendistillConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/gendistillConfig.cmake
  ${CMAKE_CURRENT_BINARY_DIR}/gendistillConfigVersion.cmake DESTINATION ${package})

file(RELATIVE_PATH GD_PREFIX_FROM_PC ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
list(TRANSFORM MPI_C_INCLUDE_DIRS PREPEND -I OUTPUT_VARIABLE cflags)
set(libs ${MPI_C_LIBRARIES} ${GD_LIBRARIES})
list(TRANSFORM libs REPLACE "^([^/-].*)$" "-l\\1") # m
list(TRANSFORM GD_LIBRARY_FOLDERS PREPEND -Wl,-rpath, OUTPUT_VARIABLE rpaths)
string(JOIN " " GD_PC_CFLAGS ${cflags})
string(JOIN " " GD_PC_LIBS ${OpenMP_C_FLAGS} ${libs} ${rpaths})
configure_file(cmake/gendistill.pc.in gendistill.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/gendistill.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
