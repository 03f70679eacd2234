set terminal pngcairo size 1200,1016 font 'Sans,15' background '#ffffff'
set output 'metrics.png'
set encoding utf8
set tics nomirror
set grid ytics lc rgb '#dddddd'
set border 3
set datafile missing '?'
set xlabel 'tasks learned'
set xrange [0.7:5.3]
set xtics 1
set yrange [0:*]
set multiplot layout 2,2 margins 0.1,0.98,0.08,0.9104 spacing 0.1,0.1
set arrow from screen 0.0500,0.9764 to screen 0.0850,0.9764 nohead lw 4 lc rgb '#000000'
set label 'joint' noenhanced at screen 0.0950,0.9764
set arrow from screen 0.3667,0.9764 to screen 0.4017,0.9764 nohead lw 4 lc rgb '#0072B2'
set label 'generative_distillation' noenhanced at screen 0.4117,0.9764
set arrow from screen 0.6833,0.9764 to screen 0.7183,0.9764 nohead lw 4 lc rgb '#56B4E9'
set label 'generative_replay' noenhanced at screen 0.7283,0.9764
set arrow from screen 0.0500,0.9488 to screen 0.0850,0.9488 nohead lw 4 lc rgb '#009E73'
set label 'lwf' noenhanced at screen 0.0950,0.9488
set arrow from screen 0.3667,0.9488 to screen 0.4017,0.9488 nohead lw 4 lc rgb '#E69F00'
set label 'gaussian' noenhanced at screen 0.4117,0.9488
set arrow from screen 0.6833,0.9488 to screen 0.7183,0.9488 nohead lw 4 lc rgb '#CC79A7'
set label 'finetune' noenhanced at screen 0.7283,0.9488
set ylabel "Fréchet distance"
plot NaN notitle, \
  335.8042032 with lines dt 2 lw 2 lc rgb '#000000' notitle, \
  'metrics.dat' index 0 using 1:2 with linespoints lw 2 pt 7 ps 1 lc rgb '#000000' notitle, \
  'metrics.dat' index 0 using 1:2:3 with yerrorbars lw 2 pt 7 ps 1 lc rgb '#000000' notitle, \
  'metrics.dat' index 1 using 1:2 with linespoints lw 2 pt 7 ps 1 lc rgb '#0072B2' notitle, \
  'metrics.dat' index 1 using 1:2:3 with yerrorbars lw 2 pt 7 ps 1 lc rgb '#0072B2' notitle, \
  'metrics.dat' index 2 using 1:2 with linespoints lw 2 pt 7 ps 1 lc rgb '#56B4E9' notitle, \
  'metrics.dat' index 2 using 1:2:3 with yerrorbars lw 2 pt 7 ps 1 lc rgb '#56B4E9' notitle, \
  'metrics.dat' index 3 using 1:2 with linespoints lw 2 pt 7 ps 1 lc rgb '#009E73' notitle, \
  'metrics.dat' index 3 using 1:2:3 with yerrorbars lw 2 pt 7 ps 1 lc rgb '#009E73' notitle, \
  'metrics.dat' index 4 using 1:2 with linespoints lw 2 pt 7 ps 1 lc rgb '#E69F00' notitle, \
  'metrics.dat' index 4 using 1:2:3 with yerrorbars lw 2 pt 7 ps 1 lc rgb '#E69F00' notitle, \
  'metrics.dat' index 5 using 1:2 with linespoints lw 2 pt 7 ps 1 lc rgb '#CC79A7' notitle, \
  'metrics.dat' index 5 using 1:2:3 with yerrorbars lw 2 pt 7 ps 1 lc rgb '#CC79A7' notitle
set ylabel "KLD of class frequencies"
plot NaN notitle, \
  0.2517071626 with lines dt 2 lw 2 lc rgb '#000000' notitle, \
  'metrics.dat' index 0 using 1:4 with linespoints lw 2 pt 7 ps 1 lc rgb '#000000' notitle, \
  'metrics.dat' index 0 using 1:4:5 with yerrorbars lw 2 pt 7 ps 1 lc rgb '#000000' notitle, \
  'metrics.dat' index 1 using 1:4 with linespoints lw 2 pt 7 ps 1 lc rgb '#0072B2' notitle, \
  'metrics.dat' index 1 using 1:4:5 with yerrorbars lw 2 pt 7 ps 1 lc rgb '#0072B2' notitle, \
  'metrics.dat' index 2 using 1:4 with linespoints lw 2 pt 7 ps 1 lc rgb '#56B4E9' notitle, \
  'metrics.dat' index 2 using 1:4:5 with yerrorbars lw 2 pt 7 ps 1 lc rgb '#56B4E9' notitle, \
  'metrics.dat' index 3 using 1:4 with linespoints lw 2 pt 7 ps 1 lc rgb '#009E73' notitle, \
  'metrics.dat' index 3 using 1:4:5 with yerrorbars lw 2 pt 7 ps 1 lc rgb '#009E73' notitle, \
  'metrics.dat' index 4 using 1:4 with linespoints lw 2 pt 7 ps 1 lc rgb '#E69F00' notitle, \
  'metrics.dat' index 4 using 1:4:5 with yerrorbars lw 2 pt 7 ps 1 lc rgb '#E69F00' notitle, \
  'metrics.dat' index 5 using 1:4 with linespoints lw 2 pt 7 ps 1 lc rgb '#CC79A7' notitle, \
  'metrics.dat' index 5 using 1:4:5 with yerrorbars lw 2 pt 7 ps 1 lc rgb '#CC79A7' notitle
