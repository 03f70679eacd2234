gd_test(test_base_random TIMEOUT 60)
gd_test(test_base_error TIMEOUT 60)
