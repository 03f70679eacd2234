gd_test(test_comm_agree RANKS 1 2 3 4 TIMEOUT 60)
gd_test(test_comm_range TIMEOUT 60)
gd_test(test_comm_watchdog RANKS 1 2 4 TIMEOUT 60)
gd_test(test_comm_slot_sum RANKS 1 2 3 4 TIMEOUT 60)
