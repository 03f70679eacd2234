gd_test(test_data_resize TIMEOUT 60)
gd_test(test_data_tasks TIMEOUT 60)
gd_test(test_data_files RANKS 1 2 3 4 TIMEOUT 60)
gd_test(test_data_fashion_mnist RANKS 1 2 TIMEOUT 60)
