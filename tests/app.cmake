# The program itself, run by mpirun: tests/test_app_<behaviour>.sh gets the program and make_fixture as arguments, then
# what else is given here.
add_executable(make_fixture make_fixture.c)
target_link_libraries(make_fixture PRIVATE test_support)
foreach(name preload_fault preload_memory)
  add_library(${name} MODULE ${name}.c)
  target_compile_options(${name} PRIVATE -fno-sanitize=all)
  target_link_options(${name} PRIVATE -fno-sanitize=all)
  target_link_libraries(${name} PRIVATE ${CMAKE_DL_LIBS})
endforeach()

# NAME_long runs the script of NAME with other arguments, for tools/test --long.
function(gd_app_test name timeout)
  string(REGEX REPLACE "_long$" "" script ${name})
  add_test(NAME ${name} COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/${script}.sh $<TARGET_FILE:gendistill>
    $<TARGET_FILE:make_fixture> ${ARGN})
  gd_set_limits(${name} ${timeout} 2)
  if(NOT script STREQUAL name)
    set_tests_properties(${name} PROPERTIES LABELS long)
  endif()
endfunction()

gd_app_test(test_app_usage 300)
gd_app_test(test_app_bench 300)
gd_app_test(test_app_import_sample 300)
gd_app_test(test_app_rank_invariance 300)
gd_app_test(test_app_kill_resume 600)
gd_app_test(test_app_one_writer 200)
gd_app_test(test_app_resume_record 200)
if(NOT GD_VALGRIND) # to which a killed rank has nothing to say
  gd_app_test(test_app_kill_anywhere 600 $<TARGET_FILE:preload_fault> 8)
  gd_app_test(test_app_kill_anywhere_long 3600 $<TARGET_FILE:preload_fault> 60)
endif()
gd_app_test(test_app_disk_faults 900 $<TARGET_FILE:preload_fault>)
set_tests_properties(test_app_disk_faults PROPERTIES SKIP_RETURN_CODE 77)
gd_app_test(test_app_read_faults 300 $<TARGET_FILE:preload_fault>)
gd_app_test(test_app_stop 300)
gd_app_test(test_app_watchdog 300)
gd_app_test(test_app_limits 300)
gd_app_test(test_app_frechet 120)
if(NOT GD_VALGRIND) # hours
  gd_app_test(test_app_large 300 64 4194304 64 1)
  gd_app_test(test_app_large_long 1800 64 131072 2048 1 2)
  set_tests_properties(test_app_large PROPERTIES PROCESSORS 1)
endif()
if(NOT GD_SANITIZE AND NOT GD_VALGRIND) # both have allocators of their own, which keep freed memory
  gd_app_test(test_app_memory_faults 600 $<TARGET_FILE:preload_memory> 320)
  gd_app_test(test_app_memory_faults_long 7200 $<TARGET_FILE:preload_memory> 8)
  gd_app_test(test_app_memory_growth 900 10 1000)
  gd_app_test(test_app_memory_growth_long 20000 3600 160000)
endif()
if(NOT GD_SANITIZE AND NOT GD_VALGRIND) # the tools have a build of their own
  gd_app_test(test_app_projection 300)
  gd_app_test(test_app_locale 300)
  set_tests_properties(test_app_projection test_app_locale PROPERTIES SKIP_RETURN_CODE 77)
endif()
gd_app_test(test_app_evaluate 300)
gd_app_test(test_app_report 120)
# Most of their commands run on one rank, or at full speed they wait most of the time; an hour at a low priority has others
# beside it, and begins first.
set(alone test_app_usage test_app_report)
if(GD_FULL_SPEED)
  list(APPEND alone test_app_watchdog test_app_kill_resume test_app_kill_anywhere test_app_projection
    test_app_disk_faults test_app_read_faults test_app_stop test_app_one_writer test_app_resume_record
    test_app_import_sample test_app_limits test_app_locale)
endif()
if(TEST test_app_memory_faults)
  list(APPEND alone test_app_memory_faults test_app_memory_growth test_app_memory_growth_long)
  set_tests_properties(test_app_memory_growth_long PROPERTIES COST 10000)
endif()
set_tests_properties(${alone} PROPERTIES PROCESSORS 1)
