gd_test(test_diffusion_schedule TIMEOUT 60)
gd_test(test_diffusion_sampler TIMEOUT 60)
