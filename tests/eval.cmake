gd_test(test_eval_balance)
gd_test(test_eval_frechet RANKS 1 2 3 4)
gd_test(test_eval_learner RANKS 1 4)
gd_test(test_eval_classifier RANKS 2 TIMEOUT 300)
target_include_directories(test_eval_learner PRIVATE ${PROJECT_SOURCE_DIR}/src) # private header
gd_test(test_eval_inception RANKS 2)
target_include_directories(test_eval_inception PRIVATE ${PROJECT_SOURCE_DIR}/src) # private header
