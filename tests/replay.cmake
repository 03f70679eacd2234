gd_test(test_replay_golden TIMEOUT 60)
gd_test(test_replay_ddim_golden TIMEOUT 60)
