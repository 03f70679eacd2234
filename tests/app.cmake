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

function(gd_app_test name timeout)
  add_test(NAME ${name} COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/${name}.sh $<TARGET_FILE:gendistill>
    $<TARGET_FILE:make_fixture> ${ARGN})
  gd_set_limits(${name} ${timeout} 2)
endfunction()

# The same script with other arguments, for tools/test --long.
function(gd_app_long_test name timeout)
  add_test(NAME ${name}_long COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/${name}.sh $<TARGET_FILE:gendistill>
    $<TARGET_FILE:make_fixture> ${ARGN})
  gd_set_limits(${name}_long ${timeout} 2)
  set_tests_properties(${name}_long PROPERTIES LABELS long)
endfunction()

gd_app_test(test_app_usage 300)
gd_app_test(test_app_bench 300)
gd_app_test(test_app_import_sample 300)
gd_app_test(test_app_rank_invariance 300)
gd_app_test(test_app_kill_resume 600)
gd_app_test(test_app_kill_anywhere 600 $<TARGET_FILE:preload_fault> 8)
gd_app_long_test(test_app_kill_anywhere 3600 $<TARGET_FILE:preload_fault> 60)
gd_app_test(test_app_disk_faults 900 $<TARGET_FILE:preload_fault>)
gd_app_test(test_app_read_faults 300 $<TARGET_FILE:preload_fault>)
set_tests_properties(test_app_disk_faults PROPERTIES SKIP_RETURN_CODE 77)
gd_app_test(test_app_stop 300)
gd_app_test(test_app_watchdog 300)
gd_app_test(test_app_frechet 120)
if(NOT GD_SANITIZE AND NOT GD_VALGRIND) # both have allocators of their own, which keep freed memory
  gd_app_test(test_app_memory_faults 600 $<TARGET_FILE:preload_memory> 160)
  gd_app_long_test(test_app_memory_faults 7200 $<TARGET_FILE:preload_memory> 8)
  gd_app_test(test_app_memory_growth 900 400)
  gd_app_long_test(test_app_memory_growth 20000 80000)
endif()
if(NOT GD_SANITIZE AND NOT GD_VALGRIND) # the tools have a build of their own
  gd_app_test(test_app_projection 300)
  set_tests_properties(test_app_projection PROPERTIES SKIP_RETURN_CODE 77)
endif()
gd_app_test(test_app_evaluate 300)
gd_app_test(test_app_report 120)
# Most of their commands run on one rank.
set_tests_properties(test_app_usage test_app_report PROPERTIES PROCESSORS 1)
if(TEST test_app_memory_faults)
  set_tests_properties(test_app_memory_faults PROPERTIES PROCESSORS 1)
endif()
