# The job scripts on a real cluster of two nodes, which each test starts by itself; status 77, skipped, where Slurm's
# packages or the rights for it are missing. What they try is scripts and the program's signals: the sanitizers, which
# make it slow, have the latter in test_app_stop.
function(gd_slurm_test name timeout)
  add_test(NAME test_slurm_${name} COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/slurm/${name}.sh $<TARGET_FILE:gendistill>
    $<TARGET_FILE:make_fixture>)
  set_tests_properties(test_slurm_${name} PROPERTIES TIMEOUT ${timeout} RUN_SERIAL ON SKIP_RETURN_CODE 77 LABELS slurm)
endfunction()

if(NOT GD_SANITIZE)
  gd_slurm_test(train 600)
  gd_slurm_test(stop 900)
  gd_slurm_test(killed_rank 900)
  gd_slurm_test(sweep 900)
endif()
