gd_test(test_report_runs TIMEOUT 60)
