set terminal pngcairo size 1200,988 font 'Sans,15' background '#ffffff'
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
set multiplot layout 2,2 margins 0.1,0.98,0.08,0.9362 spacing 0.1,0.1
set arrow from screen 0.0500,0.9757 to screen 0.0850,0.9757 nohead lw 4 lc rgb '#000000'
set label 'generative_distillation training.precision=bfloat16' noenhanced at screen 0.0950,0.9757
set arrow from screen 0.3667,0.9757 to screen 0.4017,0.9757 nohead lw 4 lc rgb '#0072B2'
set label 'generative_distillation training.precision=float32' noenhanced at screen 0.4117,0.9757
set ylabel "Fréchet distance"
plot NaN notitle, \
  'metrics.dat' index 0 using 1:2 with linespoints lw 2 pt 7 ps 1 lc rgb '#000000' notitle, \
  'metrics.dat' index 0 using 1:2:3 with yerrorbars lw 2 pt 7 ps 1 lc rgb '#000000' notitle, \
  'metrics.dat' index 1 using 1:2 with linespoints lw 2 pt 7 ps 1 lc rgb '#0072B2' notitle, \
  'metrics.dat' index 1 using 1:2:3 with yerrorbars lw 2 pt 7 ps 1 lc rgb '#0072B2' notitle
set ylabel "KLD of class frequencies"
plot NaN notitle, \
  'metrics.dat' index 0 using 1:4 with linespoints lw 2 pt 7 ps 1 lc rgb '#000000' notitle, \
  'metrics.dat' index 0 using 1:4:5 with yerrorbars lw 2 pt 7 ps 1 lc rgb '#000000' notitle, \
  'metrics.dat' index 1 using 1:4 with linespoints lw 2 pt 7 ps 1 lc rgb '#0072B2' notitle, \
  'metrics.dat' index 1 using 1:4:5 with yerrorbars lw 2 pt 7 ps 1 lc rgb '#0072B2' notitle
set ylabel "absolute ratio difference"
plot NaN notitle, \
  'metrics.dat' index 0 using 1:6 with linespoints lw 2 pt 7 ps 1 lc rgb '#000000' notitle, \
  'metrics.dat' index 0 using 1:6:7 with yerrorbars lw 2 pt 7 ps 1 lc rgb '#000000' notitle, \
  'metrics.dat' index 1 using 1:6 with linespoints lw 2 pt 7 ps 1 lc rgb '#0072B2' notitle, \
  'metrics.dat' index 1 using 1:6:7 with yerrorbars lw 2 pt 7 ps 1 lc rgb '#0072B2' notitle
set ylabel "ACC, %"
plot NaN notitle, \
  'metrics.dat' index 0 using 1:8 with linespoints lw 2 pt 7 ps 1 lc rgb '#000000' notitle, \
  'metrics.dat' index 0 using 1:8:9 with yerrorbars lw 2 pt 7 ps 1 lc rgb '#000000' notitle, \
  'metrics.dat' index 1 using 1:8 with linespoints lw 2 pt 7 ps 1 lc rgb '#0072B2' notitle, \
  'metrics.dat' index 1 using 1:8:9 with yerrorbars lw 2 pt 7 ps 1 lc rgb '#0072B2' notitle
unset multiplot
