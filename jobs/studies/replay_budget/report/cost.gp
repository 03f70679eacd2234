set terminal pngcairo size 1200,792 font 'Sans,15' background '#ffffff'
set output 'cost.png'
set encoding utf8
set tics nomirror
set grid ytics lc rgb '#dddddd'
set border 3
set datafile missing '?'
set logscale x
set format x '10^{%T}'
set xlabel 'teacher evaluations'
set yrange [0:*]
set offsets graph 0.05, graph 0.05, graph 0.05, 0
set multiplot layout 1,2 margins 0.1,0.98,0.14,0.6376 spacing 0.1,0.1
set arrow from screen 0.0500,0.9697 to screen 0.0850,0.9697 nohead lw 4 lc rgb '#000000'
set label 'generative_distillation replay.source=online replay.limit_evaluations=21600' noenhanced at screen 0.0950,0.9697
set arrow from screen 0.0500,0.9343 to screen 0.0850,0.9343 nohead lw 4 lc rgb '#0072B2'
set label 'generative_distillation replay.source=online replay.limit_evaluations=2400' noenhanced at screen 0.0950,0.9343
set arrow from screen 0.0500,0.8990 to screen 0.0850,0.8990 nohead lw 4 lc rgb '#56B4E9'
set label 'generative_distillation replay.source=online replay.limit_evaluations=600' noenhanced at screen 0.0950,0.8990
set arrow from screen 0.0500,0.8636 to screen 0.0850,0.8636 nohead lw 4 lc rgb '#009E73'
set label 'generative_distillation replay.source=online replay.limit_evaluations=7200' noenhanced at screen 0.0950,0.8636
set arrow from screen 0.0500,0.8283 to screen 0.0850,0.8283 nohead lw 4 lc rgb '#E69F00'
set label 'generative_distillation replay.source=pool replay.limit_evaluations=21600' noenhanced at screen 0.0950,0.8283
set arrow from screen 0.0500,0.7929 to screen 0.0850,0.7929 nohead lw 4 lc rgb '#CC79A7'
set label 'generative_distillation replay.source=pool replay.limit_evaluations=2400' noenhanced at screen 0.0950,0.7929
set arrow from screen 0.0500,0.7576 to screen 0.0850,0.7576 nohead lw 4 lc rgb '#D55E00'
set label 'generative_distillation replay.source=pool replay.limit_evaluations=600' noenhanced at screen 0.0950,0.7576
set arrow from screen 0.0500,0.7222 to screen 0.0850,0.7222 nohead lw 4 lc rgb '#F0E442'
set label 'generative_distillation replay.source=pool replay.limit_evaluations=7200' noenhanced at screen 0.0950,0.7222
set arrow from screen 0.0500,0.6869 to screen 0.0850,0.6869 nohead lw 4 lc rgb '#777777'
set label 'finetune' noenhanced at screen 0.0950,0.6869
set ylabel "Fréchet distance"
plot NaN notitle, \
  'cost.dat' every ::0::0 using 2:3:4 with yerrorbars lw 2 pt 7 ps 1.5 lc rgb '#000000' notitle, \
  'cost.dat' every ::1::1 using 2:3:4 with yerrorbars lw 2 pt 7 ps 1.5 lc rgb '#0072B2' notitle, \
  'cost.dat' every ::2::2 using 2:3:4 with yerrorbars lw 2 pt 7 ps 1.5 lc rgb '#56B4E9' notitle, \
  'cost.dat' every ::3::3 using 2:3:4 with yerrorbars lw 2 pt 7 ps 1.5 lc rgb '#009E73' notitle, \
  'cost.dat' every ::4::4 using 2:3:4 with yerrorbars lw 2 pt 7 ps 1.5 lc rgb '#E69F00' notitle, \
  'cost.dat' every ::5::5 using 2:3:4 with yerrorbars lw 2 pt 7 ps 1.5 lc rgb '#CC79A7' notitle, \
  'cost.dat' every ::6::6 using 2:3:4 with yerrorbars lw 2 pt 7 ps 1.5 lc rgb '#D55E00' notitle, \
  'cost.dat' every ::7::7 using 2:3:4 with yerrorbars lw 2 pt 7 ps 1.5 lc rgb '#F0E442' notitle, \
  845.2823239 with lines dt 2 lw 2 lc rgb '#777777' notitle
set ylabel "KLD of class frequencies"
plot NaN notitle, \
  'cost.dat' every ::0::0 using 2:5:6 with yerrorbars lw 2 pt 7 ps 1.5 lc rgb '#000000' notitle, \
  'cost.dat' every ::1::1 using 2:5:6 with yerrorbars lw 2 pt 7 ps 1.5 lc rgb '#0072B2' notitle, \
  'cost.dat' every ::2::2 using 2:5:6 with yerrorbars lw 2 pt 7 ps 1.5 lc rgb '#56B4E9' notitle, \
  'cost.dat' every ::3::3 using 2:5:6 with yerrorbars lw 2 pt 7 ps 1.5 lc rgb '#009E73' notitle, \
  'cost.dat' every ::4::4 using 2:5:6 with yerrorbars lw 2 pt 7 ps 1.5 lc rgb '#E69F00' notitle, \
  'cost.dat' every ::5::5 using 2:5:6 with yerrorbars lw 2 pt 7 ps 1.5 lc rgb '#CC79A7' notitle, \
  'cost.dat' every ::6::6 using 2:5:6 with yerrorbars lw 2 pt 7 ps 1.5 lc rgb '#D55E00' notitle, \
  'cost.dat' every ::7::7 using 2:5:6 with yerrorbars lw 2 pt 7 ps 1.5 lc rgb '#F0E442' notitle, \
  2.569951315 with lines dt 2 lw 2 lc rgb '#777777' notitle
unset multiplot