set ylabel "absolute ratio difference"
plot NaN notitle, \
  0.487 with lines dt 2 lw 2 lc rgb '#000000' notitle, \
  'metrics.dat' index 0 using 1:6 with linespoints lw 2 pt 7 ps 1 lc rgb '#000000' notitle, \
  'metrics.dat' index 0 using 1:6:7 with yerrorbars lw 2 pt 7 ps 1 lc rgb '#000000' notitle, \
  'metrics.dat' index 1 using 1:6 with linespoints lw 2 pt 7 ps 1 lc rgb '#0072B2' notitle, \
  'metrics.dat' index 1 using 1:6:7 with yerrorbars lw 2 pt 7 ps 1 lc rgb '#0072B2' notitle, \
  'metrics.dat' index 2 using 1:6 with linespoints lw 2 pt 7 ps 1 lc rgb '#56B4E9' notitle, \
  'metrics.dat' index 2 using 1:6:7 with yerrorbars lw 2 pt 7 ps 1 lc rgb '#56B4E9' notitle, \
  'metrics.dat' index 3 using 1:6 with linespoints lw 2 pt 7 ps 1 lc rgb '#009E73' notitle, \
  'metrics.dat' index 3 using 1:6:7 with yerrorbars lw 2 pt 7 ps 1 lc rgb '#009E73' notitle, \
  'metrics.dat' index 4 using 1:6 with linespoints lw 2 pt 7 ps 1 lc rgb '#E69F00' notitle, \
  'metrics.dat' index 4 using 1:6:7 with yerrorbars lw 2 pt 7 ps 1 lc rgb '#E69F00' notitle, \
  'metrics.dat' index 5 using 1:6 with linespoints lw 2 pt 7 ps 1 lc rgb '#CC79A7' notitle, \
  'metrics.dat' index 5 using 1:6:7 with yerrorbars lw 2 pt 7 ps 1 lc rgb '#CC79A7' notitle
set ylabel "ACC, %"
plot NaN notitle, \
  82.415 with lines dt 2 lw 2 lc rgb '#000000' notitle, \
  'metrics.dat' index 0 using 1:8 with linespoints lw 2 pt 7 ps 1 lc rgb '#000000' notitle, \
  'metrics.dat' index 0 using 1:8:9 with yerrorbars lw 2 pt 7 ps 1 lc rgb '#000000' notitle, \
  'metrics.dat' index 1 using 1:8 with linespoints lw 2 pt 7 ps 1 lc rgb '#0072B2' notitle, \
  'metrics.dat' index 1 using 1:8:9 with yerrorbars lw 2 pt 7 ps 1 lc rgb '#0072B2' notitle, \
  'metrics.dat' index 2 using 1:8 with linespoints lw 2 pt 7 ps 1 lc rgb '#56B4E9' notitle, \
  'metrics.dat' index 2 using 1:8:9 with yerrorbars lw 2 pt 7 ps 1 lc rgb '#56B4E9' notitle, \
  'metrics.dat' index 3 using 1:8 with linespoints lw 2 pt 7 ps 1 lc rgb '#009E73' notitle, \
  'metrics.dat' index 3 using 1:8:9 with yerrorbars lw 2 pt 7 ps 1 lc rgb '#009E73' notitle, \
  'metrics.dat' index 4 using 1:8 with linespoints lw 2 pt 7 ps 1 lc rgb '#E69F00' notitle, \
  'metrics.dat' index 4 using 1:8:9 with yerrorbars lw 2 pt 7 ps 1 lc rgb '#E69F00' notitle, \
  'metrics.dat' index 5 using 1:8 with linespoints lw 2 pt 7 ps 1 lc rgb '#CC79A7' notitle, \
  'metrics.dat' index 5 using 1:8:9 with yerrorbars lw 2 pt 7 ps 1 lc rgb '#CC79A7' notitle
unset multiplot
