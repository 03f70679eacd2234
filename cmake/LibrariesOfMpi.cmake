# HDF5 and ScaLAPACK of the MPI in use. Libraries of two MPIs in one program break at the first collective call, so
# configuration stops where they do not belong together.

# gd_dynamic_entry(OUT LIBRARY KIND): the MPI library that LIBRARY names as NEEDED or as its own SONAME; empty: none.
function(gd_dynamic_entry out library kind)
  set(found "")
  if(CMAKE_OBJDUMP AND EXISTS "${library}")
    execute_process(COMMAND ${CMAKE_OBJDUMP} -p "${library}" OUTPUT_VARIABLE text ERROR_QUIET)
    if(text MATCHES "${kind} +(libmpi(ch)?[.]so[.0-9]*)")
      set(found ${CMAKE_MATCH_1})
    endif()
  endif()
  set(${out} "${found}" PARENT_SCOPE)
endfunction()

set(GD_MPI_SONAME "")
foreach(library ${MPI_C_LIBRARIES})
  gd_dynamic_entry(name "${library}" SONAME)
  if(name)
    set(GD_MPI_SONAME ${name})
  endif()
endforeach()

# As Debian names packages, compilers and libraries.
if(GD_MPI_SONAME MATCHES "mpich")
  set(GD_MPI_NAME mpich)
else()
  set(GD_MPI_NAME openmpi)
endif()

# gd_require_same_mpi(NAME LIBRARY)
function(gd_require_same_mpi name library)
  gd_dynamic_entry(needed "${library}" NEEDED)
  if(needed AND GD_MPI_SONAME AND NOT needed STREQUAL GD_MPI_SONAME)
    message(FATAL_ERROR "${name} (${library}) was built with ${needed}, but the MPI in use has ${GD_MPI_SONAME}. "
      "Packages that belong together: Open MPI: libopenmpi-dev, libhdf5-openmpi-dev, libscalapack-openmpi-dev; "
      "MPICH: libmpich-dev, libhdf5-mpich-dev, libscalapack-mpich-dev. -DMPI_C_COMPILER=mpicc.mpich chooses an MPI, "
      "-DHDF5_C_COMPILER_EXECUTABLE=h5pcc.mpich an HDF5, -DSCALAPACK_LIBRARY=... a ScaLAPACK.")
  endif()
endfunction()

if(NOT HDF5_C_COMPILER_EXECUTABLE)
  find_program(HDF5_C_COMPILER_EXECUTABLE NAMES h5pcc.${GD_MPI_NAME} h5pcc)
endif()
set(HDF5_PREFER_PARALLEL ON)
find_package(HDF5 REQUIRED COMPONENTS C)
if(NOT HDF5_IS_PARALLEL)
  message(FATAL_ERROR "gendistill needs parallel HDF5 (Debian: libhdf5-${GD_MPI_NAME}-dev)")
endif()
if(HDF5_C_LIBRARY MATCHES "[.]so") # HDF5's own package (Spack): a file in place of its target
  set(HDF5_LIBRARIES ${HDF5_C_LIBRARY})
endif()
foreach(library ${HDF5_LIBRARIES})
  if(library MATCHES "hdf5")
    gd_require_same_mpi(HDF5 "${library}")
  endif()
endforeach()
find_library(SCALAPACK_LIBRARY NAMES scalapack-${GD_MPI_NAME} scalapack REQUIRED) # Debian: libscalapack-*-dev
gd_require_same_mpi(ScaLAPACK "${SCALAPACK_LIBRARY}")
