# Plain loops in double precision and the comparison with them, shared by the tests of the ops.
add_library(nn_check STATIC nn_check.c nn_reference.c)
target_link_libraries(nn_check PUBLIC test_support)
target_include_directories(nn_check PUBLIC ${PROJECT_SOURCE_DIR}/src) # the inside of src/nn

foreach(name weighted winograd residual norm attention elementwise pool graph plan bfloat16)
  gd_test(test_nn_${name} TIMEOUT 60)
  target_link_libraries(test_nn_${name} PRIVATE nn_check)
endforeach()
gd_test(test_nn_params TIMEOUT 60)
gd_test(test_nn_optimiser TIMEOUT 60)
gd_test(test_nn_conversion TIMEOUT 60)
target_include_directories(test_nn_conversion PRIVATE ${PROJECT_SOURCE_DIR}/src) # the inside of src/nn
