gd_test(test_config_read TIMEOUT 60)
gd_test(test_config_errors TIMEOUT 60)
