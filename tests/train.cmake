gd_test(test_train_step RANKS 1 2 3 4 TIMEOUT 60)
target_include_directories(test_train_step PRIVATE ${PROJECT_SOURCE_DIR}/src) # the inside of a trainer
gd_test(test_train_golden RANKS 1 2 3 4 TIMEOUT 60)
target_include_directories(test_train_golden PRIVATE ${PROJECT_SOURCE_DIR}/src)
gd_test(test_train_precision RANKS 1 2 4 TIMEOUT 60)
target_include_directories(test_train_precision PRIVATE ${PROJECT_SOURCE_DIR}/src)
