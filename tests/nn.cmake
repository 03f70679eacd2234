# Plain loops in double precision and the comparison with them, shared by the tests of the ops.
add_library(nn_check STATIC nn_check.c nn_reference.c)
target_link_libraries(nn_check PUBLIC test_support)

foreach(name weighted norm attention elementwise pool graph plan)
  gd_test(test_nn_${name} TIMEOUT 60)
  target_link_libraries(test_nn_${name} PRIVATE nn_check)
endforeach()
gd_test(test_nn_params TIMEOUT 60)
gd_test(test_nn_optimiser TIMEOUT 60)
