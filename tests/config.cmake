gd_test(test_config_read RANKS 1 3 TIMEOUT 60)
gd_test(test_config_errors TIMEOUT 60)
