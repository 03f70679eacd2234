gd_test(test_replay_golden TIMEOUT 60)
gd_test(test_replay_ddim_golden TIMEOUT 60)
gd_test(test_replay_cost TIMEOUT 60)
gd_test(test_replay_pool RANKS 1 2 3 4 TIMEOUT 60)
